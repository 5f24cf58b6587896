"""The recorder's description of references: a word for each, and the objects that words refer to (format: ``layout``).

Following objects requires GC instructions. For engines without them, a word is only null or not. A function is described by its
type, or in the *identity form* by its index: there, every function that can be referenced begins with a prologue that, while
probing, records its index and returns, and the recorder calls the functions that it describes. Type indices are padded, since
kilnd 0.4.4 decodes short ones after GC instructions as instructions (corpus/FINDINGS.md, 15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map as mm
from diffcheck.capsule.recorder import reference_texts as wat
from diffcheck.capsule.recorder.reference_types import Reach, hierarchy, payload, reach
from diffcheck.wasm import values
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link, link_expression, padded
from diffcheck.wasm.leb import s, u
from diffcheck.wasm.types import FuncType, Limits, RefType, TableType, encode_tabletype, fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.capsule.constants import Constants, Types
    from diffcheck.capsule.recorder.reference_types import TypedElements
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType

ReferenceForm: TypeAlias = Literal["nullness", "described", "identified"]
"""The recorded properties of references.

``nullness``: only null or not, for engines without GC instructions. ``described``: values, objects and types of functions.
``identified``: also indices of functions (the identity form).
"""

_NULL_OR_NOT: Final = b"\xd1\x45\xad"  # ref.is_null, i32.eqz, i64.extend_i32_u: null 0, else OPAQUE
_ANY_OF_EXTERN: Final = b"\xfb\x1a"
_REF_TEST: Final = b"\xfb\x14"
_CALL: Final = b"\x10"
_DEPTH: Final = b"\x20\x01"  # the second parameter of the function ``contents``
_GET: Final = {False: "struct.get", True: "array.get"}
ANY: Final = RefType(nullable=True, heap="any")
FUNC: Final = RefType(nullable=True, heap="func")


class References:
    """The code, functions and table of a capsule that describe references.

    The indices of the functions begin at ``first``. The table of numbered objects has the index ``table``. ``tested`` are the
    elements whose type is tested, by table.
    """

    def __init__(
        self,
        module: Module,
        roots: Iterable[ValType],
        form: ReferenceForm,
        first: int,
        tested: Mapping[int, tuple[TypedElements, ...]],
        *,
        unwinds: bool,
        passes: bool,
    ) -> None:
        """``unwinds`` is whether the capsule can throw and catch exceptions, ``passes`` whether imports receive references."""
        self._module = module
        exceptions = unwinds and any(hierarchy(module, each) == "exn" for each in roots if isinstance(each, RefType))
        self.described, self.identified = form != "nullness", form == "identified"
        self.tested = tested if form == "described" else {}
        targets = reach(module, (each for each in roots if isinstance(each, RefType))) if self.described else Reach()
        self.objects, self.types = targets.objects, targets.functions
        words = (("any", targets.any), ("func", targets.func), ("exn", exceptions))
        self._words = [name for name, needed in words if needed]
        own = (*self._words, *["objects", "contents"][: 0 if not self.objects else 1 + passes])
        self._indices = {name: first + at for at, name in enumerate(own)}
        self.table = len(module.all_tables)

    @property
    def count(self) -> int:
        """The number of functions."""
        return len(self._indices)

    def tables(self) -> list[bytes]:
        """Return the type of the table of numbered objects, if there are object types."""
        limits = Limits(lo.MAX_OBJECTS, lo.MAX_OBJECTS)
        return [encode_tabletype(TableType(RefType(nullable=True, heap="eq"), limits))] if self.objects else []

    def to_any(self, type_: ValType) -> bytes | None:
        """Return instructions that convert a value to an ``anyref`` with the same word; None if it cannot refer to an object."""
        if not self.objects or not isinstance(type_, RefType):
            return None
        return {"any": b"", "extern": _ANY_OF_EXTERN}.get(hierarchy(self._module, type_))

    def word(self, type_: RefType) -> bytes:
        """Return instructions that convert a reference of this type to its word."""
        kind = hierarchy(self._module, type_)
        if kind == "exn" and "exn" in self._indices:
            return _CALL + u(self._indices["exn"])
        if not self.described:
            return _NULL_OR_NOT
        match kind:
            case "func":
                return _CALL + u(self._indices["func"])
            case "any":
                return _CALL + u(self._indices["any"])
            case "extern":
                return _ANY_OF_EXTERN + _CALL + u(self._indices["any"])
        return _NULL_OR_NOT

    def passed(self, type_: RefType) -> bytes:
        """Return instructions that convert a reference passed to an import to a word: for an object a digest of its contents.

        At most ``lo.MAX_OBJECTS`` values within ``lo.MAX_DEPTH`` levels are digested.
        """
        convert = self.to_any(type_)
        if convert is None or "contents" not in self._indices:
            return self.word(type_)
        return convert + b"\x41" + s(lo.MAX_DEPTH) + _CALL + u(self._indices["contents"])

    def elements(self, layout: lo.Layout) -> tuple[str, dict[str, bytes]]:
        """Return the text that records each table's elements, and its symbols.

        Except in the identity form, only nullness of functions is recorded, and for ``tested`` elements whether they have the type.
        """
        texts, symbols = [], {}
        for table, type_ in enumerate(self._module.all_tables):
            at = layout.elements_offset + lo.PART.size * table
            wrap, extend = ("i32.wrap_i64", "i64.extend_i32_u") if type_.limits.is64 else ("", "")
            untyped = not self.identified and hierarchy(self._module, type_.ref) == "func"
            symbols[f"word_of_table_{table}"] = _NULL_OR_NOT if untyped else self.word(type_.ref)
            symbols |= {f"is_of_type_{each.typeidx}": _REF_TEST + padded(each.typeidx) for each in self.tested.get(table, ())}
            tests = (_type_test(table, extend, each) for each in self.tested.get(table, ()))
            texts.append(
                wat.ELEMENTS.format(table=table, wrap=wrap, extend=extend, at=at, bytes=at + 4, digest=at + 8, tests="".join(tests))
            )
        return "".join(texts), symbols

    def symbols(self) -> dict[str, int]:
        """Return the symbols: the table, the function that writes objects, and in the identity form the function for words."""
        word = {"function_word": self._indices["func"]} if self.identified and "func" in self._indices else {}
        return {"objects": self.table, "write_objects": self._indices.get("objects", 0), **word}

    def functions(self, types: Types, constants: Constants, symbols: Mapping[str, int]) -> list[tuple[int, bytes]]:
        """Return the typeidx and the code entry of each function."""
        functions = []
        for name in self._words:
            typeidx = types.function((RefType(nullable=True, heap=name),), ("i64",))
            match name:
                case "any":
                    body = self._any_word(symbols)
                case "func":
                    body = self._function_word(constants, symbols)
                case _:
                    body = self._exception_word(types, symbols)
            functions.append((typeidx, body))
        if self.objects:
            functions.append((types.function(("i32",), ()), self._write_objects(symbols)))
        if "contents" in self._indices:
            functions.append((types.function((ANY, "i32"), ("i64",)), self._contents(symbols)))
        return functions

    def prologue(self, funcidx: int, type_: FuncType, constants: Constants, rec: int) -> bytes:
        """Return a function's prologue in the identity form; empty in other forms, and if a result type has no value."""
        results = [constants.value(result) for result in type_.results] if self.identified else [None]
        if None in results:
            return b""
        text = "i32.const $PROBING i32.load $rec if i32.const $PROBED i32.const $index i32.store $rec raw $results return end"
        names = {"PROBING": mm.PROBING, "PROBED": mm.PROBED, "index": funcidx + 1, "rec": rec}
        return link_expression(assemble(text), {**names, "results": b"".join(each for each in results if each)})

    def _any_word(self, symbols: Mapping[str, int]) -> bytes:
        text = wat.ANY_WORD.format(object=wat.OBJECT_WORD if self.objects else "")
        return link(assemble(text, params=("x",), locals=wat.WORD_LOCALS, padded=True), symbols)

    def _function_word(self, constants: Constants, symbols: Mapping[str, int]) -> bytes:
        """Test each type: the word contains the first match or, in the identity form, the index that a call records."""
        by_type = "local.get $x ref.test (ref {0}) if raw $call{0} i64.const {1} return end"
        tests = [by_type.format(each, _word(values.FUNCTION, each)) for each in self.types]
        calls = {f"call{each}": self._probe(each, constants, symbols) if self.identified else b"" for each in self.types}
        text = f"""local.get $x ref.is_null if i64.const 0 return end
          {" ".join(tests)} i64.const {_word(values.FUNCTION, wat.UNKNOWN)}"""
        return link(assemble(text, params=("x",), padded=True), {**symbols, **calls})

    def _exception_word(self, types: Types, symbols: Mapping[str, int]) -> bytes:
        """Throw the exception again: the word contains the tag that catches it and a digest of the payload."""
        payloads = [payload(self._module, each.typeidx) for each in self._module.all_tags]
        catches = " ".join(f"(catch {at} {at})" for at in range(len(payloads)))
        text, words = f"try_table {catches} (catch_all {len(payloads)}) local.get $x throw_ref end unreachable", {}
        for tag, kinds in enumerate(payloads):
            steps = []
            for at, kind in reversed([*enumerate(kinds)]):
                if isinstance(kind, RefType):
                    words[f"word_{tag}_{at}"] = self.word(kind)
                steps.append(f"raw $word_{tag}_{at}" if isinstance(kind, RefType) else wat.PAYLOAD_WORDS[kind])
                steps.append(wat.DIGEST_STEP)
            block = f"block (type {types.function((), kinds)}) {text} end" if kinds else f"block {text} end"
            text = f"{block} {' '.join(steps)} {wat.PAYLOAD.format(tag=tag << values.PAYLOAD_BITS)}"
        code = assemble(wat.EXCEPTION_WORD.format(thrown=text), params=("x",), locals=wat.EXCEPTION_LOCALS, padded=True)
        return link(code, {**symbols, **words})

    def _probe(self, typeidx: int, constants: Constants, symbols: Mapping[str, int]) -> bytes:
        """Return code that calls $x and returns the recorded index as a word; empty if a parameter or result has no value."""
        type_ = self._module.types[typeidx].composite
        assert isinstance(type_, FuncType), "function types"  # noqa: S101
        needed = [constants.value(each) for each in (*type_.params, *type_.results)]
        if None in needed:
            return b""
        arguments = b"".join(each for each in needed[: len(type_.params)] if each)
        text = f"""
          i32.const $PROBED i32.const 0 i32.store $rec
          i32.const $PROBING i32.const 1 i32.store $rec
          raw $arguments local.get 0 ref.cast (ref {typeidx}) call_ref {typeidx} {"drop " * len(type_.results)}
          i32.const $PROBING i32.const 0 i32.store $rec
          i32.const $PROBED i32.load $rec
          if
            i32.const $PROBED i32.load $rec i32.const 1 i32.sub {wat.SHIFTED.format(values.IDENTITY)} return
          end
        """
        return link_expression(assemble(text, params=("x",), padded=True), {**symbols, "arguments": arguments})

    def _contents(self, symbols: Mapping[str, int]) -> bytes:
        names: dict[str, int | bytes] = {**symbols, "any_word": self._indices["any"]}
        texts = []
        for mark, each in enumerate(self.objects, 1):
            composite = self._module.types[each.index].composite
            steps = []
            for at, (kind, field) in enumerate(zip(each.fields, fields(composite), strict=True)):
                word = wat.PAYLOAD_WORDS.get(kind, "")
                if isinstance(field.storage, RefType):
                    word, convert = f"raw $word_{each.index}_{at}", self.to_any(field.storage)
                    deeper = None if convert is None else convert + _DEPTH + _CALL + u(self._indices["contents"])
                    names[f"word_{each.index}_{at}"] = deeper or self.word(field.storage)
                steps.append((f"{_GET[each.array]}{'_u' if kind in ('i8', 'i16') else ''}", word))
            form = {"type": each.index, "mark": mark << 32, "result": wat.CONTENTS_RESULT}
            if each.array:
                ((get, word),) = steps
                texts.append(wat.ARRAY_CONTENTS.format(**form, get=get, word=word))
                continue
            read = f"local.get $x ref.cast (ref {each.index})"
            words = " ".join(f"{read} {get} {each.index} {at} {word} {wat.DIGEST_STEP}" for at, (get, word) in enumerate(steps))
            texts.append(wat.STRUCT_CONTENTS.format(**form, words=1 + len(steps), fields=words))
        text = wat.CONTENTS.format(types="".join(texts))
        return link(assemble(text, params=("x", "depth"), locals=wat.CONTENTS_LOCALS, padded=True), names)

    def _write_objects(self, symbols: Mapping[str, int]) -> bytes:
        texts = [_array(at, each) if each.array else _struct(at, each) for at, each in enumerate(self.objects)]
        words: dict[str, int | bytes] = {**symbols}
        for each in self.objects:
            composite = self._module.types[each.index].composite
            for at, field in enumerate(fields(composite)):
                if isinstance(field.storage, RefType):
                    words[f"word_{each.index}_{at}"] = self.word(field.storage)
        text = wat.OBJECTS.format(cut=wat.CUT, types="".join(texts))
        return link(assemble(text, params=("part",), locals=wat.OBJECTS_LOCALS, padded=True), words)


