"""Names that would act in some output if it did not make them safe, and a report that has one everywhere."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from diffcheck.text import visible
from diffcheck.verdict import Cause

from . import samples
from .test_model import collect

NAMES = (
    *samples.HOSTILE,
    "]]>",
    "--><!--",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--data-->",
    "{{ 7 * 7 }}{% raw %}",
    "&amp;&#60;b&gt;",
    "\"'><svg onload=alert(1)>",
    "[click](http://evil.example) ![x](//evil.example/x.png)",
    "\\[click\\](http://evil.example)",
    "a | b \\| c || `d` ``e``",
    "http://evil.example www.evil.example @someone #1 :tada: $x$ a@b.example",
    "https://0",
    'https://a.example/"onclick=alert(1)<script>',
    "- list\n1. list\n# heading\n| a |\n| - |",
    "1. one",
    "- one",
    "{0} {1}",
    "../../../etc/passwd",
    "file:///etc/passwd",
    "C:\\windows\\system32",
    "javascript:alert(1)",
    "\ufffe\uffff\ufeff\u2028\u2029\u200b\ud800",
    "\U000e0041\U0001f600é漢",
    "",
    " ",
)
# A part of these is drawn at random beside any other text.
PIECES = (
    "<",
    ">",
    "&",
    "]]>",
    "</script>",
    "<!--",
    "-->",
    "`",
    "|",
    "\\",
    "[",
    "](",
    "{{",
    "}}",
    "\0",
    "\x1b[31m",
    "\u202e",
    "\n",
    "\r",
    "\t",
    "'",
    '"',
    "%",
    "*",
    "_",
    "http://x",
    "#",
    "@",
)
ANY = st.one_of(
    st.text(max_size=40),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12).map("".join),
)


def report(name, line=1):
    where = samples.Where(name, name, name, name, name, line)
    divergence = samples.Divergence("counter", where, name, name + "!", name, name)
    allowance = samples.Allowance(name, name, where, name, name)
    bad = msgspec.structs.replace(
        samples.diverged([divergence]),
        reason=name,
        stubs=(samples.StubUse(name, name, name, 1),),
        allowances=(allowance,),
        subject=samples.SideReport(samples.Trapped("unknown", name), name, log=name, digest=name),
        agreement=samples.Agreement(not_compared=(name,)),
    )
    passes = [bad, samples.not_applicable(name)]
    cases = (
        samples.case(
            name,
            passes,
            "diverge",
            reason=name,
            not_done=(name,),
            explanation=name,
            purpose=name,
            rows=(name,),
            artifact=name,
            sha256=name,
        ),
        samples.case(name + "2", [samples.agreed()], "inconclusive", reason=name),
        samples.case(f"{name}/{name}", [samples.agreed()], "inconclusive", expected="inconclusive", reason=name),
    )
    made = collect(samples.events(cases, notice=name or "notice", findings=(samples.EngineFinding(name, name, name),)))
    subject = msgspec.structs.replace(made.subject, name=name, version=name, found=name, sha256=name)
    tool = msgspec.structs.replace(made.tool, version=name)
    baseline = samples.BaselineReport(
        name,
        standings=tuple(
            samples.BaselineStatus(signature, state, (name,), name, name, name)
            for signature, state in ((name or "counter in ", "known"), (name + "gone", "fixed"))
        ),
    )
    return msgspec.structs.replace(
        made,
        subject=subject,
        options={"mode": name},
        started=name,
        tool=tool,
        baseline=baseline,
        causes=(Cause(name, (name,), (name, name)),),
    )


def shown(name, limit=80):
    """A beginning of the name as every output has it."""
    return visible(name, 1 << 30)[:limit]
