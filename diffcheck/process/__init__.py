"""Child processes with deadlines, memory limits, capped output and complete clean-up, and safe access to their files.

A ``Reactor`` is the only selector loop of a process. It runs one-shot children (engines) and servers (diffcheck's own Python
processes, which answer length-framed messages), each with its own deadline. The end of a child is data, ``ProcessResult``.
Only a child that cannot be started raises an exception, ``SpawnError``.
"""

from __future__ import annotations

from diffcheck.process.child import Child, ProcessResult
from diffcheck.process.command_limits import CommandLimits, run_live
from diffcheck.process.executable_digest import Stamps, file_digest, is_program, program_digest, program_files, stamps
from diffcheck.process.files import (
    Unreadable,
    check_folder,
    is_full,
    make_folder,
    private_folder,
    read_output_file,
    refuse_links,
    write_atomically,
)
from diffcheck.process.framing import FRAME_CAP_BYTES, claim_channel, read_frame, write_frame
from diffcheck.process.interruption import interruptible
from diffcheck.process.lock import locked
from diffcheck.process.memory import available_memory_bytes, machine_memory_bytes
from diffcheck.process.orphans import is_stopped
from diffcheck.process.own_files import HEAD_BYTES, private, read_own, write_own
from diffcheck.process.reactor import Reactor
from diffcheck.process.server import Reply, Server
from diffcheck.process.spawn import (
    SpawnError,
    become_subreaper,
    die_with_parent,
    own_program,
    scrubbed_environment,
)

__all__ = [
    "FRAME_CAP_BYTES",
    "HEAD_BYTES",
    "Child",
    "CommandLimits",
    "ProcessResult",
    "Reactor",
    "Reply",
    "Server",
    "SpawnError",
    "Stamps",
    "Unreadable",
    "available_memory_bytes",
    "become_subreaper",
    "check_folder",
    "claim_channel",
    "die_with_parent",
    "file_digest",
    "interruptible",
    "is_full",
    "is_program",
    "is_stopped",
    "locked",
    "machine_memory_bytes",
    "make_folder",
    "own_program",
    "private",
    "private_folder",
    "program_digest",
    "program_files",
    "read_frame",
    "read_output_file",
    "read_own",
    "refuse_links",
    "run_live",
    "scrubbed_environment",
    "stamps",
    "write_atomically",
    "write_frame",
    "write_own",
]
