"""The directions in which modules may import each other, as ARCHITECTURE.md draws them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the base up: a package may import those before it, and itself. One line is one floor; names on it do not see each other.
FLOORS = (
    ("errors", "text", "version"),
    ("config", "values", "input_files", "toml_text"),
    ("settings", "registry", "observation"),
    ("case_ids", "verdict"),
    ("wasm",),
    ("witness",),
    ("process",),
    ("backend",),
    ("capsule",),
    ("casefile",),
    ("corpus", "rows"),
    ("probe", "compare", "mcdc", "prepare"),
    ("runner",),
    ("baseline", "case_scaffold", "history", "timings", "imports", "harness", "snapshots", "sealed"),
    ("faults", "between", "merged", "baseline_file"),
    ("selftest",),
    ("report",),
    ("triage",),
    ("cli", "testing"),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
ENGINES = ("kilnd", "wasmtime", "wasmi", "pulley")
COMMENT = re.compile(r";;.*")  # of assembler text


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, also inside functions and under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def part(path: Path) -> str:
    """The name that a module of diffcheck has on its floor."""
    first = path.relative_to(ROOT / "diffcheck").parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", modules("diffcheck"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_below_it(path):
    own = part(path)
    if own in ("__init__", "__main__"):
        return
    assert own in FLOOR_OF, f"{own} has no floor: say in tests/test_imports.py and in ARCHITECTURE.md where it belongs"
    for name in imports(path):
        if name.startswith("diffcheck."):
            other = name.split(".")[1]
            if other == own:
                continue
            assert FLOOR_OF[other] < FLOOR_OF[own], f"{own} imports {other}, which does not stand below it"


@pytest.mark.parametrize("path", modules("diffcheck"), ids=lambda path: str(path.relative_to(ROOT)))
def test_diffcheck_never_imports_a_backend_by_name(path):
    assert not [name for name in imports(path) if name.split(".")[0] == "diffcheck_backends"]


@pytest.mark.parametrize("path", modules("backends/diffcheck_backends"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_backend_sees_no_runner_no_comparison_and_no_report(path):
    seen = {name.split(".")[1] for name in imports(path) if name.startswith("diffcheck.")}
    assert seen <= {"errors", "text", "values", "observation", "wasm", "witness", "process", "registry", "backend", "capsule"}


@pytest.mark.parametrize("path", modules("diffcheck"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_engine_is_named_outside_its_adapter(path):
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    words = {COMMENT.sub("", node.value).lower() for node in strings if id(node) not in prose}
    named = [(engine, word) for engine in ENGINES for word in words if engine in word]
    assert not named, f"{path.name} names an engine: {named}"


@pytest.mark.parametrize("name", ["run", "cluster", "batch", "pool", "worker", "engines"])
def test_a_run_its_places_and_its_engines_import_each_other_in_one_direction(name):
    """Imports inside functions and under TYPE_CHECKING count too."""
    reached, waiting = set(), [name]
    while waiting:
        for found in imports(ROOT / f"diffcheck/runner/{waiting.pop()}.py"):
            other = found.removeprefix("diffcheck.runner.").split(".")[0] if found.startswith("diffcheck.runner.") else ""
            if (ROOT / f"diffcheck/runner/{other}.py").is_file() and other not in reached:
                reached.add(other)
                waiting.append(other)
    assert name not in reached


def test_wasm_knows_no_engine_and_no_witness():
    for path in modules("diffcheck/wasm"):
        assert not [name for name in imports(path) if name.startswith(("wasmtime", "diffcheck.witness", "diffcheck.backend"))]
