"""The recorder's description of references: a word for each, and the objects that words refer to (format: ``layout``).

Following objects requires GC instructions. For engines without them, a word is only null or not. A function is described by its
type, or in the *identity form* by its index: there, every function that can be referenced begins with a prologue that, while
probing, records its index and returns, and the recorder calls the functions that it describes. Type indices are padded, since
kilnd 0.4.4 decodes short ones after GC instructions as instructions (corpus/FINDINGS.md, 15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from diffcheck import values
from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map as mm
from diffcheck.capsule.calls import flag
from diffcheck.capsule.reference_types import Reach, fields, hierarchy, payload, reach
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link, link_expression, padded
from diffcheck.wasm.leb import s, u
from diffcheck.wasm.types import FuncType, Limits, RefType, TableType, encode_tabletype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.capsule.constants import Constants, Types
    from diffcheck.capsule.reference_types import TypedElements
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
_SHIFTED: Final = "i64.extend_i32_u i64.const 32 i64.shl i64.const {} i64.or"
ANY: Final = RefType(nullable=True, heap="any")
FUNC: Final = RefType(nullable=True, heap="func")
_UNKNOWN: Final = 0xFFFF_FFFF
"""The typeidx in the word of a function that has none of the tested types."""

_ANY_WORD = f"""
  local.get $x ref.is_null if i64.const 0 return end
  local.get $x ref.test (ref i31)
  if local.get $x ref.cast (ref i31) i31.get_u {_SHIFTED.format(values.I31)} return end
  {{object}}
  i64.const {values.OPAQUE}
"""
_OBJECT_WORD = f"""
  local.get $x ref.test (ref eq)
  if
    i32.const $OBJECTS i32.load $rec local.set $n
    block $new
      loop $each
        local.get $k local.get $n i32.ge_u br_if $new
        local.get $k table.get $objects local.get $x ref.cast (ref eq) ref.eq
        if local.get $k {_SHIFTED.format(values.OBJECT)} return end
        local.get $k i32.const 1 i32.add local.set $k
        br $each
      end
    end
    local.get $n i32.const {lo.MAX_OBJECTS} i32.ge_u
    if i32.const $OBJECTS_CUT i32.const {lo.PART_CUT} i32.store $rec i64.const {values.BEYOND} return end
    local.get $n local.get $x ref.cast (ref eq) table.set $objects
    i32.const $OBJECTS local.get $n i32.const 1 i32.add i32.store $rec
    local.get $n {_SHIFTED.format(values.OBJECT)} return
  end
"""
_EXCEPTION_WORD = f"""
  local.get $x ref.is_null if i64.const 0 return end
  block
    {{thrown}}
  end
  i64.const {values.OPAQUE}
"""
_PAYLOAD: Final = f"""
  local.get $digest i64.const {64 - values.PAYLOAD_BITS} i64.shr_u i64.const {{tag}} i64.or i64.const 32 i64.shl
  i64.const {values.EXCEPTION} i64.or return
"""
_DIGEST_STEP: Final = """
  local.get $digest i64.xor i64.const 0x9e3779b97f4a7c15 i64.mul local.tee $digest
  local.get $digest i64.const 32 i64.shr_u i64.xor local.set $digest
"""
_PAYLOAD_WORDS: Final = {
    **dict.fromkeys(("i8", "i16", "i32"), "i64.extend_i32_u"),
    "i64": "",
    "f32": "i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "i64.reinterpret_f64",
    "v128": f"local.tee $v i64x2.extract_lane 0 {_DIGEST_STEP} local.get $v i64x2.extract_lane 1",
}
_CONTENTS = f"""
  local.get $x ref.is_null if i64.const 0 return end
  local.get $x ref.test (ref i31) if local.get $x call $any_word return end
  local.get $depth i32.const {lo.MAX_DEPTH} i32.eq if i32.const $PASSED_LEFT i32.const {lo.MAX_OBJECTS} i32.store $rec end
  block $cut
    local.get $depth i32.eqz i32.const $PASSED_LEFT i32.load $rec i32.const 0 i32.le_s i32.or br_if $cut
    local.get $depth i32.const 1 i32.sub local.set $depth
    {{types}}
  end
  {flag(lo.FLAG_PASSED_CUT)}
  i64.const {values.OPAQUE}
