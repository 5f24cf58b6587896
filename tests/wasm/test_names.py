from __future__ import annotations

import pytest

from diffcheck.wasm import leb, section
from diffcheck.wasm.debug.names import function_names, module_name
from diffcheck.wasm.module import read, write

TWO_FUNCTIONS = (
    section.section(section.TYPE, b"\x01\x60\x00\x00"),
    section.section(section.FUNCTION, b"\x02\x00\x00"),
    section.section(section.CODE, b"\x02\x02\x00\x0b\x02\x00\x0b"),
)
MODULE_NAME = b"\x00\x04\x03mod"
FUNCTION_NAMES = b"\x01\x08\x02\x00\x01f\x01\x02\xc3\xa9"


def named(content: bytes) -> bytes:
    return write((*TWO_FUNCTIONS, section.custom("name", content)))


def test_names_are_read() -> None:
    module = read(named(MODULE_NAME + FUNCTION_NAMES))
    assert module_name(module) == "mod"
    assert function_names(module) == {0: "f", 1: "é"}


def test_a_module_without_names_has_none() -> None:
    module = read(write(TWO_FUNCTIONS))
    assert module_name(module) is None
    assert function_names(module) == {}


def test_a_missing_subsection_is_no_name() -> None:
    assert function_names(read(named(MODULE_NAME))) == {}
    assert module_name(read(named(FUNCTION_NAMES))) is None


def test_unknown_subsections_are_passed_over() -> None:
    locals_ = b"\x02\x03\xff\xff\xff"
    assert function_names(read(named(locals_ + FUNCTION_NAMES))) == {0: "f", 1: "é"}


@pytest.mark.parametrize(
    "content",
    [
        b"\x01",
        b"\x01\x7f\x01",
        b"\x01\x05" + leb.u((1 << 32) - 1),
        b"\x01\x04\x01\x00\x02f",
        b"\x01\x04\x01\x00\x01\xff",
        b"\x01\x80\x80\x80\x80\x80\x80\x00",
    ],
)
def test_a_broken_name_section_gives_no_names_and_no_error(content: bytes) -> None:
    module = read(named(content))
    assert function_names(module) == {}
    assert module_name(module) is None


def test_a_name_of_a_function_that_is_not_there_is_left_out() -> None:
    assert function_names(read(named(b"\x01\x07\x02\x01\x01f\x09\x01g"))) == {1: "f"}


def test_only_a_custom_section_called_name_has_names() -> None:
    module = read(write((*TWO_FUNCTIONS, section.custom("names", MODULE_NAME))))
    assert module_name(module) is None
