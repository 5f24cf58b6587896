"""wasi:cli 0.2: the case's arguments and environment, exit, standard streams; no terminal and no working directory."""

from __future__ import annotations

from typing import Final

from diffcheck.capsule.stubs.lowered import STDERR, STDIN, STDOUT, Table, allocate, drops, returns, tag
from diffcheck.capsule.stubs.spec import Spec, types


def _string(address: str, length: str, at: int) -> str:
    """Return text that copies a string to the caller's memory, and its address and length to the element at ``$element``."""
    return f"""
      {length} local.set $n
      {allocate(1, "local.get $n")} local.set $p
      local.get $p {address} local.get $n memory.copy $mem $rec
      local.get $element local.get $p i32.store $mem offset={at}
      local.get $element local.get $n i32.store $mem offset={at + 4}
    """


def _list(count: str, size: int, element: str) -> Spec:
    """Return a stub whose result is a list. The text ``element`` writes the element with the index ``$i`` to ``$element``."""
    text = f"""
      {allocate(4, f"i32.const ${count} i32.const {size} i32.mul")} local.tee $list local.set $element
      block $done
        loop $each
          local.get $i i32.const ${count} i32.ge_u br_if $done
          {element}
          local.get $element i32.const {size} i32.add local.set $element
          local.get $i i32.const 1 i32.add local.set $i
          br $each
        end
      end
      local.get $0 local.get $list i32.store $mem
      local.get $0 i32.const ${count} i32.store $mem offset=4
    """
    names = ("list", "element", "i", "n", "p", "start")
    return Spec(types("i"), (), text, locals=tuple((each, "i32") for each in names), needs_memory=True, needs_realloc=True)


def _entry(table: str, ahead: int = 0) -> str:
    return f"local.get $i i32.const {ahead} i32.add i32.const 2 i32.shl i32.load $rec offset=${table}"


def _rest(table: str) -> str:
    """Return text that pushes the length of the string with the index ``$i`` from ``$start`` on, without its NUL."""
    return f"{_entry(table, 1)} local.get $start i32.sub i32.const 1 i32.sub"


_ARGUMENT = f"""
  {_entry("ARGS_TABLE")} local.set $start
  {_string("local.get $start i32.const $ARGS i32.add", _rest("ARGS_TABLE"), 0)}
"""
_KEY_SIZE = _entry("ENV_KEYS")
_VARIABLE = f"""
  {_entry("ENV_TABLE")} local.set $start
  {_string("local.get $start i32.const $ENV i32.add", _KEY_SIZE, 0)}
  ;; the value begins after the key and its `=`, and ends before a NUL
  local.get $start {_KEY_SIZE} i32.add i32.const 1 i32.add local.set $start
  {_string("local.get $start i32.const $ENV i32.add", _rest("ENV_TABLE"), 8)}
"""


def _exit(code: str) -> Spec:
    return Spec(types("i"), (), f"i32.const $EXIT_CODE {code} i32.store $rec", exits=True)


TABLE: Final[Table] = {
    "environment": {
        "get-environment": _list("N_ENV", 16, _VARIABLE),
        "get-arguments": _list("N_ARGS", 8, _ARGUMENT),
        "initial-cwd": tag("i", 0),
    },
    "exit": {
        "exit": _exit("local.get $0 i32.const 0 i32.ne"),
        "exit-with-code": _exit("local.get $0 i32.const 255 i32.and"),
    },
    "stdin": {"get-stdin": returns("", "i", STDIN)},
    "stdout": {"get-stdout": returns("", "i", STDOUT)},
    "stderr": {"get-stderr": returns("", "i", STDERR)},
    "terminal-input": drops("terminal-input"),
    "terminal-output": drops("terminal-output"),
    "terminal-stdin": {"get-terminal-stdin": tag("i", 0)},
    "terminal-stdout": {"get-terminal-stdout": tag("i", 0)},
    "terminal-stderr": {"get-terminal-stderr": tag("i", 0)},
}
