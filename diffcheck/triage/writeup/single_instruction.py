"""A module of one instruction with the operands of the localised one: the smallest test case that an engine's maintainer can get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule.deterministic.open_results import OPEN
from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from diffcheck.triage.localise.location import Localisation

_NUMERIC: Final = frozenset({"i32", "i64", "f32", "f64", "v128"})
_ARITHMETIC: Final = {"f32": 0x7FC0_0000, "f64": 0x7FF8_0000_0000_0000}
_CANONICAL: Final = {"f32": 0x7FFF_FFFF, "f64": 0x7FFF_FFFF_FFFF_FFFF}


def single_instruction(found: Localisation) -> tuple[str, str]:
    """The module as text and its row; both empty for an instruction that needs more than numbers on the stack."""
    name, _, immediates = found.instruction.partition(" ")
    op = BY_NAME.get(name)
    if op is None or not op.params or not op.results or len(op.params) != len(found.operands):
        return "", ""
    if not _NUMERIC.issuperset({*op.params, *op.results}) or any(each != "lane" for each in op.immediates):
        return "", ""
    operands = " ".join(f"(local.get {at})" for at in range(len(op.params)))
    text = (
        f'(module (func (export "{name}") (param {" ".join(op.params)}) (result {" ".join(op.results)})\n'
        f"  ({name}{' ' * bool(immediates)}{immediates} {operands})))"
    )
    return text, f"{name}={','.join(each.partition(' ')[0] for each in found.operands)}"


def nan_masks(found: Localisation | None, expected: str) -> dict[str, int]:
    """The bits that the specification fixes of a NaN, by type, if ``expected`` is the NaN result of an instruction that leaves the
    others open: core specification 3.0, 4.3.3 (NaN propagation). Empty for any other result, which is exact.
    """
    if found is None or found.instruction.partition(" ")[0] not in OPEN or "nan" not in expected:
        return {}
    return _ARITHMETIC if any("nan:" in each for each in found.operands) else _CANONICAL
