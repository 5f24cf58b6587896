"""The rows of an artifact: the exports to call, their arguments and their order.

Rows are written as for witness's ``--invoke-with-args``: ``EXPORT`` or ``EXPORT=arg,arg``; ``table[5]=arg`` calls the function in a
slot of table 0; ``(get) EXPORT`` reads a global. A row that begins with ``init:`` is an init row. Expected results may follow:
``add=1,2 -> 3`` (``compare.expectations``). The default rows are the ``run_row_*`` exports; else the program's entry; else every
export without parameters, as with witness's ``--invoke-all``.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from fnmatch import fnmatchcase
from itertools import count, islice
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.driver import START, Call
from diffcheck.cases.arguments import is_scalar
from diffcheck.cases.registrations import table_slots
from diffcheck.cases.runtime_exports import INITIALIZE, constructors
from diffcheck.errors import CaseError
from diffcheck.text import is_digits, plural, visible
from diffcheck.wasm import values
from diffcheck.wasm.types import FuncType, RefType, ValType
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.values import Value

ENTRIES: Final = ("wasi:cli/run@*#run", "_start", "run", "main")
_RUN_ROW: Final = "run_row_"
_NEAREST: Final = 5
ARROW: Final = " -> "
_ARROW_END: Final = ARROW.rstrip()
GET: Final = "(get) "
NAMELESS: Final = "''"
"""The row of the export with the empty name."""
_SEARCHED: Final = 4096  # names for difflib: an artifact may have a hundred thousand
_MAX_ARGUMENT: Final = 400  # characters; no value needs more

INIT: Final = "init:"
_SLOT: Final = re.compile(r"table\[([0-9]{1,9})\](?:=(.*))?", re.DOTALL)
_NUMBER: Final = re.compile(r" #[0-9]{1,9}\Z")  # of equal rows; see ``numbered``


class Rows(msgspec.Struct, frozen=True):
    """The rows to call: ``init`` before the first row of each instance, then ``rows``.

    ``why_none`` is the reason if there is no row, and what to do. ``reasons`` are why planned rows were chosen, by row.
    """

    init: tuple[Call, ...]
    rows: tuple[Call, ...]
    notes: tuple[str, ...] = ()
    why_none: str = ""
    reasons: dict[str, str] = {}

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls in order, for the driver."""
        return self.init + self.rows


class Function(msgspec.Struct, frozen=True):
    """A function that rows can call: an export, or an element of table 0 as ``table[5]``."""

    name: str
    index: int
    type: FuncType

    def call(self, row: str, args: tuple[Value, ...] = ()) -> Call:
        """The call that a row makes."""
        return Call(row or NAMELESS, self.index, self.type, args)

    def call_with(self, args: tuple[Value, ...]) -> Call:
        """The call with these arguments, named by them."""
        return self.call(f"{self.name}={','.join(map(str, args))}" if args else self.name, args)


def choose(module: Module, declared: Sequence[str] = ()) -> Rows:
    """The declared rows, or the default rows if none is declared.

    Raises ``CaseError`` for a row without a function or with wrong arguments.
    """
    functions = exported(module)
    lengths = {len(name) for name in functions}
    if not declared:
        rows = _default(module, functions)
        init = _init(module, functions)
        if not any(is_entry(each.name) for each in rows):
            first = [functions[name] for name in constructors({name: each.type for name, each in functions.items()})]
            init += tuple(msgspec.structs.replace(each.call(INIT + each.name), init=True) for each in first)
            rows = [row for row in rows if row.function not in {each.function for each in init}]
        return Rows(init, tuple(rows), why_none="" if rows else _why_none(functions))
    calls = [_declared(row, module, functions, lengths) for row in declared]
    init = (*_init(module, functions), *(each for each in calls if each.init))
    return Rows(init, tuple(each for each in calls if not each.init))


def usable(module: Module, rows: Iterable[str]) -> tuple[list[Call], dict[str, str]]:
    """The calls of the rows that can be called, and why each other cannot be, by row."""
    functions = exported(module)
    lengths = {len(name) for name in functions}
    calls, whys = [], {}
    for row in rows:
        try:
            calls.append(_declared(row, module, functions, lengths))
        except CaseError as error:
            whys[row] = str(error)
    return calls, whys


def exported(module: Module) -> dict[str, Function]:
    """The exported functions by name."""
    return {
        each.name: Function(each.name, each.index, module.function_type(each.index))
        for each in module.exports
        if each.kind == "func"
    }


