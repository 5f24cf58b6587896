"""The tools that an artifact names."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from diffcheck.cases import producers
from diffcheck.verdict import Tool
from diffcheck.wasm import module as wasm
from diffcheck.witness.formats import Manifest

CORPUS = Path(__file__).parent.parent / "corpus"
ATTESTATION = '(@custom "wsc.transformation.attestation" "{}")'


def tools(text: str, manifest: Manifest | None = None, **digests: str) -> tuple[Tool, ...]:
    return producers.tools(wasm.read(wasmtime.wat2wasm(f"(module {text})")), manifest, digests)


def test_a_fused_and_instrumented_component_names_compiler_meld_and_witness() -> None:
    module = wasm.read((CORPUS / "10-components" / "wasi_tour.wasm").read_bytes())
    found = producers.tools(module, Manifest(witness_version="0.41.0"), {"meld": "12ab"})
    assert [(each.name, each.sha256) for each in found] == [
        ("C11", ""), ("meld", "12ab"), ("walrus", ""), ("wit-component", ""), ("witness", ""),
    ]  # fmt: skip
    assert {each.name: each.version for each in found}["meld"] == "0.52.0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        '(@custom "producers" "")',
        '(@custom "producers" "\\01\\0cprocessed-by\\ff\\ff\\ff\\ff\\0f")',
        '(@custom "producers" "\\01\\01a\\01\\01\\ff\\01b")',
        ATTESTATION.format("{"),
        ATTESTATION.format("{\\22tool\\22: {\\22name\\22: 3, \\22version\\22: \\221\\22}}"),
        ATTESTATION.format("{\\22tool\\22: {\\22name\\22: \\22\\5cud800\\22, \\22version\\22: \\221\\22}}"),
        ATTESTATION.format("[" * 100_000),
    ],
)  # fmt: skip
def test_a_missing_or_malformed_section_names_none(text: str) -> None:
    assert tools(text) == ()


def test_a_tool_that_was_run_has_its_digest_also_without_a_version() -> None:
    assert tools("", witness="34cd") == (Tool("witness", "", "34cd"),)
    assert tools("", Manifest(witness_version="0.9"), witness="34cd") == (Tool("witness", "0.9", "34cd"),)


def test_names_are_cut() -> None:
    name = "n" * 300
    text = f'(@custom "producers" "\\01\\0cprocessed-by\\01\\ac\\02{name}\\011")'
    assert tools(text) == (Tool("n" * 200, "1"),)