def _word(kind: int, payload: int) -> int:
    return payload << 32 | kind


def _type_test(table: int, extend: str, run: TypedElements) -> str:
    return wat.TYPE_TEST.format(
        table=table,
        extend=extend,
        type=run.typeidx,
        word=_word(values.FUNCTION, run.typeidx),
        first=run.first,
        end=run.end,
        step=run.step,
    )


def _struct(at: int, type_: lo.ObjectType) -> str:
    words = sum(2 if each == "v128" else 1 for each in type_.fields)
    stores, offset = [], lo.OBJECT_HEADER.size
    for field, kind in enumerate(type_.fields):
        get = f"struct.get{'_u' if kind in ('i8', 'i16') else ''} {type_.index} {field}"
        stores.append(f"local.get $at local.get $o ref.cast (ref {type_.index}) {get} {_stored(type_, field)} offset={offset}")
        offset += 16 if kind == "v128" else 8
    return wat.STRUCT.format(
        type=type_.index, mark=at + 1, fields=len(type_.fields), words=words, size=offset, values=" ".join(stores)
    )


def _array(at: int, type_: lo.ObjectType) -> str:
    (kind,) = type_.fields
    wide = kind == "v128"
    return wat.ARRAY.format(
        type=type_.index,
        mark=at + 1,
        shift=int(wide),
        width=16 if wide else 8,
        width_shift=4 if wide else 3,
        get="array.get_u" if kind in ("i8", "i16") else "array.get",
        store=_stored(type_, 0),
    )


def _stored(type_: lo.ObjectType, field: int) -> str:
    kind = type_.fields[field]
    return f"raw $word_{type_.index}_{field} i64.store $rec" if kind == "ref" else wat.STORES[kind]