"""
_SPENT: Final = "i32.const $PASSED_LEFT i32.const $PASSED_LEFT i32.load $rec {} i32.sub i32.store $rec"
_STRUCT_CONTENTS: Final = f"""
  local.get $x ref.test (ref {{type}})
  if
    i64.const {{mark}} local.set $digest
    {_SPENT.format("i32.const {words}")}
    {{fields}}
    {{result}} return
  end
"""
_ARRAY_CONTENTS: Final = f"""
  local.get $x ref.test (ref {{type}})
  if
    local.get $x ref.cast (ref {{type}}) array.len local.tee $n i64.extend_i32_u i64.const {{mark}} i64.add local.set $digest
    local.get $n i32.const $PASSED_LEFT i32.load $rec i32.gt_u
    if i32.const $PASSED_LEFT i32.load $rec local.set $n {flag(lo.FLAG_PASSED_CUT)} end
    {_SPENT.format("local.get $n i32.const 1 i32.add")}
    block $done
      loop $each
        local.get $k local.get $n i32.ge_u br_if $done
        local.get $x ref.cast (ref {{type}}) local.get $k {{get}} {{type}} {{word}} {_DIGEST_STEP}
        local.get $k i32.const 1 i32.add local.set $k
        br $each
      end
    end
    {{result}} return
  end
"""
_CONTENTS_RESULT: Final = f"local.get $digest i64.const 32 i64.shl i64.const {values.CONTENTS} i64.or"
_CONTENTS_LOCALS: Final = (("k", "i32"), ("n", "i32"), ("digest", "i64"), ("v", "v128"))
_WORD_LOCALS: Final = (("k", "i32"), ("n", "i32"))
_EXCEPTION_LOCALS: Final = (("digest", "i64"), ("v", "v128"))

_OBJECTS = f"""
  ;; the numbered objects, level by level; objects that they refer to are numbered meanwhile
  i32.const $OBJECTS i32.load $rec i32.eqz if return end
  i32.const $HEAP_END i32.load $rec local.set $begin
  i32.const {lo.MAX_ELEMENTS} local.set $left
  block $done
    loop $next
      local.get $k i32.const $OBJECTS i32.load $rec i32.ge_u br_if $done
      local.get $k local.get $level i32.eq
      if
        local.get $depth i32.const {lo.MAX_DEPTH} i32.ge_u
        if {{cut}} br $done end
        local.get $depth i32.const 1 i32.add local.set $depth
        i32.const $OBJECTS i32.load $rec local.set $level
      end
      local.get $k table.get $objects local.set $o
      local.get $k i32.const 1 i32.add local.set $k
      {{types}}
      {{cut}}
      i32.const {lo.OBJECT_HEADER.size} call $reserve br_if $next
    end
  end
  local.get $part local.get $begin i32.const $STREAM i32.sub i32.store $rec
  local.get $part i32.const $HEAP_END i32.load $rec local.get $begin i32.sub local.tee $n
  i32.const $OBJECTS_CUT i32.load $rec i32.or i32.store $rec offset=4
  local.get $begin local.get $n i32.const $LANES call $digest
  local.get $part i32.const $LANES i64.load $rec i64.store $rec offset=8
  i32.const $OBJECTS i64.const 0 i64.store $rec
"""
_CUT: Final = f"i32.const $OBJECTS_CUT i32.const {lo.PART_CUT} i32.store $rec"
_HEADER: Final = """
  call $reserve local.tee $at i32.eqz br_if $done
  local.get $at i32.const {mark} i32.store $rec
  local.get $at local.get $n i32.store $rec offset=4
  local.get $at local.get $m i32.store $rec offset=8
