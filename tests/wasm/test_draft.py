"""A module cut down: what is written is valid, has only what is used, and written again is the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from diffcheck.wasm import module as wasm
from diffcheck.wasm.draft import draft
from tests.wasm.oracle import refusal

CORPUS = sorted((Path(__file__).parents[2] / "corpus").glob("*/*.wasm"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_is_written_is_valid_and_stays_the_same(path: Path) -> None:
    written = draft(path.read_bytes()).write()
    assert refusal(written) == ""
    assert draft(written).write() == written


def test_what_nothing_names_is_gone() -> None:
    source = draft((CORPUS[0].parents[1] / "02-programs" / "calculator.wasm").read_bytes())
    kept = tuple(each for each in source.exports if each.kind == "func")[:1]
    less = wasm.read(msgspec.structs.replace(source, exports=kept).write())
    assert [each.name for each in less.exports] == [kept[0].name]
    assert 0 < len(less.functions) < len(source.module.functions)
    assert not [each for each in less.sections if each.id == 0]
