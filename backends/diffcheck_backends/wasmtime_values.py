"""WIT types and values (``diffcheck.wasm.wit.types``) from and to those of wasmtime-py's component API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wasmtime import component
from wasmtime.component import _types as types

from diffcheck.wasm import values
from diffcheck.wasm.wit.types import CANONICAL_NAN, FLOATS, RESOURCES, Value, WitFunction, WitType, is_nan, option, result

if TYPE_CHECKING:
    from collections.abc import Iterator

# wasmtime 50 leaves out the tag of a case if the payloads have different Python types, so 1 may be `some(1)` or another case.
setattr(types.VariantLikeType, "_tagged", lambda _: True)  # noqa: B010 - there is no option

_KINDS: Final = {types.Char: "char", types.String: "string", types.OwnType: "own", types.BorrowType: "borrow"}


def functions(engine: Any, program: component.Component) -> Iterator[tuple[str, WitFunction]]:  # noqa: ANN401 - ``wasmtime.Engine``
    """The exported functions, those of an interface as ``interface#function``."""
    for name, extern in program.type.exports(engine).items():
        item = extern.ty
        if isinstance(item, types.FuncType):
            yield name, _function(item)
        elif isinstance(item, types.ComponentInstanceType):
            inner = ((inner, each.ty) for inner, each in item.exports(engine).items())
            yield from ((f"{name}#{inner}", _function(each)) for inner, each in inner if isinstance(each, types.FuncType))


def _function(type_: types.FuncType) -> WitFunction:
    result_ = type_.result
    return WitFunction(tuple(wit(each) for _, each in type_.params), wit(result_) if result_ is not None else None)


def wit(type_: types.ValType) -> WitType:  # noqa: PLR0911 - one line for each type
    """The type of wasmtime-py as ``WitType``; its kind is the name of the class if it is not supported."""
    match type_:
        case types.ListType():
            return WitType("list", types=(wit(type_.element),))
        case types.RecordType():
            return WitType("record", tuple(name for name, _ in type_.fields), tuple(wit(each) for _, each in type_.fields))
        case types.TupleType():
            return WitType("tuple", types=tuple(map(wit, type_.elements)))
        case types.VariantType():
            return WitType("variant", tuple(name for name, _ in type_.cases), tuple(_payload(each) for _, each in type_.cases))
        case types.EnumType():
            return WitType("enum", tuple(type_.names))
        case types.OptionType():
            return option(wit(type_.payload))
        case types.ResultType():
            return result(_payload(type_.ok), _payload(type_.err))
        case types.FlagsType():
            return WitType("flags", tuple(type_.names))
    return WitType(_KINDS.get(type(type_), type(type_).__name__.lower()))


def _payload(type_: types.ValType | None) -> WitType | None:
    return None if type_ is None else wit(type_)


def to_python(type_: WitType, value: Value) -> Any:  # noqa: ANN401, PLR0911 - a type of wasmtime-py for each
    """The value as wasmtime-py takes it."""
    match type_.kind:
        case "f32" | "f64":
            return values.float_number(type_.kind, value)
        case "list":
            element = type_.members[0]
            return bytes(value) if element.kind == "u8" else [to_python(element, each) for each in value]
        case "tuple":
            return tuple(map(to_python, type_.members, value))
        case "record":
            record = component.Record()
            for name, of, each in zip(type_.names, type_.members, value, strict=True):
                setattr(record, name, to_python(of, each))
            return record
        case "flags":
            return {name for at, name in enumerate(type_.names) if value >> at & 1}
        case "enum":
            return type_.names[value[0]]
        case "variant" | "option" | "result":
            at, payload = value
            of = type_.types[at]
            return component.Variant(type_.names[at], None if of is None else to_python(of, payload))
    return value


def from_python(type_: WitType, value: Any) -> Value:  # noqa: ANN401, PLR0911 - as above
    """The value that wasmtime-py returned."""
    kind = type_.kind
    if kind in FLOATS:
        bits = values.float_bits(kind, value)
        return CANONICAL_NAN[kind] if is_nan(kind, bits) else bits
    match kind:
        case "list":
            return tuple(from_python(type_.members[0], each) for each in value)
        case "tuple":
            return tuple(map(from_python, type_.members, value))
        case "record":
            return tuple(from_python(of, getattr(value, name)) for name, of in zip(type_.names, type_.members, strict=True))
        case "flags":
            return sum(1 << at for at, name in enumerate(type_.names) if name in value)
        case "enum":
            return type_.names.index(value), None
        case "variant" | "option" | "result":
            at = type_.names.index(value.tag)
            of = type_.types[at]
            return at, None if of is None else from_python(of, value.payload)
    return None if kind in RESOURCES else value
