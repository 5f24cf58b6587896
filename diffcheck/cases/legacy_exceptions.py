"""Legacy exceptions: instructions that engines implemented before WebAssembly 3.0, which has others (``document/legacy`` of the
specification). Binaryen translates them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.backend.contract import SEARCH_PATH
from diffcheck.cases.prepare import WASM_OPT, Maker, PreparedArtifact, once, quietly
from diffcheck.errors import ArtifactError
from diffcheck.wasm import module
from diffcheck.wasm.code import has_any, read_locals
from diffcheck.wasm.opcodes import OPS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from diffcheck.process import Reactor

_LEGACY: Final = frozenset(each.name for each in OPS if each.legacy)
_FEATURES: Final = tuple(
    f"--enable-{name}"
    for name in (
        "bulk-memory", "exception-handling", "extended-const", "gc", "memory64", "multimemory", "multivalue", "mutable-globals",
        "nontrapping-float-to-int", "reference-types", "relaxed-simd", "sign-ext", "simd", "tail-call", "threads",
    )
)  # fmt: skip
"""Binaryen's names of what WebAssembly 3.0 has, and of threads. With all features it writes sections of later proposals."""

_ARGUMENTS: Final = ("-g", *_FEATURES, "--translate-to-exnref")


def has_legacy_exceptions(wasm: bytes) -> bool:
    """Whether a function of a module has such an instruction; False if the module is malformed before the first one."""
    try:
        bodies = module.read(wasm).body_bytes()
        return any(has_any(body, _LEGACY, start=read_locals(body, at).end, base_offset=at) for at, body in bodies)
    except ArtifactError:
        return False


def translated(wasm: bytes, stem: str, options: Mapping[str, str], reactor: Reactor) -> bytes:
    """A module with exceptions of WebAssembly 3.0 in place of legacy ones, from the cache if the same tool translated it before.

    ``options`` has the path of ``wasm-opt`` and the folder ``cache``. Raises ``EngineMissingError`` without that tool, and
    ``ArtifactError`` if it fails, such as a version without the pass.
    """
    found = {name: path for name, path in options.items() if name == WASM_OPT}

    def translate(work: Path) -> PreparedArtifact:
        maker, log = Maker(found, quietly(reactor, options.get(SEARCH_PATH, ""))), list[str]()
        data = maker.step(WASM_OPT, _ARGUMENTS, wasm, stem, work / "translated", log)
        return PreparedArtifact(data, b"", ("translated by wasm-opt",), "".join(log))

    return once(wasm, stem, found, options, translate, " ".join(_ARGUMENTS)).wasm