def is_component(module: Module, functions: Iterable[str]) -> bool:
    """Whether the artifact was fused from a component: then numbered exports are meld's adapter shims, not entries."""
    return any(each.name == "component-provenance" for each in module.sections) or any(
        "#" in name and ":" in name for name in functions
    )


def declarable(calls: Sequence[Call]) -> tuple[str, ...]:
    """The rows as a case file declares them: without the init rows that the artifact implies."""
    return tuple(each.name for each in calls if not each.init or each.name.startswith(INIT))


def is_entry(row: str) -> bool:
    """Whether a default row is a numbered one or the program's entry, and not just an export without parameters."""
    return row.startswith(_RUN_ROW) or is_program(row)


def is_program(row: str) -> bool:
    """Whether a row calls the program's entry."""
    return any(fnmatchcase(row, each) for each in ENTRIES)


def signature(function: FuncType) -> str:
    """A function type as text: ``(i32, f64) -> i64``."""
    results = ", ".join(map(str, function.results))
    return f"({', '.join(map(str, function.params))})" + (f" -> {results}" if results else "")


def _init(module: Module, functions: dict[str, Function]) -> tuple[Call, ...]:
    calls = []
    if module.start is not None:
        calls.append(Call(START, module.start, module.function_type(module.start), init=True))
    if (found := functions.get(INITIALIZE)) and not found.type.params and not found.type.results:
        calls.append(Call(INITIALIZE, found.index, found.type, init=True))
    return tuple(calls)


# Declared rows


def _declared(row: str, module: Module, functions: dict[str, Function], lengths: set[int]) -> Call:
    found, expected = _split(row, functions, lengths), ""
    if found is None or _ARROW_END in found[1] or _NUMBER.search(found[1]):
        if row.rstrip().endswith(_ARROW_END):
            raise CaseError(f"row {visible(row)} expects nothing", hint="write a result after the arrow, or -> () for none")
        row, _, expected = row.rpartition(ARROW) if ARROW in row else (row, "", "")
        plain = _NUMBER.sub("", row)
        if row.startswith(GET):
            return _read(row, plain, module, expected)
        found = next((each for text in (plain, row) if (each := _of_text(text, module, functions, lengths))), None)
    if found is None and row.startswith(INIT):
        call = _declared(row.removeprefix(INIT), module, functions, lengths)
        return msgspec.structs.replace(call, name=row, init=True, expected=expected)
    if found is None:
        raise CaseError(f"row {visible(row)} does not name an exported function", hint=_near(row, functions))
    function, text = found
    if ARROW.strip() in text:
        raise CaseError(f"row {visible(row)} has an arrow without spaces", hint="write a space before and after ->")
    words, wanted = text.split(",") if text else [], len(function.type.params)
    if len(words) != wanted:
        takes = f"{_name(function)} takes {plural(wanted, 'argument') if wanted else 'none'}"
        raise CaseError(
            f"row {visible(row)} has {plural(len(words), 'argument') if words else 'no argument'}, {takes}", hint=_shown(function)
        )
    call = function.call(row, tuple(_argument(row, at, word, function) for at, word in enumerate(words)))
    pairs = enumerate(zip(function.type.params, call.args, strict=True), 1)
    if (required := next((at for at, (type_, value) in pairs if _is_required_ref(type_) and not value.bits), None)) is not None:
        raise CaseError(f"row {visible(row)} cannot be called: parameter {required} is a non-null reference", hint=_shown(function))
    return msgspec.structs.replace(call, expected=expected) if expected else call


def _of_text(row: str, module: Module, functions: dict[str, Function], lengths: set[int]) -> tuple[Function, str] | None:
    return _split(row, functions, lengths) or _split_visible(row, functions) or _split_slot(row, module)


def _read(row: str, plain: str, module: Module, expected: str) -> Call:
    """The row that reads an exported global; ``plain`` is its text without a number."""
    names = (row.removeprefix(GET), plain.removeprefix(GET))
    index = next((each.index for name in names for each in module.exports if (each.kind, each.name) == ("global", name)), None)
    if index is None:
        raise CaseError(f"row {visible(row)} does not name an exported global")
    return Call(row, index, FuncType((), (module.all_globals[index].value,)), reads=True, expected=expected)


