"""The text that users and developers read is plain English in the field's words: no phrase of the list stands in it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.structure import ROOT, modules

PHRASES = {
    r"\blet(?:s|ting)? pass\b": "allow",
    r"\bnot done\b": "not compared, not run",
    r"at (?:its|the) earliest place": "first occurrence",
    r"another verdict than": "unexpected",
    r"answered by stubs|rests? on (?:stubs|them)\b": "depends on stubbed imports",
    r"whatever it runs": "independent of the artifact",
    r"(?:has|have) the verdicts? that (?:it|they) should": "as expected",
    r"such (?:values|differences) in all": "occurrences",
    r"(?<!there )\b(?:is|are|was) no (?:file|folder|module|artifact|number|row|case|engine|digest|divergence|terminal|export|name|core|size|path|option|command|program|report)\b": "is not a",
    r"\b(?:is|are|was|were|be|been|being) told\b": "reported, given, identified",
    r"\b(?:tell|tells|told|telling) (?:\w+ ){0,4}apart\b": "compare, distinguish",
    r"\bdo(?:es)? not tell\b|\btells (?:its|how|what|why|whether|the|of|new)\b": "report",
    r"\bwas not run for\b": "from the cache",
    r"\bhungrier\b": "using more memory",
    r"\b(?:go|goes|going|gone) on (?:with|where|in|as|until)\b": "resume, continue",
    r"\bwhat (?:is|was) kept of\b": "the cache",
    r"\bwhat (?:came|comes) (?:of|back|out)\b": "the result",
    r"\bclos(?:e|es|ed|ing) an artifact's imports\b": "replace imports by stubs",
    r"\bnothing more goes\b": "no further reduction",
    r"\bplain commands show\b": "reproduces without diffcheck",
    r"\b(?:needs no|in what|a case's) world\b": "self-contained, environment",
    r"\b(?:did not|not|has|have) come through\b|\b(?:came|comes|coming) through\b": "complete",
    r"\bfor want of\b|\bwithout a word\b|\bcr(?:y|ies|ied) wolf\b": "no, without output, false alarm",
    r"\b(?:that|which|it) (?:is|are) (?-i:none)\b": "invalid, missing",
}
WORDING = re.compile("|".join(f"(?P<p{number}>{phrase})" for number, phrase in enumerate(PHRASES)), re.IGNORECASE)
SOURCES = [*modules("diffcheck"), *modules("backends/diffcheck_backends")]
TEMPLATES = sorted(
    path for path in (ROOT / "diffcheck").rglob("*") if path.suffix in {".html", ".js", ".css", ".j2", ".md", ".txt", ".sh"}
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "corpus").glob("*.md"), ROOT / "benchmarks/README.md",
                *ROOT.glob("tests/**/*.md"), ROOT / "docs" / "nightly.yml"])  # fmt: skip


def texts(path):
    """(line, text) of a file: of a Python module its strings, docstrings included, and its comments."""
    text = path.read_text()
    if path.suffix != ".py":
        return [(1, text)]
    strings = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    comments = [(number, line.partition("# ")[2]) for number, line in enumerate(text.splitlines(), 1) if "# " in line]
    return [*((node.lineno, node.value) for node in strings), *comments]


@pytest.mark.parametrize("paths", [SOURCES, TEMPLATES, PAGES], ids=["sources", "templates", "pages"])
def test_no_phrase_of_the_list_stands_in_a_text(paths):
    better = list(PHRASES.values())
    found = []
    for path, (line, text) in ((each, part) for each in paths for part in texts(each)):
        for match in WORDING.finditer(re.sub(r"\s+", " ", text) if path.suffix == ".py" else text):
            where = line + (text.count("\n", 0, match.start()) if path.suffix != ".py" else 0)
            found.append(f"{path.relative_to(ROOT)}:{where}: {match[0]!r}: better: {better[int(match.lastgroup[1:])]}")
    assert not found, "\n".join(found)
