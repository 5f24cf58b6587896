"""The object types and functions that an artifact's references can refer to."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.layout import MAX_ELEMENTS, ObjectType
from diffcheck.wasm.code import has_any, read_locals
from diffcheck.wasm.constexpr import read_constexpr
from diffcheck.wasm.leb import Reader, sized
from diffcheck.wasm.module import kept
from diffcheck.wasm.opcodes import REF_FUNC
from diffcheck.wasm.types import ArrayType, FuncType, RefType, StructType, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diffcheck.wasm.constexpr import Instr
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import CompositeType, ValType

MAX_TYPES: Final = 1000
MAX_FIELDS: Final = 10_000
"""Limits of the recorded object types, and of the sum of their fields, since engines limit the size of a function."""

MAX_TESTS: Final = 64
"""Limit of the table elements whose function type is tested. kilnd 0.4.4 takes up to 4 ms each (measured 2026-11-27)."""

_HIERARCHY: Final = {
    **dict.fromkeys(("any", "eq", "i31", "struct", "array", "none"), "any"),
    **dict.fromkeys(("func", "nofunc"), "func"),
    **dict.fromkeys(("extern", "noextern"), "extern"),
    **dict.fromkeys(("exn", "noexn"), "exn"),
}
_WRITERS: Final = frozenset({"table.set", "table.init", "table.copy", "table.grow", "table.fill", "ref.func"})
_CONVERT: Final = "extern.convert_any"
_CONVERT_BYTES: Final = b"\xfb\x1b"
_WRITER_BYTES: Final = re.compile(rb"\x26[\x00-\x7f]|\xd2|\xfc[\x0c\x0e\x0f\x11][\x00-\x7f]")


class Reach(msgspec.Struct, frozen=True):
    """The targets of references.

    ``any`` and ``func`` are whether words of these hierarchies exist. ``objects`` are the object types, subtypes before their
    supertypes. ``functions`` are the typeidx of functions that can be referenced.
    """

    any: bool = False
    func: bool = False
    objects: tuple[ObjectType, ...] = ()
    functions: tuple[int, ...] = ()


class TypedElements(msgspec.Struct, frozen=True):
    """Elements of a table from ``first`` to before ``end`` by ``step``: functions of the type ``typeidx``."""

    first: int
    end: int
    step: int
    typeidx: int


def hierarchy(module: Module, type_: RefType) -> str:
    """Return the hierarchy of a reference type: any, func, extern or exn (core specification 3.0, 3.3.3)."""
    if isinstance(type_.heap, str):
        return _HIERARCHY[type_.heap]
    return "func" if isinstance(module.types[type_.heap].composite, FuncType) else "any"


def reach(module: Module, roots: Iterable[RefType]) -> Reach:
    """Return the targets of references of these types, directly or through the fields of objects."""
    todo = list(dict.fromkeys(roots))
    if not todo:
        return Reach()
    tree = _Tree(module)
    visited: set[RefType] = set()
    objects: dict[int, None] = {}
    while todo and len(objects) <= MAX_TYPES:
        type_ = todo.pop()
        if type_ in visited:
            continue
        visited.add(type_)
        for each in tree.objects(type_, hierarchy(module, type_)):
            if each not in objects:
                objects[each] = None
                todo += [field.storage for field in fields(module.types[each].composite) if isinstance(field.storage, RefType)]
    kinds = {hierarchy(module, each) for each in (*visited, *todo)}
    functions = {module.all_functions[each] for each in referenced_functions(module)} if "func" in kinds else set()
    return Reach(
        any=bool(kinds & {"any", "extern"}),
        func="func" in kinds,
        objects=_bounded(module, tree.subtypes_first(objects)),
        functions=tuple(tree.subtypes_first(functions)),
    )


def payload(module: Module, typeidx: int) -> tuple[ValType, ...]:
    """Return the types of the payload of a tag of this type."""
    composite = module.types[typeidx].composite
    assert isinstance(composite, FuncType), "a valid tag has a function type"  # noqa: S101
    return composite.params


class _Tree:
    """The artifact's types with their subtypes."""

    def __init__(self, module: Module) -> None:
        self._types = module.types
        self._below: defaultdict[int, list[int]] = defaultdict(list)
        self._alike: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        self._depths: list[int] = []
        for index, each in enumerate(module.types):  # supertypes come before their subtypes (core specification 3.0, 3.2.9)
            self._depths.append(max((self._depths[above] + 1 for above in each.supers if above < index), default=0))
            self._alike[_shape(each.composite)].append(index)
            for above in each.supers:
                self._below[above].append(index)

    def subtypes_first(self, types: Iterable[int]) -> list[int]:
        """Sort the types so that the first match of an object is its exact type."""
        return sorted(types, key=lambda each: (-self._depths[each], each))

    def objects(self, type_: RefType, kind: str) -> Iterator[int]:
        """Yield the object types that a reference of this type can refer to."""
        if kind not in ("any", "extern"):
            return
        if isinstance(type_.heap, int):
            yield from self._subtypes(type_.heap)
            return
        classes = {"struct": (StructType,), "array": (ArrayType,), "i31": (), "none": ()}.get(type_.heap, (StructType, ArrayType))
        yield from (index for index, each in enumerate(self._types) if isinstance(each.composite, classes))

    def _subtypes(self, typeidx: int) -> Iterator[int]:
        """Yield the type and its subtypes. A type of equal shape may be the same type, and counts as such."""
        todo = list(self._alike[_shape(self._types[typeidx].composite)])
        visited = set(todo)
        while todo:
            each = todo.pop()
            yield each
            todo += [below for below in self._below[each] if below not in visited]
            visited.update(self._below[each])