def numbered(rows: Iterable[Call]) -> tuple[Call, ...]:
    """The rows with different names: of equal ones the second is ``ROW #2``, and so on, unless a row has that name."""
    rows = tuple(rows)
    taken = {each.name for each in rows}
    numbers: defaultdict[str, count[int]] = defaultdict(lambda: count(2))  # by the equal rows' name
    seen: set[str] = set()
    named = []
    for each in rows:
        name = each.name
        if name in seen:
            name = next(free for number in numbers[each.name] if (free := f"{each.name} #{number}") not in taken)
        seen.add(name)
        named.append(each if name == each.name else msgspec.structs.replace(each, name=name))
    return tuple(named)


def _split_visible(row: str, functions: dict[str, Function]) -> tuple[Function, str] | None:
    """``_split`` for a row with names as reports show them."""
    shown = {visible(name) or NAMELESS: each for name, each in functions.items()}
    return _split(row, shown, {len(name) for name in shown})


def _split_slot(row: str, module: Module) -> tuple[Function, str] | None:
    """``_split`` for a slot of table 0, with the function that is in it after instantiation."""
    match = _SLOT.fullmatch(row)
    function = table_slots(module).get(int(match[1])) if match is not None else None
    if match is None or function is None:
        return None
    return Function(f"table[{match[1]}]", function, module.function_type(function)), match[2] or ""


def _split(row: str, functions: dict[str, Function], lengths: set[int]) -> tuple[Function, str] | None:
    """The function and the text of its arguments; the longest name counts, since names may contain ``=`` and commas."""
    if row in functions:
        return functions[row], ""
    ends = [match.start() for match in re.finditer("=", row) if match.start() in lengths]
    return next(((functions[row[:end]], row[end + 1 :]) for end in reversed(ends) if row[:end] in functions), None)


def _is_required_ref(type_: ValType) -> bool:
    return isinstance(type_, RefType) and not type_.nullable


def _argument(row: str, at: int, word: str, function: Function) -> Value:
    type_ = function.type.params[at]
    kind = type_ if isinstance(type_, str) else "ref"
    try:
        only_null = isinstance(type_, RefType) and type_.heap not in ("any", "eq", "i31", "extern")
        return values.parse(word if len(word) <= _MAX_ARGUMENT and not (only_null and word != "null") else "...", kind)
    except CaseError as error:
        given = f"argument {at + 1} of row {visible(row)} is {visible(repr(word), 60)}"
        raise CaseError(f"{given}, but {_name(function)} expects {type_}", hint=error.hint) from error


def _near(row: str, functions: dict[str, Function]) -> str:
    wanted = row.partition("=")[0][:200]
    names = list(islice((name for name in functions if not name.startswith(formats.PREFIX) and len(name) <= 200), _SEARCHED))  # noqa: PLR2004 - as for the row
    if not names:
        return "the artifact exports no function"
    near = difflib.get_close_matches(wanted, names, _NEAREST) or [name for name in names if wanted and wanted in name][:_NEAREST]
    shown = "; ".join(_shown(functions[name]) for name in near or names[:_NEAREST])
    return f"did you mean: {shown}" if near else f"exports are: {shown}{', ...' if len(names) > _NEAREST else ''}"


def _name(function: Function) -> str:
    return visible(function.name) or NAMELESS


def _shown(function: Function) -> str:
    return f"{_name(function)}{signature(function.type)}"


# Default rules


def _default(module: Module, functions: dict[str, Function]) -> list[Call]:
    callable_ = {name: each for name, each in functions.items() if not each.type.params}
    numbered = sorted((name for name in callable_ if name.startswith(_RUN_ROW)), key=_number)
    if numbered:
        return [callable_[name].call(name) for name in numbered]
    for pattern in ENTRIES:
        for name, each in callable_.items():
            if fnmatchcase(name, pattern):
                return [each.call(name)]
    shims = is_component(module, functions)
    return [
        each.call(name)
        for name, each in callable_.items()
        if not (name.startswith(formats.PREFIX) or name in ("_start", INITIALIZE) or (shims and is_digits(name)))
    ]


def _number(name: str) -> tuple[bool, int, str]:
    digits = name.removeprefix(_RUN_ROW)
    if not is_digits(digits):
        return True, 0, digits
    significant = digits.lstrip("0")
    return False, len(significant), significant + name  # as text, since Python does not read numbers of over 4,300 digits


def _why_none(functions: dict[str, Function]) -> str:
    own = [each for name, each in functions.items() if not name.startswith(formats.PREFIX)]
    if not own:
        return "the artifact exports no function"
    if any(is_scalar(each.type) for each in own):
        return "no export without parameters; use --auto-rows or a case file"
    return "no export that can be called without arguments; declare rows in a case file"
