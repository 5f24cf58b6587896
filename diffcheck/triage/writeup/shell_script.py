"""``reproduce.sh``: runs the standalone module on an engine and exits as ``git bisect run`` expects it.

Exit code 1 while the bug is there, 0 when it is gone, 125 if the engine cannot be run. A control module, which returns a known
counter, separates an engine that cannot be run from one that fails.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from diffcheck.backend.command import in_quotes
from diffcheck.backend.contract import Program
from diffcheck.text import visible
from diffcheck.triage.writeup.reproducer import file_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import Backend
    from diffcheck.triage.session import Session
    from diffcheck.triage.writeup.reproducer import Reproduction

SCRIPT: Final = "reproduce.sh"
_CONTROL: Final = (
    '(module (global $c (export "__witness_counter_0") (mut i64) (i64.const 0)) (func (export "{}") (global.set $c (i64.const 7))))'
)
_CPU_S: Final = 120

_HEAD: Final = """\
#!/bin/sh
# {title}
#
# Usage: ./reproduce.sh [ENGINE]
#   ENGINE is {engine}. Default: {default}.
# Exit code, as `git bisect run` expects it: 1 the bug is there, 0 it is gone, 125 the engine cannot be run.
"""
_SETUP: Final = """
here=$(cd "$(dirname "$0")" && pwd) || exit 125
ENGINE=${{1:-}}
case $ENGINE in
*/*) folder=$(cd "$(dirname "$ENGINE")" && pwd) || exit 125; ENGINE=${{folder%/}}/${{ENGINE##*/}} ;;
esac
work=$(mktemp -d) || exit 125
trap 'rm -rf "$work"' EXIT
mkdir "$work/control" "$work/bug" || exit 125
printf '{control}' > "$work/control/{file}"
cp "$here/{file}" "$work/bug" || exit 125
"""
_CHECK: Final = """
counter() { # NUMBER: its value in the answer
    tr -d ' \\n' < "$work/answer" | sed -n "s/.*\\"$1\\":\\(-\\{0,1\\}[0-9]*\\).*/\\1/p"
}
is() { # NUMBER VALUE...: whether the counter has one of the values
    value=$(counter "$1"); shift
    for each; do [ "$value" != "$each" ] || return 0; done
    return 1
}
"""


def script(session: Session, made: Reproduction, name: str, title: str) -> str:
    """The script for a reproduction, or one that runs diffcheck on the module ``name`` if plain commands do not reproduce the bug."""
    if made.why:
        return _by_diffcheck(session, made, name, title)
    subject, oracle = session.engines.subject_identity, session.engines.oracle_identity
    file = file_of(session)
    control = session.oracle.assemble(_CONTROL.format(made.entry).encode(), session.plan.limits, session.host)
    execution = session.subject.execute(Program("direct", control, made.entry), session.plan.limits, session.host)
    counters = execution.counters is not None
    default = subject.path if _takes_engine(session.subject, file) else subject.name
    parts = [
        _HEAD.format(
            title=visible(title, 300),
            engine=f"the path of a {visible(subject.name)}, or {visible(oracle.name)} for the reference",
            default=visible(default, 400),
        ),
        _SETUP.format(control="".join(f"\\{each:03o}" for each in control), file=file),
        *_run_function(session, made.entry, file),
        _CHECK,
        *_verdict(made, counters=counters),
    ]
    return "\n".join(part.strip("\n") for part in parts) + "\n"


def _run_function(session: Session, entry: str, file: str) -> Iterator[str]:
    """A shell function that runs the module in a folder: one branch for the oracle's name, one for any other engine."""
    yield f'run() ( # FOLDER\n    ulimit -t {_CPU_S}\n    cd "$work/$1" || exit 125\n    case $ENGINE in'
    yield f"    {shlex.quote(session.engines.oracle_identity.name)})"
    yield from session.oracle.shell_commands(file, entry)
    others = "*" if _takes_engine(session.subject, file) else f"{shlex.quote(session.engines.subject_identity.name)} | ''"
    yield f"        ;;\n    {others})"
    yield from session.subject.shell_commands(file, entry)
    yield "        ;;"
    if others != "*":
        yield "    *) exit 125 ;;"
    yield "    esac\n)"


def _takes_engine(backend: Backend, file: str) -> bool:
    return any("${ENGINE" in line for line in backend.shell_commands(file, "_start"))


def _verdict(made: Reproduction, *, counters: bool) -> Iterator[str]:
    """The lines that run both modules and compare the answer with the oracle's."""
    yield '\nrun control > "$work/answer" 2> "$work/errors"\nstatus=$?'
    control = "[ $status -eq 0 ]" + " && is 0 7" * counters
    lacking = "exit code $status" + ", without the expected counter of a control module" * counters
    yield f'if ! {{ {control}; }}; then\n    echo "the engine cannot be run ({lacking}):" >&2\n    cat "$work/errors" >&2\n    exit 125\nfi'
    yield 'run bug > "$work/answer" 2> "$work/errors"\nstatus=$?\ncat "$work/answer" "$work/errors"\necho'
    yield f"# {visible(_expected(made), 300)}"
    yield f'if {_gone(made)}; then\n    echo "the bug is gone"\n    exit 0\nfi\necho "the bug is there"\nexit 1'


def _expected(made: Reproduction) -> str:
    values = ", ".join(f"{each.item} {each.oracle}" for each in made.differs if each.item.startswith("counter"))
    return f"Expected: {made.oracle}{', ' + values if values else ''}."


def _gone(made: Reproduction) -> str:
    """A shell condition: the answer is the oracle's, as far as it differed."""
    if made.oracle == "returned":
        values = [
            f"is {number} {_spellings(made.counters[number])}" for number in sorted(made.differing) if number in made.counters
        ]
        return " && ".join(("[ $status -eq 0 ]", *values))
    if made.subject == "returned":
        return "[ $status -ne 0 ]"
    lines = made.log.replace("\\x0a", "\n").strip().splitlines()  # stored as one line
    last = shlex.quote(lines[-1]) if lines else "''"
    return f'[ $status -ne 0 ] && ! grep -qF -- {last} "$work/errors"'


def _spellings(bits: int) -> str:
    """A counter as engines print it: unsigned, or signed."""
    return f"{bits}" + (f" {bits - (1 << 64)}" if bits >> 63 else "")


def _by_diffcheck(session: Session, made: Reproduction, name: str, title: str) -> str:
    subject = session.request.subject
    kind = subject.partition(":")[0]
    return "\n".join((
        _HEAD.format(title=visible(title, 300), engine=f"a subject of diffcheck, or the path of a {kind}", default=visible(subject, 400)).rstrip(),
        f"# This runs diffcheck: plain commands do not reproduce the bug, since {visible(made.why, 400)}.",
        f"ENGINE=${{1:-{in_quotes(subject)}}}",
        f"case $ENGINE in\n/*|./*|../*) ENGINE={shlex.quote(kind + ':')}$(cd \"$(dirname \"$ENGINE\")\" && pwd)/${{ENGINE##*/}} || exit 125 ;;\nesac",
        'cd "$(dirname "$0")" || exit 125',
        f'diffcheck run {shlex.quote(f"./{name}.wasm")} --subject "$ENGINE"',
        "status=$?\ncase $status in\n0|1) exit $status ;;\n*) exit 125 ;;\nesac",
        "",
    ))  # fmt: skip
