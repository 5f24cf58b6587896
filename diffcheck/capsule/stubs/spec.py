"""Functional stubs: the lowered signature, and the body as flat WAT with the recorder's symbols."""

from __future__ import annotations

import msgspec


class Spec(msgspec.Struct, frozen=True):
    """A functional stub. In ``text`` the parameters are ``$0`` ..., the caller's memory is ``$mem``, the recorder's ``$rec``.

    ``needs_realloc``: the stub allocates in the caller's memory, by ``call $realloc``. ``exits``: the stub ends the program; it
    stores the code in ``EXIT_CODE`` and continues with the code that unwinds. ``output``: the stub writes to the capture buffers.
    ``traps`` is the reason why the stub can only trap; its text is then empty.
    """

    params: tuple[str, ...]
    results: tuple[str, ...]
    text: str = ""
    locals: tuple[tuple[str, str], ...] = ()
    needs_memory: bool = False
    needs_realloc: bool = False
    exits: bool = False
    output: bool = False
    traps: str = ""

    @property
    def param_names(self) -> tuple[str, ...]:
        """The parameters' names in the text."""
        return tuple(str(index) for index in range(len(self.params)))


def types(letters: str) -> tuple[str, ...]:
    """Return number types by letter: i for i32, l for i64."""
    return tuple({"i": "i32", "l": "i64"}[letter] for letter in letters)


def capture(byte: str) -> str:
    """Return text that appends ``$n`` bytes to the capture of ``$fd``: total, running FNV-1a digest, first bytes. Uses ``$c``.

    The text ``byte`` pushes an i32, the byte at ``$from``.
    """
    return f"""
      local.get $fd i32.const 24 i32.mul i32.const $CAPTURES i32.const 24 i32.sub i32.add local.set $c
      local.get $c local.get $c i64.load $rec local.get $n i64.extend_i32_u i64.add i64.store $rec
      block $full
        loop $bytes
          local.get $n i32.eqz br_if $full
          local.get $c
          local.get $c i64.load $rec offset=8 {byte} i64.extend_i32_u i64.xor i64.const 0x100000001b3 i64.mul
          i64.store $rec offset=8
          local.get $c i32.load $rec offset=16 i32.const $OUTPUT_CAP i32.lt_u
          if
            local.get $fd i32.const 1 i32.sub i32.const $OUTPUT_CAP i32.mul local.get $c i32.load $rec offset=16 i32.add
            {byte}
            i32.store8 $rec offset=$BUFFERS
            local.get $c local.get $c i32.load $rec offset=16 i32.const 1 i32.add i32.store $rec offset=16
          end
          local.get $from i32.const 1 i32.add local.set $from
          local.get $n i32.const 1 i32.sub local.set $n
          br $bytes
        end
      end
    """


CAPTURE = capture("local.get $from i32.load8_u $mem")
"""Captures ``$n`` bytes at ``$from`` in the caller's memory; ``$fd`` is 1 or 2."""

NEXT_RANDOM = """
  ;; xorshift64*, state at RANDOM; pushes an i64
  i32.const $RANDOM i64.load $rec local.tee $x i64.const 12 i64.shr_u local.get $x i64.xor local.tee $x
  i64.const 25 i64.shl local.get $x i64.xor local.tee $x
  i64.const 27 i64.shr_u local.get $x i64.xor local.set $x
  i32.const $RANDOM local.get $x i64.store $rec
  local.get $x i64.const 0x2545f4914f6cdd1d i64.mul
"""

TICK = """
  ;; advance the fixed clock by a step, so that a program that waits for a time terminates
  i32.const $CLOCK i32.const $CLOCK i64.load $rec i64.const $CLOCK_STEP i64.add i64.store $rec
"""
