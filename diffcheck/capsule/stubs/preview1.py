"""WASI preview 1: the case's arguments, environment and stdin, captured output, fixed clocks, seeded random numbers, no files.

Signatures, structures and ``errno`` numbers are those of the preview 1 witx description (wasi_snapshot_preview1).
"""

from __future__ import annotations

from typing import Final

from diffcheck.capsule.stubs.spec import CAPTURE, NEXT_RANDOM, TICK, Spec, types

EBADF, EINVAL, ENOSYS, ESPIPE = 8, 28, 52, 70
_I32, _I64 = "i32", "i64"


def _constant(params: str, errno: int) -> Spec:
    """Return a stub with a constant result. For ``params`` see ``types``."""
    return Spec(types(params), (_I32,), f"i32.const {errno}")


def _standard_else_bad(params: str, errno: int) -> Spec:
    """Return a stub that returns ``errno`` for the three standard streams and EBADF for other descriptors."""
    return Spec(types(params), (_I32,), f"i32.const {errno} i32.const {EBADF} local.get $0 i32.const 3 i32.lt_u select")


def _sizes(count: str, total: str) -> Spec:
    text = f"local.get $0 i32.const ${count} i32.store $mem  local.get $1 i32.const ${total} i32.store $mem  i32.const 0"
    return Spec(types("ii"), (_I32,), text, needs_memory=True)


def _strings(address: str, total: str, table: str, count: str) -> Spec:
    text = f"""
      block $done
        loop $each
          local.get $i i32.const ${count} i32.ge_u br_if $done
          local.get $0 local.get $i i32.const 2 i32.shl i32.add
          local.get $i i32.const 2 i32.shl i32.load $rec offset=${table} local.get $1 i32.add
          i32.store $mem
          local.get $i i32.const 1 i32.add local.set $i
          br $each
        end
      end
      local.get $1 i32.const ${address} i32.const ${total} memory.copy $mem $rec
      i32.const 0
    """
    return Spec(types("ii"), (_I32,), text, locals=(("i", _I32),), needs_memory=True)


_FIRST_NONEMPTY = """
  ;; only the first buffer that is not empty, like Wasmtime and the preview 1 adapter, so that a program's loops over short
  ;; writes and reads run equally often
  block $found
    loop $each
      local.get $2 i32.eqz br_if $found
      local.get $1 i32.load $mem offset=4 br_if $found
      local.get $1 i32.const 8 i32.add local.set $1
      local.get $2 i32.const 1 i32.sub local.set $2
      br $each
    end
  end
"""

_FD_WRITE = f"""
  local.get $0 i32.const 1 i32.sub i32.const 2 i32.ge_u if i32.const {EBADF} return end
  local.get $0 local.set $fd
  {_FIRST_NONEMPTY}
  local.get $2
  if
    local.get $1 i32.load $mem local.set $from
    local.get $1 i32.load $mem offset=4 local.tee $n local.set $written
    {CAPTURE}
  end
  local.get $3 local.get $written i32.store $mem
  i32.const 0
"""

_FD_READ = f"""
  local.get $0 if i32.const {EBADF} return end
  {_FIRST_NONEMPTY}
  local.get $2
  if
    i32.const $STDIN_BYTES i32.const $STDIN_POSITION i32.load $rec i32.sub local.tee $n
    local.get $1 i32.load $mem offset=4 local.tee $want
    local.get $n local.get $want i32.lt_u select local.set $n
    local.get $1 i32.load $mem
    i32.const $STDIN i32.const $STDIN_POSITION i32.load $rec i32.add
    local.get $n memory.copy $mem $rec
    i32.const $STDIN_POSITION i32.const $STDIN_POSITION i32.load $rec local.get $n i32.add i32.store $rec
  end
  local.get $3 local.get $n i32.store $mem
  i32.const 0
"""

_FDSTAT = f"""
  local.get $0 i32.const 3 i32.ge_u if i32.const {EBADF} return end
  ;; filetype unknown: the standard streams are not terminals, as in wasmtime
  local.get $1 i64.const 0 i64.store $mem align=1
  ;; rights: fd_read for stdin, fd_write for the others; neither seek nor tell
  local.get $1 i64.const 64 i64.const 2 local.get $0 select i64.store $mem offset=8 align=1
  local.get $1 i64.const 64 i64.const 2 local.get $0 select i64.store $mem offset=16 align=1
  i32.const 0
"""

_FILESTAT = f"""
  local.get $0 i32.const 3 i32.ge_u if i32.const {EBADF} return end
  local.get $1 i32.const 0 i32.const 64 memory.fill $mem
  i32.const 0
"""

_CLOCK_RES = f"""
  local.get $0 i32.const 4 i32.ge_u if i32.const {EINVAL} return end
  local.get $1 i64.const $CLOCK_STEP i64.store $mem align=1
  i32.const 0
"""

_CLOCK_TIME = f"""
  local.get $0 i32.const 4 i32.ge_u if i32.const {EINVAL} return end
  {TICK}
  local.get $2
  i32.const $CLOCK i64.load $rec i64.const 0 i64.const $CLOCK_START local.get $0 select i64.add
  i64.store $mem align=1
  i32.const 0
"""

_RANDOM_GET = f"""
  block $done
    loop $each
      local.get $1 i32.eqz br_if $done
      local.get $0
      {NEXT_RANDOM} i64.const 56 i64.shr_u i32.wrap_i64
      i32.store8 $mem
      local.get $0 i32.const 1 i32.add local.set $0
      local.get $1 i32.const 1 i32.sub local.set $1
      br $each
    end
  end
  i32.const 0
"""

