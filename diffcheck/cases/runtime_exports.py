"""What compilers' runtimes export: functions to call first, allocators, what frees, what makes objects, and other plumbing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.capsule.stubs import preview1
from diffcheck.text import is_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import FuncType

INITIALIZE: Final = "_initialize"
_CONSTRUCTORS: Final = (
    "__wasm_apply_data_relocs",
    "__wasm_call_ctors",
    "wasm_call_ctors",
    "__wbindgen_start",
    "_embind_initialize_bindings",
    "__embind_initialize_bindings",
    "__embind_register_native_and_builtin_types",
)
"""Exports that a host calls first, in this order, unless there is ``_initialize``."""
_MINIFIED: Final = re.compile(r"[A-Za-z_$]{1,2}\d?")
"""A name that emscripten's ``-O3`` gives to imports and exports."""

_PLUMBING: Final = re.compile(
    r"""__.* | _?(?:malloc|calloc|realloc|free|memalign|aligned_alloc|posix_memalign|fflush) | cabi_.* | canonical_abi_.*
    | _?emscripten_.* | dynCall_.* | asyncify_.* | (?:stackAlloc|stackSave|stackRestore|establishStackSpace|setThrew)
    | [gs]etTempRet0 | memory.* | allocate_stack | wasm_call_ctors | _start | _initialize""",
    re.VERBOSE | re.DOTALL,
)
"""Exports of a toolchain's runtime, which are not the program's own."""
_SUFFIX: Final = re.compile(r"\$[0-9]+\Z")  # meld appends it to the items of a second component

_ALLOCATORS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (r"_?malloc|alloc|allocate|__alloc|wasm_malloc|napi_wasm_malloc|_?emscripten_builtin_malloc|__wbindgen_malloc", ("BYTES",)),
    (r"__wbindgen_malloc|__wbindgen_export(?:_?\d+)?", ("BYTES", "1")),
    (r"__new", ("BYTES", "0")),
    (r"cabi_realloc|canonical_abi_realloc", ("0", "0", "8", "BYTES")),
)
"""Exported allocators: a pattern of names, and the arguments, all i32."""
_FREES: Final = re.compile(
    r"(?:.*_)?(?:free|destroy|delete|release|dispose|drop|close|finali[sz]e|unref)(?:_.*)?", re.IGNORECASE | re.DOTALL
)
_MAKES: Final = re.compile(r".*(?:new|create|open|init|alloc|from|parse|make|load|default|get_global)", re.IGNORECASE | re.DOTALL)
_HEAP: Final = re.compile(r"_?(?:calloc|realloc|free|memalign|aligned_alloc|fflush)|__wbindgen_(?:free|realloc)")


def is_plumbing(name: str, *, component: bool) -> bool:
    """Whether an export is of the runtime; in a fused ``component`` also the shims and the preview 1 adapter."""
    own = _SUFFIX.sub("", name)
    if _HEAP.fullmatch(name):
        return False
    return bool(_PLUMBING.fullmatch(own)) or (component and (is_digits(own) or own in preview1.TABLE))


def frees(row: str) -> bool:
    """Whether a row, by its function's name, ends an object."""
    return _FREES.fullmatch(row.partition("=")[0]) is not None


def makes(row: str) -> bool:
    """Whether a row, by its function's name, returns a new object."""
    return _MAKES.match(row.partition("=")[0]) is not None


def is_minified(module: Module) -> bool:
    """Whether emscripten minified the names of imports and exports."""
    functions = [each for each in module.imports if each.kind == "func"]
    return bool(functions) and all(each.module == "a" and _MINIFIED.fullmatch(each.name) for each in functions)


def constructors(functions: dict[str, FuncType]) -> Iterator[str]:
    """The exports that a host calls first, by name."""

    def is_plain(name: str) -> bool:
        return name in functions and not functions[name].params and not functions[name].results

    if is_plain(INITIALIZE):
        return
    yield from filter(is_plain, _CONSTRUCTORS)


def minified_constructor(module: Module, functions: dict[str, FuncType]) -> str | None:
    """The export that may be the constructors if names are minified: the first without parameters, as emscripten orders them."""
    if not is_minified(module):
        return None
    return next((name for name, type_ in functions.items() if not type_.params and not type_.results), None)


def allocators(module: Module, functions: dict[str, FuncType], size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Exports that may allocate ``size`` bytes, and their arguments; with minified names every function from i32 to i32."""
    for pattern, words in _ALLOCATORS:
        for name, type_ in functions.items():
            if re.fullmatch(pattern, name) and _takes(type_, len(words)):
                yield name, tuple(size if each == "BYTES" else int(each) for each in words)
    if is_minified(module):
        yield from ((name, (size,)) for name, type_ in functions.items() if _takes(type_, 1))


def _takes(type_: FuncType, count: int) -> bool:
    return type_.params == ("i32",) * count and type_.results == ("i32",)
