"""The module instances of a script, and which of them share state: those are merged and run as one case.

An instance shares the state of the instances that it imports from: memories, tables, mutable globals. Its case repeats, as init
rows, what happened before to this state: instantiations and actions. Rows that follow belong to the youngest case of the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.cases import spectest
from diffcheck.cases.link import INSTANTIATE, LinkedModule
from diffcheck.cases.rows import GET, INIT
from diffcheck.errors import ArtifactError
from diffcheck.observation import trap_kind
from diffcheck.wasm.module import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.wasm.module import Module

_NUMBERS: Final = frozenset({"i32", "i64", "f32", "f64", "v128"})
_BOUNDS: Final = "out of bounds"


class ScriptInstance:
    """A module instance: its number in the script, its bytes, the instances that it imports from by name, its group."""

    def __init__(self, number: int, prefix: str, wasm: bytes, registered: dict[str, ScriptInstance]) -> None:
        self.number, self.prefix, self.wasm = number, prefix, wasm
        module = _decoded(wasm)
        imports = module.imports if module is not None else ()
        names = {each.module for each in imports}
        self.readable: bool = module is not None
        self.sources = {name: source for name, source in registered.items() if name in names and source.readable}
        self.of_spectest = frozenset(each.name for each in imports if each.module == spectest.NAME and each.kind != "func")
        self.has_state: bool = module is not None and (_has_state(module) or any(each.has_state for each in self.sources.values()))
        self.cut = False
        self.group = Group()

    @property
    def step(self) -> str:
        """The init row that instantiates it."""
        return f"{INIT}{self.prefix}:{INSTANTIATE}"


class Group:
    """Instances with common state. ``history`` is what happened to it: init rows with the order in the script.

    ``unknown`` is why its state is not that of the script, empty if it is; ``lost`` are the actions that did not return.
    """

    def __init__(self) -> None:
        self.instances: list[ScriptInstance] = []
        self.history: list[tuple[int, str]] = []
        self.owner: ScriptCase | None = None
        self.unknown = ""
        self.lost: list[str] = []


class ScriptCase:
    """A case of a script: the rows since the instantiation of ``own``; without it those that follow a trapped instantiation."""

    def __init__(self, line: int, number: int, own: ScriptInstance | None, group: Group, trap: str = "") -> None:
        self.line, self.number, self.own, self.group = line, number, own, group
        self.unknown, self.lost, self.trap = group.unknown, tuple(group.lost), trap
        self.instances = _members([*group.instances, *([own] if own is not None else [])])
        self.rows = [row for _, row in sorted(group.history)] if self.linked else []
        if own is not None and self.linked:
            self.rows.append(f"{INIT}{INSTANTIATE} -> {self.instantiation}")
        self.lines: list[int] = []

    @property
    def instantiation(self) -> str:
        """What is expected of the instantiation, as of a row."""
        return expected_trap(self.trap) if self.trap else "()"

    @property
    def linked(self) -> bool:
        """Whether it has several instances."""
        return len(self.instances) > 1

    def parts(self) -> tuple[LinkedModule, ...]:
        """The modules to merge, the host's first; empty for one module that needs nothing of the host."""
        wanted = frozenset().union(*(each.of_spectest for each in self.instances))
        if not self.linked and not wanted:
            return ()
        at = {id(each): index for index, each in enumerate(self.instances, 1)}
        host = LinkedModule(spectest.module(wanted), spectest.NAME)
        return (host, *(self._part(each, at) for each in self.instances))

    def _part(self, each: ScriptInstance, at: dict[int, int]) -> LinkedModule:
        return LinkedModule(
            each.wasm,
            "" if each is self.own else each.prefix,
            {spectest.NAME: 0, **{name: at[id(source)] for name, source in each.sources.items()}},
            deferred=self.linked,
            cut=each.cut and each is not self.own,
        )

    def name(self, instance: ScriptInstance, field: str) -> str:
        """The name of an export in the merged module."""
        return field if instance is self.own else f"{instance.prefix}:{field}"


class ScriptInstances:
    """Makes cases of the instantiations and actions of a script, in their order."""

    def __init__(self) -> None:
        self.cases: list[ScriptCase] = []
        self._prefixes: set[str] = set()
        self._registered: dict[str, ScriptInstance] = {}
        self._time = 0

    def register(self, name: str, instance: ScriptInstance) -> None:
        """Make the exports of an instance available under a name."""
        self._registered[name] = instance

    def instantiate(self, line: int, name: str, wasm: bytes, trap: str = "") -> ScriptInstance:
        """Add an instance and its case; ``trap`` is why its instantiation is expected to trap."""
        number = len(self.cases) + 1
        made = ScriptInstance(number, self._prefix(name, number), wasm, self._registered)
        group = made.group
        for each in dict.fromkeys(source.group for source in made.sources.values() if source.has_state):
            group.instances += each.instances
            group.history += each.history
            group.unknown = group.unknown or each.unknown
            group.lost += each.lost
        case = ScriptCase(line, number, made, group, trap)
        self.cases.append(case)
        self._join(case, made)
        return made

    def _join(self, case: ScriptCase, made: ScriptInstance) -> None:
        """Add an instance to its group, after its case was made."""
        group = made.group
        group.instances.append(made)
        for each in group.instances:
            each.group = group
        if not case.trap:
            group.owner = case
        elif not case.trap.startswith(_BOUNDS):
            group.unknown = "an earlier module traps in its start function, whose effects are missing"
        made.cut = bool(case.trap)
        self._note(group, made.step)

    def row(self, line: int, instance: ScriptInstance, field: str, expected: str, *, get: bool, args: str) -> None:
        """Add an action on an instance."""
        group = instance.group
        if group.owner is None:
            group.owner = ScriptCase(line, len(self.cases) + 1, None, group)
            self.cases.append(group.owner)
        case = group.owner
        name = case.name(instance, field)
        row = f"{GET}{name}" if get else f"{name}={args}" if args else name
        case.rows.append(f"{row} -> {expected}" if expected else row)
        case.lines.append(line)
        later = f"{instance.prefix}:{field}{f'={args}' if args else ''}"  # as a row of the instances that share its state
        if expected.startswith(("trap", "exhaustion", "exception")):
            group.lost.append(later)
        elif not get:
            self._note(group, f"{INIT}{later}")

    def _note(self, group: Group, row: str) -> None:
        self._time += 1
        group.history.append((self._time, row))

    def _prefix(self, name: str, number: int) -> str:
        prefix = name if name and name not in self._prefixes else f"{name or 'instance'}{number}"
        self._prefixes.add(prefix)
        return prefix


def expected_trap(reason: str) -> str:
    """The expectation that a row traps for a script's reason, which may be one that no engine states."""
    return f"trap: {reason}" if trap_kind(reason) else "trap"


def _members(instances: Iterable[ScriptInstance]) -> list[ScriptInstance]:
    """The instances and all that they import from, in script order."""
    found: dict[int, ScriptInstance] = {}
    left = list(instances)
    while left:
        each = left.pop()
        if each.number not in found:
            found[each.number] = each
            left += each.sources.values()
    return [found[number] for number in sorted(found)]


def _decoded(wasm: bytes) -> Module | None:
    try:
        return read(wasm)
    except ArtifactError:
        return None


def _has_state(module: Module) -> bool:
    """Whether a module has memories, tables, variables, objects or segments that can be dropped."""
    return bool(
        module.all_memories
        or module.all_tables
        or any(each.mutable or each.value not in _NUMBERS for each in module.all_globals)
        or module.data
        or any(each.mode != "declarative" for each in module.elements)
    )
