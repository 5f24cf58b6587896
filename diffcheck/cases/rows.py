"""The rows of an artifact: the exports to call, their arguments and their order.

Rows are written as for witness's ``--invoke-with-args``: ``EXPORT`` or ``EXPORT=arg,arg``; ``(get) EXPORT`` reads a global. Their
expected results may follow: ``add=1,2 -> 3`` (``compare.expectations``). The default rows are the ``run_row_*``
exports; else the program's entry; else every export without parameters, as with witness's ``--invoke-all``.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from fnmatch import fnmatchcase
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from diffcheck import values
from diffcheck.capsule.driver import Call
from diffcheck.capsule.stubs import preview1
from diffcheck.errors import CaseError
from diffcheck.text import plural, visible
from diffcheck.values import Value
from diffcheck.wasm.types import FuncType, RefType, ValType
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diffcheck.wasm.module import Module

Mode: TypeAlias = Literal["auto", "declared"]
START: Final = "(start)"
INITIALIZE: Final = "_initialize"
ENTRIES: Final = ("wasi:cli/run@*#run", "_start", "run", "main")
AUTO_PER_EXPORT: Final = 16
AUTO_TOTAL: Final = 256
_RUN_ROW: Final = "run_row_"
_NEAREST: Final = 5
ARROW: Final = " -> "
GET: Final = "(get) "
NAMELESS: Final = "''"
"""The row of the export with the empty name."""
_SEARCHED: Final = 4096  # names for difflib: an artifact may have a hundred thousand
_MAX_ARGUMENT: Final = 400  # characters; no value needs more

_PLUMBING: Final = re.compile(
    r"""__.* | _?(?:malloc|calloc|realloc|free|memalign|aligned_alloc|posix_memalign|fflush) | cabi_.* | canonical_abi_.*
    | _?emscripten_.* | dynCall_.* | asyncify_.* | (?:stackAlloc|stackSave|stackRestore|establishStackSpace|setThrew)
    | [gs]etTempRet0 | memory.* | allocate_stack | wasm_call_ctors | _start | _initialize""",
    re.VERBOSE | re.DOTALL,
)
"""Exports of a toolchain's runtime, for which boundary values do not test the program."""
_SUFFIX: Final = re.compile(r"\$[0-9]+\Z")  # meld appends it to the items of a second component

_INTEGERS: Final = ("0", "1", "-1", "min", "max")
_FLOATS: Final = ("0", "-0", "1", "-1.5", "inf", "nan", "subnormal", "max")
_SPECIAL: Final = {
    "i32": {"min": 1 << 31, "max": (1 << 31) - 1},
    "i64": {"min": 1 << 63, "max": (1 << 63) - 1},
    "f32": {"subnormal": 1, "max": 0x7F7F_FFFF},
    "f64": {"subnormal": 1, "max": 0x7FEF_FFFF_FFFF_FFFF},
}


def _boundary(type_: str) -> tuple[Value, ...]:
    words, special = _INTEGERS if type_.startswith("i") else _FLOATS, _SPECIAL[type_]
    return tuple(Value(type_, special[word]) if word in special else values.parse(word, type_) for word in words)


BOUNDARIES: Final = {type_: _boundary(type_) for type_ in _SPECIAL}
_ONE: Final = {type_: values.parse("1", type_) for type_ in _SPECIAL}