_POLL = f"""
  local.get $2 i32.eqz if i32.const {EINVAL} return end
  {TICK}
  local.get $2 local.set $n
  block $done
    loop $each
      local.get $n i32.eqz br_if $done
      ;; every subscription is ready: userdata, errno 0, its type
      local.get $1 i32.const 0 i32.const 32 memory.fill $mem
      local.get $1 local.get $0 i64.load $mem align=1 i64.store $mem align=1
      local.get $1 local.get $0 i32.load8_u $mem offset=8 i32.store8 $mem offset=10
      local.get $0 i32.load8_u $mem offset=8 i32.const 1 i32.eq
      if
        local.get $1
        i32.const $STDIN_BYTES i32.const $STDIN_POSITION i32.load $rec i32.sub i64.extend_i32_u
        i64.store $mem offset=16 align=1
      end
      local.get $0 i32.const 48 i32.add local.set $0
      local.get $1 i32.const 32 i32.add local.set $1
      local.get $n i32.const 1 i32.sub local.set $n
      br $each
    end
  end
  local.get $3 local.get $2 i32.store $mem
  i32.const 0
"""

_SHARED: Final[dict[str, Spec]] = {
    "args_sizes_get": _sizes("N_ARGS", "ARGS_BYTES"),
    "args_get": _strings("ARGS", "ARGS_BYTES", "ARGS_TABLE", "N_ARGS"),
    "environ_sizes_get": _sizes("N_ENV", "ENV_BYTES"),
    "environ_get": _strings("ENV", "ENV_BYTES", "ENV_TABLE", "N_ENV"),
    "fd_write": Spec(
        types("iiii"),
        (_I32,),
        _FD_WRITE,
        locals=(("fd", _I32), ("from", _I32), ("n", _I32), ("c", _I32), ("written", _I32)),
        needs_memory=True,
        output=True,
    ),
    "fd_read": Spec(types("iiii"), (_I32,), _FD_READ, locals=(("n", _I32), ("want", _I32)), needs_memory=True),
    "clock_res_get": Spec(types("ii"), (_I32,), _CLOCK_RES, needs_memory=True),
    "clock_time_get": Spec(types("ili"), (_I32,), _CLOCK_TIME, needs_memory=True),
    "random_get": Spec(types("ii"), (_I32,), _RANDOM_GET, locals=(("x", _I64),), needs_memory=True),
    "fd_fdstat_get": Spec(types("ii"), (_I32,), _FDSTAT, needs_memory=True),
    "fd_close": _standard_else_bad("i", 0),
    "fd_fdstat_set_flags": _standard_else_bad("ii", 0),
    "fd_fdstat_set_rights": _standard_else_bad("ill", ENOSYS),
    "fd_tell": _standard_else_bad("ii", ESPIPE),
    "fd_sync": _standard_else_bad("i", 0),
    "fd_datasync": _standard_else_bad("i", 0),
    "fd_advise": _standard_else_bad("illi", ESPIPE),
    "fd_allocate": _standard_else_bad("ill", ESPIPE),
    "fd_pread": _standard_else_bad("iiili", ESPIPE),
    "fd_pwrite": _standard_else_bad("iiili", ESPIPE),
    "fd_readdir": _standard_else_bad("iiili", ENOSYS),
    "fd_renumber": _standard_else_bad("ii", ENOSYS),
    "fd_prestat_get": _constant("ii", EBADF),
    "fd_prestat_dir_name": _constant("iii", EBADF),
    "path_create_directory": _constant("iii", EBADF),
    "path_link": _constant("iiiiiii", EBADF),
    "path_open": _constant("iiiiillii", EBADF),
    "path_readlink": _constant("iiiiii", EBADF),
    "path_remove_directory": _constant("iii", EBADF),
    "path_rename": _constant("iiiiii", EBADF),
    "path_symlink": _constant("iiiii", EBADF),
    "path_unlink_file": _constant("iii", EBADF),
    "sched_yield": _constant("", 0),
    "proc_raise": _constant("i", ENOSYS),
    "sock_recv": _constant("iiiiii", ENOSYS),
    "sock_send": _constant("iiiii", ENOSYS),
    "sock_shutdown": _constant("ii", ENOSYS),
    "proc_exit": Spec(types("i"), (), "i32.const $EXIT_CODE local.get $0 i32.store $rec", exits=True),
}

TABLE: Final[dict[str, Spec]] = {
    **_SHARED,
    "fd_seek": _standard_else_bad("ilii", ESPIPE),
    "fd_filestat_get": Spec(types("ii"), (_I32,), _FILESTAT, needs_memory=True),
    "fd_filestat_set_size": _standard_else_bad("il", ENOSYS),
    "fd_filestat_set_times": _standard_else_bad("illi", ENOSYS),
    "path_filestat_get": _constant("iiiii", EBADF),
    "path_filestat_set_times": _constant("iiiilli", EBADF),
    "poll_oneoff": Spec(types("iiii"), (_I32,), _POLL, locals=(("n", _I32),), needs_memory=True),
    "sock_accept": _constant("iii", ENOSYS),
}
"""Function -> stub. Descriptors other than the three standard streams are not open: EBADF."""

UNSTABLE: Final[dict[str, Spec]] = {
    **_SHARED,
    "fd_seek": _standard_else_bad("ilii", ESPIPE),
}
"""Preview 0: the functions that are equal in preview 1. Functions with different structures get the zero stub."""