"""
_STRUCT: Final = f"""
  local.get $o ref.test (ref {{type}})
  if
    i32.const {{fields}} local.tee $n
    local.set $m
    local.get $left i32.const {{words}} i32.lt_u
    if {_CUT} i32.const 0 local.set $m end
    i32.const {{size}} i32.const {lo.OBJECT_HEADER.size} local.get $m local.get $n i32.eq select {_HEADER}
    local.get $m local.get $n i32.ne br_if $next
    local.get $left i32.const {{words}} i32.sub local.set $left
    {{values}}
    br $next
  end
"""
_ARRAY: Final = f"""
  local.get $o ref.test (ref {{type}})
  if
    local.get $o ref.cast (ref {{type}}) array.len local.tee $n
    local.get $left i32.const {{shift}} i32.shr_u local.tee $m
    i32.gt_u
    if {_CUT} else local.get $n local.set $m end
    local.get $m i32.const {{width_shift}} i32.shl i32.const {lo.OBJECT_HEADER.size} i32.add {_HEADER}
    local.get $left local.get $m i32.const {{shift}} i32.shl i32.sub local.set $left
    i32.const 0 local.set $n
    loop $values
      local.get $n local.get $m i32.ge_u br_if $next
      local.get $at
      local.get $o ref.cast (ref {{type}}) local.get $n {{get}} {{type}} {{store}} offset={lo.OBJECT_HEADER.size}
      local.get $at i32.const {{width}} i32.add local.set $at
      local.get $n i32.const 1 i32.add local.set $n
      br $values
    end
  end
"""
_OBJECTS_LOCALS: Final = (
    ("k", "i32"), ("n", "i32"), ("m", "i32"), ("at", "i32"), ("begin", "i32"), ("left", "i32"), ("depth", "i32"), ("level", "i32"),
    ("o", "eqref"),
)  # fmt: skip
_STORES: Final = {
    "i64": "i64.store $rec",
    "f32": "i32.reinterpret_f32 i64.extend_i32_u i64.store $rec",
    "f64": "i64.reinterpret_f64 i64.store $rec",
    "v128": "v128.store $rec",
    **dict.fromkeys(("i8", "i16", "i32"), "i64.extend_i32_u i64.store $rec"),
}

_ELEMENTS: Final = f"""
  ;; the elements of table {{table}}
  table.size {{table}} {{wrap}} local.tee $n
  i32.const {lo.MAX_ELEMENTS} local.get $n i32.const {lo.MAX_ELEMENTS} i32.lt_u select local.tee $take
  if
    local.get $take i32.const 3 i32.shl call $reserve local.tee $out
    if
      local.get $f local.get $out i32.const $STREAM i32.sub i32.store $rec offset={{at}}
      local.get $f
      local.get $take i32.const 3 i32.shl local.get $n local.get $take i32.ne i32.or
      i32.store $rec offset={{bytes}}
      i32.const 0 local.set $step
      loop $each
        local.get $out local.get $step i32.const 3 i32.shl i32.add
        local.get $step {{extend}} table.get {{table}} raw $word_of_table_{{table}}
        i64.store $rec
        local.get $step i32.const 1 i32.add local.tee $step
        local.get $take i32.lt_u br_if $each
      end
      {{tests}}
      local.get $out local.get $take i32.const 3 i32.shl i32.const $LANES call $digest
      local.get $f i32.const $LANES i64.load $rec i64.store $rec offset={{digest}}
    end
  end
"""
_TYPE_TEST: Final = f"""
  ;; functions of type {{type}} from element {{first}} on
  i32.const {{first}} local.set $step
  block $tested
    loop $each
      local.get $step i32.const {{end}} i32.ge_u local.get $step local.get $take i32.ge_u i32.or br_if $tested
      local.get $out local.get $step i32.const 3 i32.shl i32.add local.tee $p
      i64.load $rec i64.eqz
      if else
        local.get $p
        i64.const {{word}} i64.const {_UNKNOWN << 32 | values.FUNCTION}
        local.get $step {{extend}} table.get {{table}} raw $is_of_type_{{type}} select
        i64.store $rec
      end
      local.get $step i32.const {{step}} i32.add local.set $step
      br $each
    end
  end
