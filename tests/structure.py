"""The structure of the tool in figures: ``python -m tests.structure``."""

from __future__ import annotations

import ast
import graphlib
import io
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "diffcheck"
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def modules(package="diffcheck"):
    return sorted((ROOT / package).rglob("*.py"))


def room(path):
    """The entry at the top level of ``diffcheck/`` that a module is, or lies in."""
    return path.relative_to(TOOL).parts[0].removesuffix(".py")


@cache
def tree(path):
    """The syntax tree of a module."""
    return ast.parse(path.read_text())


@cache
def imports(path):
    """Dotted names that a module imports, also inside functions and under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def cycle():
    """Modules that import each other in a circle, the first one found; empty if there is none."""
    names = {_name(path): path for path in modules()}
    graph = {
        name: {each if each in names else each.rpartition(".")[0] for each in imports(path)} & names.keys()
        for name, path in names.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def entries():
    """What stands at the top level of ``diffcheck/``, besides ``__init__``, ``__main__`` and ``py.typed``."""
    return sorted({room(path) for path in modules()} - {"__init__", "__main__"})


def folders():
    """The number of modules in each folder, without ``__init__``."""
    return Counter(str(path.parent.relative_to(ROOT)) for path in modules() if path.name != "__init__.py")


def code_lines(path):
    """The number of lines that hold code: no blank line, no comment, no docstring."""
    text = path.read_text()
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def folder_lines(folder):
    """The lines of a folder: code of its modules, and what is not blank in its templates, style sheets, scripts and queries."""
    files = [path for path in (TOOL / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    others = (line for path in files if path.suffix != ".py" for line in path.read_text().splitlines())
    return sum(code_lines(path) for path in files if path.suffix == ".py") + sum(1 for line in others if line.strip())


def _name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def main():
    lines = Counter()
    for path in modules():
        lines[room(path)] += code_lines(path)
    for name, count in sorted(lines.items(), key=lambda each: -each[1]):
        print(f"{count:7,}  {name}")
    folder, largest = max(((name, count) for name, count in folders().items() if name != "diffcheck/cli"), key=lambda each: each[1])
    print(f"{sum(lines.values()):7,}  lines of code in diffcheck/ (no blank line, comment or docstring)")
    print(f"{folder_lines('service'):7,}  lines in diffcheck/service/, with its templates, style sheet, script and schema")
    print(f"{len(entries()):7,}  entries at the top level")
    print(f"{largest:7,}  modules in the largest folder, {folder} (cli/ has one a command)")
    print("  circle of imports:", " -> ".join(cycle()) or "none")


if __name__ == "__main__":
    main()
