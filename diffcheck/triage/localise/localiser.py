"""From an artifact to the first instruction whose execution differs: the row, then the function, then the instruction.

The row comes from an ordinary capsule pass. Then the artifact's bodies are instrumented and run as a capsule again, on both engines; see
``instrument`` and ``search``. What would take the subject too long is narrowed by function first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import build
from diffcheck.cases.rows import choose
from diffcheck.errors import RunFailedError
from diffcheck.observation import Trapped, sentence
from diffcheck.probe.instructions import wrong_instructions
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.plan import world
from diffcheck.text import plural
from diffcheck.triage.localise.diverging_rows import DivergingRows, FirstRow, NotShown
from diffcheck.triage.localise.dropped_segments import dropped_segment
from diffcheck.triage.localise.event_runs import BEFORE, SearchBudgetExhausted
from diffcheck.triage.localise.event_search import Search
from diffcheck.triage.localise.explanation import Explainer
from diffcheck.triage.localise.known_wrong import first_execution
from diffcheck.triage.localise.location import Localisation
from diffcheck.triage.localise.memory_writers import at_place, loaded
from diffcheck.triage.tracing.event_log import VARIANTS, LogParameters, WrongDigest
from diffcheck.triage.tracing.instrument import Detail, Instrumented
from diffcheck.triage.tracing.log_reader import LogSide
from diffcheck.triage.tracing.probes import has_objects
from diffcheck.wasm.names import function_names
from diffcheck.wasm.opcodes import CALLS
from diffcheck.witness.formats import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.capsule.build import Capsule
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.runner.request import Request
    from diffcheck.triage.localise.event_runs import FirstDifference
    from diffcheck.triage.tracing.event_log import Variant
    from diffcheck.triage.tracing.instrument import Level
    from diffcheck.triage.tracing.log_writer import WatchedBytes

EVENT_COST: Final = 60
"""Instructions that an event costs an interpreter: the probe, the note, and what was there before."""
MAX_EVENTS: Final = 150_000_000
"""No more events than this in a run: an engine with fuel of 10^10 has no more."""
MAX_RUNS: Final = 24
MAX_WIDENINGS: Final = 4
_REFUSED: Final = "against refused"
_INSTANTIATED: Final = "the state differs before any instruction ran, after instantiation (core specification 3.0, 4.7.2)"


class Disagree(Exception):  # noqa: N818 - an outcome of the search
    """The two digests show different things: its argument says where."""


class Localiser:
    """Localises in one planned case. ``say`` is told what is being done."""

    def __init__(
        self,
        plan: CapsulePlan,
        request: Request,
        oracle: Oracle,
        subject: Backend,
        host: Host,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.request, self.oracle, self.subject, self.host, self.say = request, oracle, subject, host, say
        self.original = plan
        self.use(plan.deterministic or plan)
        self.calls = choose(self.module, plan.case.rows, request.rows).calls
        self.world = world(plan.case, program_name=request.program_name, stub_imports=request.stub_imports)
        self.max_runs = max(MAX_RUNS, request.max_passes)
        self.runs = self.events = 0
        self.confirmed = False
        self.reads_back = True
        self.identities = False
        self.doubtful = False
        """Whether the difference is of a reference, which both digests look at by the same instructions."""
        self.wrong: set[Variant] = set()
        self.located: DivergingRows | None = None
        self.notes: list[str] = []
        exported = [(each.index, each.name) for each in self.module.exports if each.kind == "func"]
        self.skip: frozenset[int] = frozenset()
        self.skip_lean = _witness([*exported, *function_names(self.module).items()])

    def use(self, plan: CapsulePlan) -> None:
        """Work on a plan: of the artifact as it is, or in deterministic form."""
        self.plan, self.module = plan, plan.module

    # The row.

    def rows(self, wanted: str = "") -> DivergingRows | Localisation:
        """The rows on which something differs; see ``FirstRow``."""
        found = self._rows(wanted)
        if self.plan.form is not None and (not found.chosen if isinstance(found, NotShown) else _REFUSED in found.what):
            self.use(self.original)  # the form decides where a choice was made, and where the subject takes it
            found = self._rows(wanted)
        if isinstance(found, DivergingRows):
            return found
        allowed = "; where the artifact as it is differs, by choices that the specification leaves open"
        return self._answer("none", why=found.why + allowed * (self.plan.form is not None), row_runs=found.runs)

    def _rows(self, wanted: str) -> DivergingRows | NotShown:
        return FirstRow(self.plan, self.request, (self.oracle, self.subject), self.host).find(wanted)

    # The search.

    def localise(self, wanted: str = "") -> Localisation:
        """Everything: the row, or the ``wanted`` one, the function, the instruction."""
        rows = self.rows(wanted)
        if isinstance(rows, Localisation):
            return rows
        self.located = rows
        self.say(f"row {rows.row or '(whole instance)'}: {rows.what}")
        answer = self._row(rows, "no row differs" if rows.in_recorder else "no run was made")
        for variant in () if rows.in_recorder else VARIANTS:
            try:
                answer = self._variant(rows, variant)
            except WrongDigest as error:
                self.wrong.add(variant)
                self.notes.append(f"the subject is wrong in the instructions of digest {variant!r}: {error}")
                answer = self._row(
                    rows, "the subject is wrong in instructions of the digests' own, so its events cannot be compared"
                )
            except Disagree as error:
                answer = self._row(rows, f"the subject is wrong in instructions of the digests' own: {error}")
                break
            except SearchBudgetExhausted:
                answer = self._row(rows, f"not found within {plural(self.max_runs, 'run')} of the subject; give --max-passes more")
                break
            else:
                break
        if answer.depth != "instruction" or not self.confirmed or self.doubtful:
            answer = self._by_known_answers(rows, answer)
        if answer.depth != "instruction" and answer.function_index < 0 and not answer.row:
            answer = msgspec.structs.replace(answer, row=rows.row)
        return msgspec.structs.replace(
            answer, row_runs=rows.runs, runs=self.runs, confirmed=self.confirmed, notes=tuple(dict.fromkeys(self.notes))
        )

    def _by_known_answers(self, rows: DivergingRows, answer: Localisation) -> Localisation:
        """The answer, unless known answers name another instruction than it does."""
        wrong = wrong_instructions(self.subject, self.host, self.plan.limits)
        if not wrong or answer.instruction.partition(" ")[0] in {each.name for each in wrong}:
            return answer
        search = self._search(rows, "rotate", "full", {})
        found = first_execution(search, self._explainer(search, rows, "rotate", {}), wrong)
        if found is not None:
            self.confirmed = False
            self.notes.append(f"the subject's own events say: {answer}")
            return found
        said = f"{wrong[0].name}: {wrong[0].oracle} is right, it gives {wrong[0].subject}"
        return self._row(
            rows, f"the subject gets a known answer wrong ({said}), and the artifact does not execute that instruction"
        )

    def _variant(self, rows: DivergingRows, variant: Variant) -> Localisation:
        levels: dict[int, Level] = {}
        default: Level = "full"
        search = self._search(rows, variant, default, levels)
        if search.total > self._capacity():
            self.notes.append(
                f"{search.total:,} events are too many for the subject; constants, reads of locals and witness's functions are left out"
            )
            default, self.skip = "lean", self.skip_lean
            search = self._search(rows, variant, default, levels)
        if search.total > self._capacity():
            return self._by_function(rows, variant)
        return self._found(rows, search)

    def _capacity(self) -> int:
        speed = self.subject.capabilities.instructions_per_s * self.plan.limits.deadline_s
        return min(MAX_EVENTS, int(speed / EVENT_COST))

    def _by_function(self, rows: DivergingRows, variant: Variant, watch: WatchedBytes | None = None) -> Localisation:
        """Entries and results of calls first; then all instructions of the functions that they lead to. With ``watch`` it is what wrote
        these bytes that is looked for.
        """
        self.notes.append("narrowed by function first")
        search = self._search(rows, variant, "calls", {}, watch)
        if search.total > self._capacity():
            return self._row(
                rows, f"{search.total:,} calls' events are too many for the subject within the deadline; give --deadline more"
            )
        first = search.first()
        if first is None:
            place = at_place(rows.memory) if watch is None else None
            return self._by_function(rows, variant, place) if place is not None else self._gone(rows, search)
        explainer = self._explainer(search, rows, variant, {}, default="calls")
        return self._not_begun(rows, first) or self._in_functions(rows, explainer, first, watch)

    def _in_functions(
        self, rows: DivergingRows, explainer: Explainer, first: FirstDifference, watch: WatchedBytes | None
    ) -> Localisation:
        """The instruction in the functions that a difference of calls leads to; the function where it cannot be told."""
        variant = explainer.made.variant
        functions = explainer.concerned(first)
        answer = explainer.function(first)
        for _ in range(MAX_WIDENINGS):
            levels: dict[int, Level] = dict.fromkeys(functions, "full")
            search = self._search(rows, variant, "none", levels, watch)
            if search.total > self._capacity():
                return answer
            found = search.first()
            if found is None:
                self.notes.append("with only these functions instrumented no event differs")
                return answer
            explainer = self._explainer(search, rows, variant, levels, default="none")
            more = explainer.concerned(found) - functions
            site = search.made.site(found.oracle.site) if found.oracle is not None else None
            if not (site is not None and site.name in CALLS and more):
                if watch is not None:
                    return self._written(rows, search, found, levels) or answer
                return self._told(rows, search, found, levels)
            functions |= more
        return answer

    def _found(self, rows: DivergingRows, search: Search) -> Localisation:
        first = search.first()
        if first is None:
            return self._gone(rows, search)
        return self._not_begun(rows, first) or self._told(rows, search, first, {})

    def _not_begun(self, rows: DivergingRows, first: FirstDifference) -> Localisation | None:
        """The answer where the subject ended before it executed anything."""
        if first.event > 0 or (first.event == 0 and first.subject is not None):
            return None
        why = f"the subject {sentence(first.subject_outcome)} before the first event: there is no execution to localise in"
        return self._row(rows, f"{why}; `diffcheck reduce` finds what it takes")

    def _told(self, rows: DivergingRows, search: Search, first: FirstDifference, levels: Mapping[int, Level]) -> Localisation:
        """The answer for a difference, confirmed; where a load only reads what was written wrong before, what wrote it."""
        explainer = self._explainer(search, rows, search.made.variant, levels, default=search.default)
        answer = explainer.instruction(first)
        self.doubtful = explainer.of_reference(first)
        segment = dropped_segment(explainer, first)
        if segment:
            self.notes.append(f"it shows first at {answer}")
            self._confirm(search, first, levels)
            return self._row(rows, segment) if isinstance(segment, str) else segment
        identity = self._identity(rows, search, levels, first) if explainer.takes_reference(first) else None
        if identity is not None:
            self.notes.append(f"it shows first at {answer}")
            return identity
        watch = explainer.read_at(first)
        earlier = self._since(rows, search, watch, levels, first) if watch is not None else None
        if earlier is not None and search.default == "none":
            earlier = self._by_function(rows, search.made.variant, watch)
        if earlier is not None:
            self.notes.append(f"it shows first at {answer}")
            return earlier
        self._confirm(search, first, levels)
        return answer

    def _since(
        self,
        rows: DivergingRows,
        search: Search,
        watch: WatchedBytes,
        levels: Mapping[int, Level],
        load: FirstDifference | None = None,
    ) -> Localisation | None:
        """Since which event before that of a ``load`` these bytes of a memory differ; None where they do not, or where the load gives
        something else than the bytes that are there.
        """
        self.say(f"watching {watch}")
        try:
            watching = self._search(rows, search.made.variant, search.default, levels, watch)
            found = watching.first(0, load.event if load is not None else None)
            if found is not None and load is not None and self._wrong_itself(watching, load):
                self.notes.append(
                    f"{watch}, which it takes, differ since event {found.event:,}, but it does not give what is there"
                )
                return None
        except (SearchBudgetExhausted, WrongDigest) as error:
            why = str(error) or "no run was left"
            self.notes.append(f"whether {watch} were wrong before is not known: {why}")
            return None
        return self._written(rows, watching, found, levels) if found is not None else None

    def _identity(
        self, rows: DivergingRows, search: Search, levels: Mapping[int, Level], first: FirstDifference
    ) -> Localisation | None:
        """The answer where a reference before an event is to another object or function than the oracle's; None where none is."""
        if self.identities or not self._has_identities():
            return None
        self.identities = True
        identified = self._search(rows, search.made.variant, search.default, levels)
        found = identified.first(0, first.event)
        return self._told(rows, identified, found, levels) if found is not None else None

    def _has_identities(self) -> bool:
        """Whether the engines tell objects or functions apart: only with GC instructions can identities be logged."""
        capsule = self.plan.capsules.standard
        return capsule.layout.described and (has_objects(self.module) or capsule.identified() is not None)

    def _wrong_itself(self, watching: Search, load: FirstDifference) -> bool:
        """Whether a load gives something else than the subject has there."""
        site = watching.made.site(load.subject.site) if load.subject is not None else None
        log = watching.ask_subject(load.event, 0, load.event + 1).log
        records = log.records(load.event) if log is not None else ()
        if site is None or load.subject is None or not records or records[0].site != load.subject.site:
            return False
        word = (records[0].value - load.subject.value) % (1 << 64)
        return loaded(site.name, word) not in (None, load.subject.value)

    def _written(
        self, rows: DivergingRows, search: Search, found: FirstDifference, levels: Mapping[int, Level]
    ) -> Localisation | None:
        """What wrote the bytes that a search watches and that differ since an event, confirmed; None where that cannot be told."""
        if found.oracle is None or found.subject is None:
            return None
        variant, default = search.made.variant, search.default
        self._confirm(search, found, levels)
        plain = self.side(self.instrumented(variant, default, levels), self.oracle)
        since = max(0, found.event - BEFORE)
        log = plain.logged(LogParameters(rows.first, rows.last, rows.flags, start=since, halt=found.event + 1)).log
        records = log.records(since) if log is not None else ()
        explainer = self._explainer(search, rows, variant, levels, default=default)
        if found.event == 0 and default != "none" and records:
            one, other = explainer.watched(found, records[0])
            return self._row(rows, f"{_INSTANTIATED}: {search.made.watch}, {one} against {other}")
        return explainer.writer(found, records)

    def _confirm(self, search: Search, first: FirstDifference, levels: Mapping[int, Level]) -> None:
        """See that the other digest, over other instructions, shows the same; WrongDigest where it shows something else.

        A digest that shows a difference where the other one shows the oracle's value is wrong in its own instructions: what it gets wrong
        is not the oracle's value by chance.
        """
        variant = search.made.variant
        other = next(each for each in VARIANTS if each != variant)
        if other in self.wrong:
            return
        made = self.instrumented(other, search.default, levels, search.made.watch)
        try:
            shown = search.shown_by(self.side(made, self.subject), self.side(made, self.oracle), first)
        except SearchBudgetExhausted:
            self.notes.append(f"not confirmed with digest {other!r}: no run was left")
            return
        except WrongDigest as error:
            self.wrong.add(other)
            self.notes.append(f"not confirmed: the subject is wrong in the instructions of digest {other!r}: {error}")
            return
        self.confirmed = shown == "same"
        if shown == "none":
            raise WrongDigest(f"it shows a difference at event {first.event:,} that {other!r} does not")
        if shown == "another":
            raise Disagree(f"digest {variant!r} shows another difference at event {first.event:,} than {other!r}")

    def _gone(self, rows: DivergingRows, search: Search) -> Localisation:
        """No event differs: the state did so before the first one, or at the end only, or the difference is gone."""
        if not self.identities and self._has_identities():
            self.identities = True  # which object or function a reference is to
            return self._variant(rows, search.made.variant)
        if self.reads_back and isinstance(search.measured.outcome, Trapped):
            self.reads_back = False  # where a write that should trap does not, what reads it back may trap instead
            return self._variant(rows, search.made.variant)
        if self._differs_at_instantiation(rows):
            return self._row(rows, _INSTANTIATED)
        if (
            search.measured.stream is not None
            and search.subject_stream is not None
            and search.subject_stream != search.measured.stream
        ):
            watch = at_place(rows.memory)
            written = self._since(rows, search, watch, {}) if watch is not None else None
            if written is not None:
                return written
            return self._row(rows, "no event differs, but the state at the end does: it is not in what the instrumentation sees")
        return self._row(rows, "the difference goes away under instrumentation")

    def _differs_at_instantiation(self, rows: DivergingRows) -> bool:
        """Whether the capsules as they are differ when no row is called."""
        parameters = lo.Parameters(rows.first, rows.last, rows.flags | lo.INERT)
        self.runs += 1
        headers = [
            CapsuleSide(each, capsule, self.plan.limits, self.host).run(parameters).header
            for each, capsule in ((self.oracle, self.plan.capsules.oracle), (self.subject, self.plan.capsules.subject))
        ]
        return None not in headers and len({each.stream_key for each in headers if each is not None}) > 1

    # What is made.

    def _search(
        self, rows: DivergingRows, variant: Variant, default: Level, levels: Mapping[int, Level], watch: WatchedBytes | None = None
    ) -> Search:
        made = self.instrumented(variant, default, levels, watch)
        self.say(f"{len(made.sites):,} sites instrumented")
        subject, oracle = self.side(made, self.subject), self.side(made, self.oracle)
        search = Search(made, oracle, subject, (rows.first, rows.last, rows.flags), self, rows.peak_bytes)
        if search.total < 0:
            raise RunFailedError(
                f"the oracle {sentence(search.measured.outcome)} under instrumentation", hint="give --deadline more seconds"
            )
        search.default = default
        plain = CapsuleSide(self.oracle, self._observed(self.plan.capsules.oracle), self.plan.limits, self.host)
        before = plain.run(lo.Parameters(rows.first, rows.last, rows.flags)).header
        if before is not None and search.measured.stream not in (None, (before.length, before.lane_a, before.lane_b)):
            self.notes.append("instrumented, the oracle's own results change")
        for function, why in made.untyped.items():
            self.notes.append(f"function {function} is seen at its entry only: {why}")
        self.say(f"{search.total:,} events")
        self.events = search.total
        return search

    def instrumented(
        self,
        variant: Variant,
        default: Level,
        levels: Mapping[int, Level],
        watch: WatchedBytes | None = None,
        detail: Detail | None = None,
    ) -> Instrumented:
        """The artifact instrumented, without the functions to skip."""
        skipped: dict[int, Level] = dict.fromkeys(self.skip, "none")
        return Instrumented(
            self.module, self.plan.artifact, default=default, levels={**levels, **skipped}, variant=variant,
            watch=watch, detail=detail, reads_back=self.reads_back, form=self.plan.form, identities=self.identities,
        )  # fmt: skip

    def side(self, made: Instrumented, backend: Backend) -> LogSide:
        """A backend with the capsule of an instrumented artifact."""
        side = LogSide(backend, self._capsule(made, backend), self.plan.limits, self.host)
        side.variant = made.variant
        return side

    def _observed(self, capsule: Capsule) -> Capsule:
        """The capsule without instrumentation whose rows are recorded in the same form."""
        return (capsule.identified() if self.identities else None) or capsule

    def _capsule(self, made: Instrumented, backend: Backend) -> Capsule:
        standard = self._observed(self.plan.capsules.standard)
        form = msgspec.structs.replace(standard.form, prints=backend.capabilities.transport == "print")
        return build(self.module, self.plan.sha256, self.calls, self.world, form, extension=made)

    def _explainer(
        self, search: Search, rows: DivergingRows, variant: Variant, levels: Mapping[int, Level], *, default: Level = "full"
    ) -> Explainer:
        made, oracle = search.made, search.oracle

        def detail(function: int, position: int) -> tuple[Instrumented, LogSide]:
            extended = self.instrumented(variant, default, levels, detail=Detail(function, position))
            return extended, self.side(extended, self.oracle)

        return Explainer(self.plan, made, (rows.first, rows.last, rows.flags), detail, self._answer, oracle, self.original.module)

    def _row(self, rows: DivergingRows, why: str) -> Localisation:
        return self._answer("row", row=rows.row, why=f"{why} ({rows.what})" if rows.what else why)

    def _answer(self, depth: str, **fields: object) -> Localisation:
        names = {"oracle_engine": self.oracle.identity().name, "subject_engine": self.subject.identity().name}
        return msgspec.convert(
            {"depth": depth, "artifact": self.plan.case.artifact, "events": self.events, **names, **fields}, Localisation
        )


def _witness(named: Iterable[tuple[int, str]]) -> frozenset[int]:
    return frozenset(index for index, name in named if name.startswith(PREFIX))
