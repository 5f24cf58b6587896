"""Comparing references: their words, the objects that they lead to, the elements of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.observation import Objects
from diffcheck.text import plural, visible
from diffcheck.verdict import DivergenceKind
from diffcheck.wasm import values
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.capsule.layout import Layout
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import FinalState, Object, RowRecord

_OPAQUE: Final = "what references refer to: {}"
_NO_GC: Final = "an engine has no GC instructions, so only null and non-null are distinguished"
_NO_VALUE: Final = "not comparable for exceptions of other tags and for an engine's own objects"


def render(value: Value, objects: Objects, layout: Layout) -> str:
    """A value as text; for a reference the type of its object or the name of its function."""
    if value.type != "ref":
        return str(value)
    kind, payload = values.reference(value)
    if kind == values.OBJECT and payload < len(objects.found):
        return f"{_type(objects.found[payload], layout)} (object {payload})"
    if kind == values.IDENTITY and payload in layout.functions:
        return f"{value} (${visible(layout.functions[payload])})"
    if kind == values.EXCEPTION and (name := _tag_name(payload >> values.PAYLOAD_BITS, layout)):
        return f"{value} (${visible(name)})"
    return str(value)


def _tag_name(tag: int, layout: Layout) -> str:
    return layout.tags[tag].name if tag < len(layout.tags) else ""


def not_compared(recorded: Recorded, layout: Layout, findings: Findings) -> None:
    """Record what is unknown about the references of one side; it is unknown about equal ones of the other side too."""
    listed = (place for place in recorded.places if place.kind != "table" or not layout.described)
    words = {word & 0xFFFF_FFFF for place in listed for word in place.words}
    if values.OPAQUE in words or any(values.reference(each)[0] == values.OPAQUE for each in _references(recorded.objects)):
        findings.not_compared(_OPAQUE.format(_NO_VALUE if layout.described else _NO_GC))
    if recorded.objects.cut:
        findings.not_compared(
            "objects beyond the first 1,000, beyond 8 levels or beyond 65,536 values of a row or of the final state"
        )


def functions_not_compared(state: FinalState, findings: Findings) -> None:
    """Record what is unknown about functions in tables that no code writes."""
    words = [word for elements in state.elements for word in elements]
    untyped = sum(1 for word in words if word == values.OPAQUE)
    if any(values.reference(Value("ref", word))[0] == values.FUNCTION for word in words):
        findings.not_compared("which of several functions of one type a table holds (no code writes tables or takes references)")
    if untyped:
        findings.not_compared(f"the types of {plural(untyped, 'more function')} in tables")


def _references(objects: Objects) -> Iterator[Value]:
    return (value for each in objects.found for value in each.values if value.type == "ref")


class ReferencePlace(msgspec.Struct, frozen=True):
    """A result, global or table with the words of its references; ``kind`` is the kind of a divergence there."""

    kind: DivergenceKind
    name: str
    words: tuple[int, ...]

    def item(self, at: int) -> str:
        """The name of one word in reports."""
        return f"{self.name} element {at}" if self.kind == "table" else self.name


class Recorded(msgspec.Struct, frozen=True):
    """The references of a row or a final state, and their objects."""

    places: tuple[ReferencePlace, ...]
    objects: Objects


def of_row(row: RowRecord) -> Recorded:
    """The references among the results of a row, or in the payload of its exception."""
    recorded = (("result", row.results), ("payload", row.payload))
    named = ((f"{name} {at}", value) for name, values_ in recorded for at, value in enumerate(values_) if value.type == "ref")
    return Recorded(tuple(ReferencePlace("result", name, (value.bits,)) for name, value in named), row.objects)


def of_state(state: FinalState) -> Recorded:
    """The references in exported globals and in tables."""
    refs = ((name, value.bits) for name, value in state.globals.items() if value.type == "ref")
    globals_ = [ReferencePlace("global", f"global {visible(name)}", (word,)) for name, word in refs]
    tables = [ReferencePlace("table", f"table {table}", words) for table, words in enumerate(state.elements)]
    return Recorded((*globals_, *tables), state.objects)


def compare(
    oracle: Recorded, subject: Recorded, layout: Layout, findings: Findings, *, row: str = "", numbers: bool = True
) -> None:
    """Compare references, and their objects if all references are equal, since objects are numbered in the order of references.

    Without ``numbers`` only the references among the fields of objects are compared.
    """
    not_compared(oracle, layout, findings)
    for one, other in zip(oracle.places, subject.places, strict=True):
        findings.compared(len(one.words), sum(1 for word in one.words if word))
        different = [at for at, (word, its) in enumerate(zip(one.words, other.words, strict=False)) if word != its]
        if different:  # of a table only the first element
            at = different[0]
            texts = (
                render(Value("ref", place.words[at]), each.objects, layout) for place, each in ((one, oracle), (other, subject))
            )
            detail = f"and {plural(len(different) - 1, 'more element')} of this table" if len(different) > 1 else ""
            findings.diverge(one.kind, one.item(at), *texts, row=row, shape=f"{one.name} ref", detail=detail)
    if oracle.places == subject.places:
        _objects(oracle, subject, layout, findings, row, numbers=numbers)


def _objects(oracle: Recorded, subject: Recorded, layout: Layout, findings: Findings, row: str, *, numbers: bool) -> None:
    """Compare objects up to the first difference."""
    ones, others = oracle.objects.found, subject.objects.found
    fields = [value for each in ones for value in each.values]
    findings.compared(len(fields), sum(1 for each in fields if each.bits))
    if ones == others:
        return
    paths = _paths(oracle, layout)
    for number, (one, other) in enumerate(zip(ones, others, strict=False)):
        kind, path, root = paths.get(number, ("result", "the payload of an exception", ""))
        if (one.type, one.length) != (other.type, other.length):
            findings.diverge(kind, path, _type(one, layout), _type(other, layout), row=row, shape=f"{root} {one.type}")
            return
        for at, (value, its) in enumerate(zip(one.values, other.values, strict=False)):
            if value != its and (numbers or value.type == "ref"):
                item = f"{_part(one, at, layout)} in {path}"
                texts = render(value, oracle.objects, layout), render(its, subject.objects, layout)
                place = "" if _is_array(one, layout) else str(at)
                findings.diverge(kind, item, *texts, row=row, shape=f"{root} {one.type} {place}")
                return
    if len(ones) != len(others):
        texts = f"{len(ones)} objects", f"{len(others)} objects"
        findings.diverge(oracle.places[0].kind, "objects that references lead to", *texts, row=row, shape="objects")


def _is_array(object_: Object, layout: Layout) -> bool:
    return object_.type is not None and layout.objects[object_.type].array


def _type(object_: Object, layout: Layout) -> str:
    if object_.type is None:
        return "an object of another type"
    type_ = layout.objects[object_.type]
    return f"an array of type {type_.index} and length {object_.length}" if type_.array else f"a struct of type {type_.index}"


def _part(object_: Object, at: int, layout: Layout) -> str:
    return f"element {at} of the array" if _is_array(object_, layout) else f"field {at} of the struct"


def _paths(recorded: Recorded, layout: Layout) -> dict[int, tuple[DivergenceKind, str, str]]:
    """The first path to each object by number: the kind of divergence, the path as text, and the item at its beginning."""
    paths: dict[int, tuple[DivergenceKind, str, str]] = {}
    for place in recorded.places:
        for at, word in enumerate(place.words):
            kind, number = values.reference(Value("ref", word))
            if kind == values.OBJECT:
                paths.setdefault(number, (place.kind, place.item(at), place.name))
    for number, each in enumerate(recorded.objects.found):
        for at, value in enumerate(each.values):
            reference, payload = values.reference(value)
            if value.type == "ref" and reference == values.OBJECT and payload not in paths and number in paths:
                group, path, root = paths[number]
                paths[payload] = (group, f"{_part(each, at, layout)} in {path}", root)
    return paths