def _shape(composite: CompositeType) -> tuple[object, ...]:
    """Return a type without its type indices, which differ between equal types of different groups."""
    return (type(composite), *_kinds(composite))


def _kinds(composite: CompositeType) -> tuple[str, ...]:
    return tuple(each.storage if isinstance(each.storage, str) else "ref" for each in fields(composite))


def _bounded(module: Module, typeidxs: Iterable[int]) -> tuple[ObjectType, ...]:
    """Return the object types within the limits."""
    types, left = [], MAX_FIELDS
    for index in itertools.islice(typeidxs, MAX_TYPES):
        composite = module.types[index].composite
        left -= len(fields(composite))
        if left >= 0:
            types.append(ObjectType(index, isinstance(composite, ArrayType), _kinds(composite)))
    return tuple(types)


def referenced_functions(module: Module) -> set[int]:
    """Return the functions that can be referenced: C.refs of the core specification 3.0, 3.4, and exported functions."""
    functions = {each.index for each in module.exports if each.kind == "func"}
    for element in module.elements:
        functions.update(element.funcs)
    for constant in (each for each in _constants(module) if REF_FUNC in each):
        functions.update(int(each.immediates[0]) for each in read_constexpr(Reader(constant)).instrs if each.name == "ref.func")
    return functions


def _constants(module: Module) -> Iterator[bytes]:
    """Yield the constant expressions whose values may be references."""
    yield from (each.init for each in module.globals)
    yield from (each.init for each in module.tables if each.init is not None)
    for element in module.elements:
        yield from element.exprs


def typed_elements(module: Module, table: int) -> tuple[TypedElements, ...]:
    """Return the functions in a table after instantiation, for at most ``MAX_TESTS`` evenly spread elements.

    Empty if the offset of a segment is not a constant number.
    """
    known = _initial(module, table)
    for segment in module.elements:
        if segment.mode == "active" and segment.table == table:
            offset = _single_instruction(segment.offset or b"")
            if offset is None or offset.name not in ("i32.const", "i64.const"):
                return ()
            at = int(offset.immediates[0]) % (1 << 32)
            known.update(zip(range(at, MAX_ELEMENTS), segment.funcs or map(_function, segment.exprs), strict=False))
    types = {at: module.all_functions[function] for at, function in sorted(known.items()) if function is not None}
    step = -(-len(types) // MAX_TESTS)
    return tuple(_runs([(at, types[at]) for at in itertools.islice(types, 0, None, step or 1)], step))


def _initial(module: Module, table: int) -> dict[int, int | None]:
    """Return the functions in a table from its initial value, by element."""
    own = table - module.n_imported("table")
    function = _function(module.tables[own].init or b"") if own >= 0 else None
    size = min(module.all_tables[table].limits.minimum, MAX_ELEMENTS)
    return {} if function is None else dict.fromkeys(range(size), function)


def _function(expr: bytes) -> int | None:
    """Return the function if the expression is a ``ref.func``."""
    instr = _single_instruction(expr)
    return int(instr.immediates[0]) if instr is not None and instr.name == "ref.func" else None


def _single_instruction(expr: bytes) -> Instr | None:
    """Return the instruction of an expression with exactly one."""
    instrs = read_constexpr(Reader(expr)).instrs if expr else ()
    return instrs[0] if len(instrs) == 1 else None


def _runs(chosen: list[tuple[int, int]], step: int) -> Iterator[TypedElements]:
    """Group elements of equal type that are ``step`` apart, in order."""
    groups = itertools.groupby(enumerate(chosen), lambda each: (each[1][1], each[1][0] - each[0] * step))
    for (typeidx, _), group in groups:
        elements = [at for _, (at, _) in group]
        yield TypedElements(elements[0], elements[-1] + 1, step, typeidx)


@kept
def needs_gc(module: Module) -> bool:
    """Whether the artifact requires an engine with GC, as far as recordable references are concerned."""
    if any(each.supers or not isinstance(each.composite, FuncType) for each in module.types):
        return True
    kinds = {hierarchy(module, each) for each in module.references}
    return "any" in kinds or ("extern" in kinds and _converts(module))


def _converts(module: Module) -> bool:
    """Whether an instruction converts references of the hierarchy ``any`` to external references."""
    constants = (read_constexpr(Reader(constant)) for constant in _constants(module))
    if any(each.name == _CONVERT for constant in constants for each in constant.instrs):
        return True
    return any(
        _CONVERT_BYTES in body and has_any(body, frozenset({_CONVERT}), start=read_locals(body, offset).end, base_offset=offset)
        for offset, body in module.body_bytes()
    )


@kept
def identities_can_differ(module: Module) -> bool:
    """Whether code references functions or writes tables."""
    return bool(module.references) and any(
        _WRITER_BYTES.search(body) and has_any(body, _WRITERS, start=read_locals(body, offset).end, base_offset=offset)
        for offset, body in module.body_bytes()
    )


def probed_bodies(module: Module, prologue: Callable[[int, FuncType], bytes], bodies: Iterable[bytes]) -> bytes:
    """Return the code entries of ``bodies``. Functions that can be referenced begin with ``prologue(index, type)``."""
    referenced, entries = referenced_functions(module), []
    for funcidx, body in enumerate(bodies, module.n_imported("func")):
        end = read_locals(body).end if funcidx in referenced else 0
        begin = body[:end] + prologue(funcidx, module.function_type(funcidx)) if end else b""
        entries.append(sized(begin + body[end:]))
    return b"".join(entries)
