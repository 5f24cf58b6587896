"""Rows of components in WIT values: ``add-all([{x: 1, y: "a"}])``, ``ns:name/interface@0.1.0#function(1)``.

Each becomes an exported function of the core module, named as the row, so that everything after it has a row without arguments. It
lowers the values through the export's canonical ABI, calls it, and returns the result as ``lifting`` has it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.binding import Binder, Bound
from diffcheck.capsule.constants import Types
from diffcheck.capsule.layout import RESULTS_EXPORT
from diffcheck.cases.rows import ARROW, INIT
from diffcheck.cases.wit_rows.lifting import DIGEST, LOCALS, ROOM, Lifting, core_results
from diffcheck.cases.wit_rows.lowering import Lowering
from diffcheck.errors import CaseError
from diffcheck.text import plural, visible
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import read, write
from diffcheck.wasm.section import append
from diffcheck.wasm.types import FuncType, Limits, MemoryType, encode_memorytype
from diffcheck.wasm.wit import abi, wave
from diffcheck.wasm.wit.types import WitFunction, WitType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.wit.types import Value

_NUMBER: Final = re.compile(r" #[0-9]{1,9}\Z")
_SHOWN: Final = 80
_POST_RETURN: Final = "cabi_post_"


class WitRow(msgspec.Struct, frozen=True):
    """A row in WIT values: its text without a number or an expected result, the export that it calls, and the arguments."""

    text: str
    export: str
    function: WitFunction
    args: tuple[Value, ...]


def is_wit(row: str) -> bool:
    """Whether a row has the form of a call with WIT values: a name without ``=``, and a parenthesis, which may not be closed."""
    name, parenthesis, _ = plain(row).partition("(")
    return bool(name and parenthesis) and "=" not in name


def plain(row: str) -> str:
    """The text of a call without ``init:``, a number and an expected result."""
    text = _NUMBER.sub("", row.removeprefix(INIT))
    return text if text.endswith(")") or ARROW not in text else text.rpartition(ARROW)[0]


def parse(rows: Iterable[str], functions: Mapping[str, WitFunction]) -> tuple[WitRow, ...]:
    """The rows in WIT values, each once; raises ``CaseError`` for a call of another function."""
    return tuple(_parse(each, functions) for each in dict.fromkeys(plain(row) for row in rows if is_wit(row)))


def _parse(row: str, functions: Mapping[str, WitFunction]) -> WitRow:
    if not row.endswith(")"):
        raise CaseError(f"{quoted(row)} does not end with `)`", hint="docs/blame.md has the notation")
    name, export = _named(row, functions)
    function = functions[export]
    if why := next(filter(None, map(abi.unsupported, _types(function))), ""):
        raise CaseError(f"{quoted(row)} cannot be called: {export} has {why} in its type")
    with _naming(row):
        return WitRow(row, export, function, wave.arguments(row[len(name) + 1 : -1], function.params))


def quoted(row: str) -> str:
    """A row as errors name it."""
    return f"row {visible(row, _SHOWN)}"


@contextmanager
def _naming(row: str) -> Iterator[None]:
    """Errors name the row."""
    try:
        yield
    except CaseError as error:
        raise CaseError(f"{quoted(row)}: {error}", hint=error.hint) from error


def _types(function: WitFunction) -> tuple[WitType, ...]:
    return (*function.params, *((function.result,) if function.result is not None else ()))


def _named(row: str, functions: Mapping[str, WitFunction]) -> tuple[str, str]:
    """The name in a row, and the export: a function of an interface also by its own name, if that is unique."""
    named = {name: [name] for name in functions}
    for name in functions:
        named.setdefault(name.rpartition("#")[2], []).append(name)
    fits = sorted((name for name in named if row.startswith(f"{name}(")), key=len)
    exports = named[fits[-1]] if fits else []
    if fits and (len(exports) == 1 or exports[0] == fits[-1]):
        return fits[-1], exports[0]
    hint = f"functions are: {', '.join(map(visible, list(functions)[:5]))}" if functions else "the component exports no function"
    what = f"names {plural(len(exports), 'function')}" if exports else "does not name an exported function"
    raise CaseError(f"{quoted(row)} {what} of the component", hint=hint)


def with_callers(artifact: bytes, rows: Sequence[WitRow]) -> bytes:
    """The core module with an exported function for each row; raises ``CaseError`` if an export is not callable."""
    return _Callers(read(artifact)).added(rows) if rows else artifact


class _Callers:
    """Adds functions, and a memory for encoded results, after a module's own items."""

    def __init__(self, module: Module) -> None:
        self._module, self._binder = module, Binder(module)
        self._functions = {each.name: each.index for each in module.exports if each.kind == "func"}
        self._types = Types(len(module.types))
        self._first = len(module.all_functions)
        self._buffer = len(module.all_memories)

    def added(self, rows: Sequence[WitRow]) -> bytes:
        room, digest = self._types.function(("i32", "i32"), ()), self._types.function(("i32",), ("i64",))
        symbols: dict[str, int | bytes] = {"buf": self._buffer, "room": self._first, "digest": self._first + 1}
        bodies = [
            link(assemble(ROOM, params=("o", "n")), symbols),
            link(assemble(DIGEST, params=("n",), locals=(("at", "i32"), ("d", "i64"))), symbols),
        ]
        callers = [self._caller(each, symbols) for each in rows]
        items = {
            ids.FUNCTION: [u(room), u(digest), *(u(typeidx) for typeidx, _ in callers)],
            ids.MEMORY: [encode_memorytype(MemoryType(Limits(1, None)))],
            ids.EXPORT: [
                *(encode_export(each.text, "func", self._first + 2 + at) for at, each in enumerate(rows)),
                encode_export(RESULTS_EXPORT, "memory", self._buffer),
            ],
            ids.CODE: [*bodies, *(body for _, body in callers)],
        }
        return write(append(self._module.sections, {ids.TYPE: self._types.encoded, **items}))

    def _caller(self, row: WitRow, symbols: Mapping[str, int | bytes]) -> tuple[int, bytes]:
        """The typeidx and the code entry of a row's function."""
        function, result = self._functions.get(row.export), row.function.result
        if function is None:
            raise CaseError(f"{quoted(row.text)}: the core module does not export {visible(row.export)}")
        flat = self._checked(row, function)
        lowering, lifting = Lowering(), Lifting()
        with _naming(row.text):
            push = lowering.parameters(row.function.params, row.args)
        bound = self._bound(row, function, realloc=bool(lowering.locals))
        post = self._functions.get(_POST_RETURN + row.export)
        text = [*lowering.lines, push, "call $function"]
        if flat is not None and result is not None:
            lifted = lifting.text(result)
            text += ["local.set $r", lifted if post is None else f"{lifted} local.get $r call $post"]
        elif post is not None:
            text.append("call $post")
        numbers = [(name, "i32") for name in (*lowering.locals, *lifting.locals)]
        fragment = assemble(" ".join(text), locals=(*numbers, *LOCALS, *((("r", flat),) if flat is not None else ())))
        names = {**symbols, "function": function, "mem": bound.memory, "realloc": bound.realloc or 0, "post": post or 0}
        return self._types.function((), core_results(result)), link(fragment, names)

    def _checked(self, row: WitRow, function: int) -> str | None:
        """The core result of the function, None if it has none; raises ``CaseError`` if its type is not that of the component's."""
        result = row.function.result
        flat = abi.flat(result) if result is not None else ()
        results = flat if len(flat) <= 1 else ("i32",)
        params = abi.passed_flat(row.function.params)
        expected = FuncType(("i32",) if params is None else params, results)
        found = self._module.function_type(function)
        if (found.params, found.results) != (expected.params, expected.results):
            raise CaseError(f"{quoted(row.text)}: {visible(row.export)} of the core module has another type than the component's")
        return str(results[0]) if results else None

    def _bound(self, row: WitRow, function: int, *, realloc: bool) -> Bound:
        """The memory and the realloc of the export, if the row needs them."""
        result = row.function.result
        if not realloc and (result is None or len(abi.flat(result)) <= 1):
            return Bound()
        bound = self._binder.bind_export(function, realloc=realloc)
        if bound.reason:
            raise CaseError(f"{quoted(row.text)} cannot be called in the core module: {bound.reason}")
        return bound
