"""The directions in which modules may import each other, as ARCHITECTURE.md draws them, the size of folders, and names."""

from __future__ import annotations

import ast
import re
from collections import Counter

from tests import structure
from tests.structure import ROOT, imports, modules

# From the base up: a package may import those before it, and itself. One line is one floor; names on it do not see each other.
FLOORS = (
    ("errors", "text"),
    ("config", "wasm"),
    ("observation",),
    ("verdict",),
    ("process",),
    ("backend", "witness"),
    ("capsule",),
    ("probe", "cases", "compare"),
    ("runner",),
    ("nightly",),
    ("faults",),
    ("report",),
    ("triage",),
    ("service", "hunt"),
    ("cli", "testing"),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
ENGINES = ("kilnd", "wasmtime", "wasmi", "pulley")
COMMENT = re.compile(r";;.*")  # of assembler text
MAX_ENTRIES = 22
MAX_MODULES = 20
MAX_SERVICE_LINES = 3_000


def test_a_module_imports_only_what_stands_below_it():
    above = []
    for path in modules("diffcheck"):
        own = structure.room(path)
        if own in ("__init__", "__main__"):
            continue
        assert own in FLOOR_OF, f"{own} has no floor: say in tests/test_imports.py and in ARCHITECTURE.md where it belongs"
        others = {name.split(".")[1] for name in imports(path) if name.startswith("diffcheck.")} - {own}
        above += [f"{path.relative_to(ROOT)} imports {other}" for other in sorted(others) if FLOOR_OF[other] >= FLOOR_OF[own]]
    assert not above, "not below it"


def test_no_modules_import_each_other_in_a_circle():
    assert structure.cycle() == []


def test_a_public_class_name_stands_in_one_module():
    names = Counter(
        node.name
        for path in (*modules("diffcheck"), *modules("backends"))
        for node in structure.tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_tool_can_be_drawn_from_its_top_level():
    assert len(structure.entries()) <= MAX_ENTRIES
    assert {name: count for name, count in structure.folders().items() if count > MAX_MODULES} == {
        "diffcheck/cli": structure.folders()["diffcheck/cli"]  # a file a command
    }


def test_the_service_is_small():
    assert structure.folder_lines("service") <= MAX_SERVICE_LINES


def test_diffcheck_never_imports_a_backend_by_name():
    assert not [
        (path, name) for path in modules("diffcheck") for name in imports(path) if name.split(".")[0] == "diffcheck_backends"
    ]


def test_a_backend_sees_no_runner_no_comparison_and_no_report():
    for path in modules("backends/diffcheck_backends"):
        seen = {name.split(".")[1] for name in imports(path) if name.startswith("diffcheck.")}
        assert seen <= {"errors", "text", "observation", "wasm", "witness", "process", "backend", "capsule"}, path


def test_no_engine_is_named_outside_its_adapter():
    named = []
    for path in modules("diffcheck"):
        nodes = list(ast.walk(structure.tree(path)))
        prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        strings = [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        words = {COMMENT.sub("", node.value).lower() for node in strings if id(node) not in prose}
        named += [(path.relative_to(ROOT), engine, word) for engine in ENGINES for word in words if engine in word]
    assert not named


def test_wasm_knows_no_engine_and_no_witness():
    for path in modules("diffcheck/wasm"):
        assert not [name for name in imports(path) if name.startswith(("wasmtime", "diffcheck.witness", "diffcheck.backend"))]