"""


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
                _ELEMENTS.format(table=table, wrap=wrap, extend=extend, at=at, bytes=at + 4, digest=at + 8, tests="".join(tests))
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
        text = _ANY_WORD.format(object=_OBJECT_WORD if self.objects else "")
        return link(assemble(text, params=("x",), locals=_WORD_LOCALS, padded=True), symbols)

    def _function_word(self, constants: Constants, symbols: Mapping[str, int]) -> bytes:
        """Test each type: the word contains the first match or, in the identity form, the index that a call records."""
        by_type = "local.get $x ref.test (ref {0}) if raw $call{0} i64.const {1} return end"
        tests = [by_type.format(each, _word(values.FUNCTION, each)) for each in self.types]
        calls = {f"call{each}": self._probe(each, constants, symbols) if self.identified else b"" for each in self.types}
        text = f"""local.get $x ref.is_null if i64.const 0 return end
          {" ".join(tests)} i64.const {_word(values.FUNCTION, _UNKNOWN)}"""
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
                steps.append(f"raw $word_{tag}_{at}" if isinstance(kind, RefType) else _PAYLOAD_WORDS[kind])
                steps.append(_DIGEST_STEP)
            block = f"block (type {types.function((), kinds)}) {text} end" if kinds else f"block {text} end"
            text = f"{block} {' '.join(steps)} {_PAYLOAD.format(tag=tag << values.PAYLOAD_BITS)}"
        code = assemble(_EXCEPTION_WORD.format(thrown=text), params=("x",), locals=_EXCEPTION_LOCALS, padded=True)
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
            i32.const $PROBED i32.load $rec i32.const 1 i32.sub {_SHIFTED.format(values.IDENTITY)} return
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
                word = _PAYLOAD_WORDS.get(kind, "")
                if isinstance(field.storage, RefType):
                    word, convert = f"raw $word_{each.index}_{at}", self.to_any(field.storage)
                    deeper = None if convert is None else convert + _DEPTH + _CALL + u(self._indices["contents"])
                    names[f"word_{each.index}_{at}"] = deeper or self.word(field.storage)
                steps.append((f"{_GET[each.array]}{'_u' if kind in ('i8', 'i16') else ''}", word))
            form = {"type": each.index, "mark": mark << 32, "result": _CONTENTS_RESULT}
            if each.array:
                ((get, word),) = steps
                texts.append(_ARRAY_CONTENTS.format(**form, get=get, word=word))
                continue
            read = f"local.get $x ref.cast (ref {each.index})"
            words = " ".join(f"{read} {get} {each.index} {at} {word} {_DIGEST_STEP}" for at, (get, word) in enumerate(steps))
            texts.append(_STRUCT_CONTENTS.format(**form, words=1 + len(steps), fields=words))
        text = _CONTENTS.format(types="".join(texts))
        return link(assemble(text, params=("x", "depth"), locals=_CONTENTS_LOCALS, padded=True), names)

    def _write_objects(self, symbols: Mapping[str, int]) -> bytes:
        texts = [_array(at, each) if each.array else _struct(at, each) for at, each in enumerate(self.objects)]
        words: dict[str, int | bytes] = {**symbols}
        for each in self.objects:
            composite = self._module.types[each.index].composite
            for at, field in enumerate(fields(composite)):
                if isinstance(field.storage, RefType):
                    words[f"word_{each.index}_{at}"] = self.word(field.storage)
        text = _OBJECTS.format(cut=_CUT, types="".join(texts))
        return link(assemble(text, params=("part",), locals=_OBJECTS_LOCALS, padded=True), words)


def _word(kind: int, payload: int) -> int:
    return payload << 32 | kind


def _type_test(table: int, extend: str, run: TypedElements) -> str:
    return _TYPE_TEST.format(
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
    return _STRUCT.format(
        type=type_.index, mark=at + 1, fields=len(type_.fields), words=words, size=offset, values=" ".join(stores)
    )


def _array(at: int, type_: lo.ObjectType) -> str:
    (kind,) = type_.fields
    wide = kind == "v128"
    return _ARRAY.format(
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
    return f"raw $word_{type_.index}_{field} i64.store $rec" if kind == "ref" else _STORES[kind]
