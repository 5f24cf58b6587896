"""The load check of a slice: the functions that it lacks are given to the subject, whose loader has to accept them.

The whole module is loaded if it fits the subject's memory, else chunks that fit: the chunk's functions with their bodies, stubs for
all others. Nothing is called. What is refused is halved until the function is found. Limits on the whole module cannot be seen in
chunks.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from diffcheck.backend.contract import Program
from diffcheck.capsule.sealed_artifact import loadable
from diffcheck.capsule.slicing.slice_form import function_text, slice_module
from diffcheck.compare.findings import Findings
from diffcheck.compare.validity import rule
from diffcheck.observation import Cost, Crashed, Refused, Returned, loaded, sentence
from diffcheck.runner.expected_memory import SliceMemory
from diffcheck.runner.passes.refusals import Refusals
from diffcheck.runner.plan import world
from diffcheck.text import plural
from diffcheck.verdict import PassReport, SideReport
from diffcheck.wasm import section as ids
from diffcheck.wasm.debug.names import function_names
from diffcheck.wasm.renumber import renumber_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.capsule.slicing.slice_form import Slice
    from diffcheck.observation import Execution, Outcome
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.wasm.module import Module

_MOST_FOUND: Final = 8
_CONTEXT: Final = (ids.TYPE, ids.IMPORT, ids.TABLE, ids.MEMORY, ids.GLOBAL, ids.TAG, ids.DATA_COUNT)


class LoadedBodies(Protocol):
    """The functions that the subject is known to load, by the digest of their context."""

    def get(self, context: str) -> frozenset[str]:
        """Return the digests of bodies."""
        ...

    def add(self, context: str, bodies: frozenset[str]) -> None:
        """Add digests of bodies."""
        ...


class LoadCheck:
    """Loads the functions that the slice of a plan lacks; ``report`` returns the result as a direct pass."""

    def __init__(self, plan: CapsulePlan, oracle: Backend, subject: Backend, host: Host, bodies: LoadedBodies | None) -> None:
        assert plan.slice is not None, "it is the plan of a slice"  # noqa: S101
        self._plan, self._module = plan, plan.slice.whole
        self._oracle, self._subject, self._host, self._bodies = oracle, subject, host, bodies
        self._findings = Findings(unit=plan.case.id.rpartition("/")[2])
        self._cost = Cost()
        self._loaded: list[int] = []
        self._at_once = fits_whole(plan)
        self._without: bool | None = None
        """Whether the subject loads the module without any of its functions; None if that was not tried."""

    def report(self) -> PassReport:
        """Load all chunks and return the report."""
        digests, context = body_digests(self._module, self._dropped()), context_digest(self._module)
        known = self._bodies.get(context) if self._bodies is not None else frozenset()
        for chunk in self._chunks([each for each, digest in digests.items() if digest not in known]):
            if self._without is False:
                break
            self._load(chunk)
        if self._bodies is not None and self._loaded:
            self._bodies.add(context, known | {digests[each] for each in self._loaded if each in digests})
        findings = self._findings
        findings.compared(len(digests))
        if not self._at_once:
            findings.not_compared(
                "limits of the subject on a whole module, such as its number of functions: it was loaded in parts"
            )
        return PassReport(
            mode="direct",
            applicable=True,
            verdict="diverge" if findings.total else "agree",
            reason=str(findings.divergences[0]) if findings.total else "",
            oracle=SideReport(Returned(), "accepts every function"),
            subject=SideReport(Returned(), f"loaded the {plural(len(digests), 'function')} that no row enters", self._cost),
            divergences=tuple(findings.divergences),
            divergences_total=findings.total,
            agreement=findings.agreement,
            vacuous=not findings.total,
        )

    def _dropped(self) -> list[int]:
        """The functions that no slice of the case has."""
        slices = [each.slice for each in (self._plan, *self._plan.others) if each.slice is not None]
        return sorted(set.intersection(*({each for functions in one.stubs.values() for each in functions} for one in slices)))

    def _chunks(self, functions: list[int]) -> Iterator[list[int]]:
        """Divide functions into chunks that are expected to fit the memory; all functions of the module if they do."""
        if functions and self._at_once:
            yield list(range(self._module.n_imported("func"), len(self._module.all_functions)))
            return
        memory = SliceMemory(self._module, 0, self._subject.capabilities)
        room = chunk_bytes(self._plan) - memory.of(())
        chunk: list[int] = []
        taken = 0
        for function in functions:
            cost = memory.function(function)
            if chunk and taken + cost > room:
                yield chunk
                chunk, taken = [], 0
            chunk.append(function)
            taken += cost
        if chunk:
            yield chunk

    def _load(self, functions: Sequence[int]) -> bool:
        """Load a chunk, and its halves if it is not loaded; whether every function was loaded, together or in a part."""
        if self._findings.total >= _MOST_FOUND:
            self._findings.not_compared(f"whether the subject loads further functions, after {_MOST_FOUND} that it refuses")
            return False
        made, program, execution = self._execute(functions)
        if loaded(execution.outcome):
            self._loaded += functions
            return True
        if self._without is None:
            self._without = self._loads_without()
        if not self._without:
            return False
        middle, before = len(functions) // 2, len(self._loaded)
        parts = [self._load(each) for each in (functions[:middle], functions[middle:]) if middle]
        if not all(parts):
            return False
        if not middle or isinstance(execution.outcome, Refused | Crashed):
            del self._loaded[before:]  # it is to be loaded again in the next run
            self._not_loaded(functions, made, program, execution.outcome)
            return False
        return True

    def _execute(self, functions: Sequence[int]) -> tuple[Slice, Program, Execution]:
        """Run the subject on the module with these functions, all others as stubs."""
        made = slice_module(self._module, set(functions))
        program = Program(kind="direct", wasm=loadable(made.module, world(self._plan.case, program_name=False)))
        execution = self._subject.execute(program, self._plan.limits, self._host)
        self._cost += execution.cost
        return made, program, execution

    def _loads_without(self) -> bool:
        """Whether the subject loads the module with stubs alone. If not, that is the divergence, and no function is at fault."""
        made, program, execution = self._execute(())
        if loaded(execution.outcome):
            return True
        self._not_loaded((), made, program, execution.outcome)
        why = "it does not load the module even without them"
        self._findings.not_compared(f"whether the subject loads the functions that no row enters: {why}")
        return False

    def _not_loaded(self, functions: Sequence[int], made: Slice, program: Program, outcome: Outcome) -> None:
        """Record a function that is not loaded alone, or functions that are not loaded together."""
        name = f"{plural(len(functions), 'function')} together"
        if len(functions) == 1:
            name = function_text(functions[0], function_names(self._module))
        elif not functions:
            name = "the module without its functions"
        why = self._why_no_divergence(made, program, outcome)
        if why:
            self._findings.not_compared(f"whether the subject loads {name}: {why}")
            return
        shape = f"not loaded / {rule(outcome.reason) if isinstance(outcome, Refused) else 'crashed'}"
        self._findings.diverge("validity", name, "loads it", sentence(outcome), shape=shape)

    def _why_no_divergence(self, made: Slice, program: Program, outcome: Outcome) -> str:
        if not isinstance(outcome, Refused | Crashed):
            return sentence(outcome)
        if not loaded(self._oracle.execute(program, self._plan.limits, self._host).outcome):
            return "the oracle does not load it alone either"
        if isinstance(outcome, Crashed):
            return ""
        given = world(self._plan.case, program_name=False)
        refusals = Refusals(program.wasm, made.module, given, self._subject, self._plan.limits, self._host)
        return refusals.why_no_divergence(outcome, capsule=False)


def fits_whole(plan: CapsulePlan) -> bool:
    """Whether the whole artifact of a slice's plan is expected to fit the subject's memory."""
    return plan.whole is not None and plan.whole.memory_bytes <= chunk_bytes(plan)


def chunk_bytes(plan: CapsulePlan) -> int:
    """The expected memory of the subject with a chunk, in bytes: that of the whole artifact, or most of the limit."""
    whole = plan.whole.memory_bytes if plan.whole is not None else 0
    return max(plan.memory_bytes, min(whole, plan.limits.memory_bytes * 2 // 3))


def body_digests(module: Module, functions: Sequence[int]) -> dict[int, str]:
    """A digest of each function's type and body, in which calls name the type of the function that they call."""
    types, imported = module.all_functions, module.n_imported("func")
    bodies = list(module.body_bytes())
    found = {}
    for function in functions:
        offset, body = bodies[function - imported]
        content = renumber_body(body, offset, types.__getitem__)
        found[function] = hashlib.sha256(b"%d %b" % (types[function], content)).hexdigest()
    return found


def context_digest(module: Module) -> str:
    """A digest of everything besides its own body on which the validity of a function depends."""
    digest = hashlib.sha256()
    for each in module.sections:
        if each.id in _CONTEXT:
            digest.update(b"%d %d " % (each.id, len(each.payload)) + bytes(each.payload))
    digest.update(repr([each.ref for each in module.elements]).encode())
    return digest.hexdigest()