class Rows(msgspec.Struct, frozen=True):
    """The rows to call: ``init`` before the first row of each instance, then ``rows``; ``notes`` are on exports left out.

    ``why_none`` is the reason if there is no row, and what to do.
    """

    init: tuple[Call, ...]
    rows: tuple[Call, ...]
    notes: tuple[str, ...] = ()
    why_none: str = ""

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls in order, for the driver."""
        return self.init + self.rows


class _Function(msgspec.Struct, frozen=True):
    name: str
    index: int
    type: FuncType

    def call(self, row: str, args: tuple[Value, ...] = ()) -> Call:
        return Call(row or NAMELESS, self.index, self.type, args)


def resolve(module: Module, declared: Sequence[str] = (), mode: Mode = "declared") -> tuple[Call, ...]:
    """The calls of ``choose`` in order, init rows first, for the driver."""
    return choose(module, declared, mode).calls


def choose(module: Module, declared: Sequence[str] = (), mode: Mode = "declared") -> Rows:
    """The declared rows, or the default rows if none is declared.

    Mode ``auto`` adds boundary values for exports with i32, i64, f32 and f64 parameters. Raises ``CaseError`` for a row without an
    export or with wrong arguments.
    """
    functions = {
        each.name: _Function(each.name, each.index, module.function_type(each.index))
        for each in module.exports
        if each.kind == "func"
    }
    lengths = {len(name) for name in functions}
    rows = [_declared(row, module, functions, lengths) for row in declared] if declared else _default(module, functions)
    notes: tuple[str, ...] = ()
    if mode == "auto":
        added, notes = _auto(module, functions, {(row.function, row.args) for row in rows})
        rows += added
    return Rows(_init(module, functions), tuple(rows), notes, "" if rows else _why_none(functions, mode))


def signature(function: FuncType) -> str:
    """A function type as text: ``(i32, f64) -> i64``."""
    results = ", ".join(map(str, function.results))
    return f"({', '.join(map(str, function.params))})" + (f" -> {results}" if results else "")


def _init(module: Module, functions: dict[str, _Function]) -> tuple[Call, ...]:
    calls = []
    if module.start is not None:
        calls.append(Call(START, module.start, module.function_type(module.start), init=True))
    if (found := functions.get(INITIALIZE)) and not found.type.params and not found.type.results:
        calls.append(Call(INITIALIZE, found.index, found.type, init=True))
    return tuple(calls)


# Declared rows


def _declared(row: str, module: Module, functions: dict[str, _Function], lengths: set[int]) -> Call:
    found, expected = _split(row, functions, lengths), ""
    if found is None or ARROW in found[1]:
        row, _, expected = row.rpartition(ARROW) if ARROW in row else (row, "", "")
        if row.startswith(GET):
            return _read(row, module, expected)
        found = _split(row, functions, lengths) or _split_visible(row, functions)
    if found is None:
        raise CaseError(f"row {visible(row)} does not name an exported function", hint=_near(row, functions))
    function, text = found
    words, wanted = text.split(",") if text else [], len(function.type.params)
    if len(words) != wanted:
        takes = f"{visible(function.name)} takes {plural(wanted, 'argument') if wanted else 'none'}"
        raise CaseError(
            f"row {visible(row)} has {plural(len(words), 'argument') if words else 'no argument'}, {takes}", hint=_shown(function)
        )
    call = function.call(row, tuple(_argument(row, at, word, function) for at, word in enumerate(words)))
    pairs = enumerate(zip(function.type.params, call.args, strict=True), 1)
    if (required := next((at for at, (type_, value) in pairs if _is_required_ref(type_) and not value.bits), None)) is not None:
        raise CaseError(f"row {visible(row)} cannot be called: parameter {required} is a non-null reference", hint=_shown(function))
    return msgspec.structs.replace(call, expected=expected) if expected else call


def _read(row: str, module: Module, expected: str) -> Call:
    """The row that reads an exported global."""
    index = next((each.index for each in module.exports if each.kind == "global" and each.name == row.removeprefix(GET)), None)
    if index is None:
        raise CaseError(f"row {visible(row)} does not name an exported global")
    return Call(row, index, FuncType((), (module.all_globals[index].value,)), reads=True, expected=expected)


def numbered(rows: Iterable[Call]) -> tuple[Call, ...]:
    """The rows with different names: of equal ones the second is ``ROW #2``, and so on."""
    counts: Counter[str] = Counter()
    named = []
    for each in rows:
        counts[each.name] += 1
        same = counts[each.name] > 1
        named.append(msgspec.structs.replace(each, name=f"{each.name} #{counts[each.name]}") if same else each)
    return tuple(named)


def _split_visible(row: str, functions: dict[str, _Function]) -> tuple[_Function, str] | None:
    """``_split`` for a row with names as reports show them."""
    shown = {visible(name) or NAMELESS: each for name, each in functions.items()}
    return _split(row, shown, {len(name) for name in shown})


def _split(row: str, functions: dict[str, _Function], lengths: set[int]) -> tuple[_Function, str] | None:
    """The function and the text of its arguments; the longest name counts, since names may contain ``=`` and commas."""
    if row in functions:
        return functions[row], ""
    ends = [match.start() for match in re.finditer("=", row) if match.start() in lengths]
    return next(((functions[row[:end]], row[end + 1 :]) for end in reversed(ends) if row[:end] in functions), None)


def _is_required_ref(type_: ValType) -> bool:
    return isinstance(type_, RefType) and not type_.nullable


def _argument(row: str, at: int, word: str, function: _Function) -> Value:
    type_ = function.type.params[at]
    kind = type_ if isinstance(type_, str) else "ref"
    try:
        only_null = isinstance(type_, RefType) and type_.heap not in ("any", "eq", "i31", "extern")
        return values.parse(word if len(word) <= _MAX_ARGUMENT and not (only_null and word != "null") else "...", kind)
    except CaseError as error:
        given = f"argument {at + 1} of row {visible(row)} is {visible(repr(word), 60)}"
        raise CaseError(f"{given}, but {visible(function.name)} expects {type_}", hint=error.hint) from error


def _near(row: str, functions: dict[str, _Function]) -> str:
    wanted = row.partition("=")[0][:200]
    names = list(islice((name for name in functions if not name.startswith(formats.PREFIX) and len(name) <= 200), _SEARCHED))  # noqa: PLR2004 - as for the row
    if not names:
        return "the artifact exports no function"
    near = difflib.get_close_matches(wanted, names, _NEAREST) or [name for name in names if wanted and wanted in name][:_NEAREST]
    shown = "; ".join(_shown(functions[name]) for name in near or names[:_NEAREST])
    return f"did you mean: {shown}" if near else f"exports are: {shown}{', ...' if len(names) > _NEAREST else ''}"


