"""Components made with wasm-tools, and stand-ins for meld and witness that copy files: for tests of the chain from a component on."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import wasmtime

from diffcheck.cases import scripts
from diffcheck.wasm.code import all_instructions
from diffcheck.wasm.component import PREAMBLE
from diffcheck.wasm.leb import Reader
from diffcheck.wasm.module import read

ALLOCATOR = """(memory (export "memory") 2)
  (global $next (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local i32)
    (local.set 4 (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1))) (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get 4) (local.get 3)))
    (local.get 4))"""
"""A memory and the bump allocator of a core module."""


def component(folder: Path, wit: str, core: bytes, name: str = "app.wasm") -> Path:
    """The component of a world and a core module."""
    tool = scripts.converter()
    assert tool, "the test needs wasm-tools"
    (folder / "world.wit").write_text(f"package test:test;\nworld app {{\n{wit}\n}}\n")
    (folder / "core.wasm").write_bytes(core)
    for words in (["embed", "world.wit", "core.wasm", "-o", "typed.wasm"], ["new", "typed.wasm", "-o", name]):
        subprocess.run([tool, "component", *words], cwd=folder, check=True, capture_output=True)
    return folder / name


def compiled(folder: Path, source: Path) -> bytes | None:
    """The core module of a source in C or Rust; None if its compiler is not installed."""
    target = folder / "compiled.wasm"
    if source.suffix == ".rs":
        flags = ["-C", "opt-level=s", "-C", "strip=debuginfo", "-C", "panic=abort", "-C", "lto"]
        commands = [["rustc", "--target", "wasm32-unknown-unknown", *flags, str(source), "-o", str(target)]]
    else:
        compile_ = [
            "clang-19",
            "--target=wasm32",
            "-ffreestanding",
            "-nostdlib",
            "-O1",
            "-c",
            str(source),
            "-o",
            str(folder / "compiled.o"),
        ]
        commands = [compile_, ["wasm-ld-19", "--no-entry", str(folder / "compiled.o"), "-o", str(target)]]
    for command in commands:
        if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True, check=False).returncode:
            return None
    return target.read_bytes()


def stand_ins(folder: Path, monkeypatch, fused: bytes, instrumented: bytes, manifest: bytes) -> None:
    """Programs in the place of meld and witness, whose outputs are given, and an own cache."""
    place = folder / "tools"
    place.mkdir(exist_ok=True)
    (place / "fused.wasm").write_bytes(fused)
    (place / "instrumented.wasm").write_bytes(instrumented)
    (place / "manifest.json").write_bytes(manifest)
    out = "while [ $# -gt 1 ]; do shift; [ $1 = -o ] && out=$2; done"
    steps = {
        "meld": f'cp {place}/fused.wasm "$out"',
        "witness": f'cp {place}/instrumented.wasm "$out"; cp {place}/manifest.json "$out.witness.json"',
    }
    for name, step in steps.items():
        (place / name).write_text(f"#!/bin/sh\n{out}\n{step}\n# {hashlib.sha256(fused + instrumented + manifest).hexdigest()}\n")
        (place / name).chmod(0o755)
        monkeypatch.setenv(f"DIFFCHECK_{name.upper()}", str(place / name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


def manifest(fused: bytes) -> bytes:
    """A manifest as witness writes it: a branch for each ``br_if``, two for each ``if``, one for each label of a ``br_table``."""
    kinds = {"br_if": ("br_if",), "if": ("if_then", "if_else")}
    branches: list[dict] = []
    for each in all_instructions(fused, read(fused).bodies):
        labels = each.immediates[0] if each.name == "br_table" else ()
        found = kinds.get(each.name, ("br_table_target",) * (len(labels) - 1) + ("br_table_default",) * bool(labels))
        branches += [{"id": len(branches) + at, "kind": kind, "byte_offset": each.offset} for at, kind in enumerate(found)]
    document = {
        "schema_version": "2",
        "witness_version": "0.44.0",
        "original_module_sha256": hashlib.sha256(fused).hexdigest(),
        "branches": branches,
        "decisions": [],
    }
    return json.dumps(document).encode()


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def core_module(source: bytes) -> bytes:
    """The first core module of a component, in the place of meld's output."""
    reader = Reader(source)
    reader.skip(len(PREAMBLE))
    while not reader.eof:
        id_, size = reader.u8(), reader.u32()
        content = reader.bytes(size)
        if id_ == 1:
            return bytes(content)
    raise AssertionError("the component has no core module")