def _shown(function: _Function) -> str:
    return f"{visible(function.name)}{signature(function.type)}"


# Default rules


def _default(module: Module, functions: dict[str, _Function]) -> list[Call]:
    callable_ = {name: each for name, each in functions.items() if not each.type.params}
    numbered = sorted((name for name in callable_ if name.startswith(_RUN_ROW)), key=_number)
    if numbered:
        return [callable_[name].call(name) for name in numbered]
    for pattern in ENTRIES:
        for name, each in callable_.items():
            if fnmatchcase(name, pattern):
                return [each.call(name)]
    shims = _is_component(module, functions)
    return [
        each.call(name)
        for name, each in callable_.items()
        if not (name.startswith(formats.PREFIX) or name in ("_start", INITIALIZE) or (shims and _is_number(name)))
    ]


def _number(name: str) -> tuple[bool, int, str]:
    digits = name.removeprefix(_RUN_ROW)
    if not _is_number(digits):
        return True, 0, digits
    significant = digits.lstrip("0")
    return False, len(significant), significant + name  # as text, since Python does not read numbers of over 4,300 digits


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_component(module: Module, functions: Iterable[str]) -> bool:
    """Whether the artifact was fused from a component: then numbered exports are meld's adapter shims, not entries."""
    return any(each.name == "component-provenance" for each in module.sections) or any(
        "#" in name and ":" in name for name in functions
    )


def _why_none(functions: dict[str, _Function], mode: str) -> str:
    own = [each for name, each in functions.items() if not name.startswith(formats.PREFIX)]
    if not own:
        return "the artifact exports no function"
    if mode == "declared" and any(_is_scalar(each.type) for each in own):
        return "no export without parameters; use --auto-rows or a case file"
    return "no export that can be called without arguments; declare rows in a case file"


# Boundary values


def _auto(
    module: Module, functions: dict[str, _Function], known: set[tuple[int, tuple[Value, ...]]]
) -> tuple[list[Call], tuple[str, ...]]:
    # In a fused component these are exports of adapters, such as the preview 1 adapter.
    component = _is_component(module, functions)
    offered: list[list[Call]] = []
    skipped: dict[str, list[str]] = {"runtime plumbing": [], "parameters that are vectors or references": [], "over": []}
    for name, each in functions.items():
        if not each.type.params or name.startswith(formats.PREFIX):
            continue
        own = _SUFFIX.sub("", name)
        if _PLUMBING.fullmatch(own) or (component and (_is_number(own) or own in preview1.TABLE)):
            skipped["runtime plumbing"].append(name)
        elif not _is_scalar(each.type):
            skipped["parameters that are vectors or references"].append(name)
        else:
            every = [row for row in _combinations(each.type.params) if (each.index, row) not in known]
            offered.append([each.call(f"{name}={','.join(map(str, row))}", row) for row in every[:AUTO_PER_EXPORT]])
            skipped["over"] += [name] * (len(every) > AUTO_PER_EXPORT)
    over = skipped.pop("over")
    notes = [
        f"no boundary rows for {plural(len(names), 'export')} ({why}): {_few(names)}" for why, names in skipped.items() if names
    ]
    if over:
        notes.append(f"boundary rows end at {AUTO_PER_EXPORT} for {plural(len(over), 'export')}: {_few(over)}")
    # The first rows of all exports come first, so that a large interface is covered throughout.
    rounds = chain.from_iterable(zip_longest(*offered))
    chosen = {id(row) for row in islice((row for row in rounds if row is not None), AUTO_TOTAL)}
    total = sum(map(len, offered))
    if total > AUTO_TOTAL:
        none = sum(1 for rows in offered if rows and id(rows[0]) not in chosen)
        notes.append(f"{AUTO_TOTAL} of {total:,} boundary rows are run" + (f", none for {plural(none, 'export')}" if none else ""))
    return [row for rows in offered for row in rows if id(row) in chosen], tuple(notes)


def _few(names: list[str]) -> str:
    return ", ".join(visible(name, 40) for name in names[:_NEAREST]) + (", ..." if len(names) > _NEAREST else "")


def _is_scalar(type_: FuncType) -> bool:
    return bool(type_.params) and all(isinstance(each, str) and each in BOUNDARIES for each in type_.params)


def _combinations(params: tuple[ValType, ...]) -> list[tuple[Value, ...]]:
    """All positions at the same boundary, then one position at a time while the others are 1; without duplicates."""
    return list(dict.fromkeys(_tuples([str(each) for each in params])))


def _tuples(types: list[str]) -> Iterator[tuple[Value, ...]]:
    longest = max(len(BOUNDARIES[each]) for each in types)
    for step in range(longest):
        yield tuple(BOUNDARIES[each][step % len(BOUNDARIES[each])] for each in types)
    for step in range(longest):
        for at, each in enumerate(types):
            if step < len(BOUNDARIES[each]):
                yield tuple(BOUNDARIES[each][step] if place == at else _ONE[other] for place, other in enumerate(types))
