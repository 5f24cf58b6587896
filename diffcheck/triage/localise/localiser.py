"""Localises the first instruction whose execution differs: the row, then the function, then the instruction.

The row comes from a normal capsule pass. Then the instrumented artifact (``instrument``) runs as a capsule on both engines
(``event_search``). If that takes the subject too long, only some functions are instrumented.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.errors import RunFailedError
from diffcheck.observation import HarnessFailed, Trapped, sentence
from diffcheck.probe.instructions import wrong_instructions
from diffcheck.runner import slicing
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.text import plural
from diffcheck.triage.localise.diverging_rows import DivergingRows, NoDivergence, RowSearch
from diffcheck.triage.localise.dropped_segments import dropped_segment
from diffcheck.triage.localise.event_runs import BEFORE, SearchBudgetExhausted
from diffcheck.triage.localise.event_search import EventSearch
from diffcheck.triage.localise.explanation import Explainer
from diffcheck.triage.localise.instrumenter import Instrumenter
from diffcheck.triage.localise.known_wrong import first_execution, may_read_back
from diffcheck.triage.localise.location import INSTANTIATED, NOT_STARTED, Localisation
from diffcheck.triage.localise.memory_writers import loaded_bits, watch_at
from diffcheck.triage.tracing.event_log import VARIANTS, LogParameters, WrongDigest
from diffcheck.triage.tracing.instrument import LoggedInstruction
from diffcheck.triage.tracing.read_back import READ_BACK
from diffcheck.wasm.debug.names import function_names
from diffcheck.wasm.opcodes import CALLS
from diffcheck.witness.formats import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.observation import Outcome
    from diffcheck.probe.instructions import WrongInstruction
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.runner.request import Request
    from diffcheck.triage.localise.event_runs import FirstDifference
    from diffcheck.triage.tracing.event_log import Variant
    from diffcheck.triage.tracing.instrument import Instrumentation, Level, Site
    from diffcheck.triage.tracing.log_reader import LogSide
    from diffcheck.triage.tracing.log_writer import MemoryWatch
    from diffcheck.wasm.module import Module

EVENT_COST: Final = 60
"""Instructions per event in an interpreter: probe, log, and the program's own."""
MAX_EVENTS: Final = 150_000_000
"""The most events in a run; enough for fuel of 10^10."""
MAX_RUNS: Final = 24
MAX_WIDENINGS: Final = 4


class DigestConflict(Exception):  # noqa: N818 - an outcome of the search
    """The two digests show different differences."""


class Localiser:
    """Localises in one planned case. ``say`` receives progress."""

    def __init__(
        self,
        plan: CapsulePlan,
        request: Request,
        oracle: Backend,
        subject: Backend,
        host: Host,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.request, self.oracle, self.subject, self.host, self.say = request, oracle, subject, host, say
        self.original = plan
        self.instrumenter = Instrumenter(plan.deterministic or plan, request, host)
        self.max_runs = max(MAX_RUNS, request.max_passes)
        self.runs = self.events = 0
        self.confirmed = False
        self.doubtful = False
        """Whether a reference differs; both digests read references by the same instructions."""
        self.wrong: set[Variant] = set()
        self.located: DivergingRows | None = None
        self.notes: list[str] = []

    @property
    def plan(self) -> CapsulePlan:
        """The plan of the artifact itself or of its deterministic form."""
        return self.instrumenter.plan

    # The row.

    def rows(self, wanted: str = "") -> DivergingRows | Localisation:
        """The rows that differ, or the result of localising if none do."""
        found = self._rows(wanted)
        if self.plan.form is not None and (not found.made_choices if isinstance(found, NoDivergence) else found.refused):
            # The deterministic form only matters if a choice was made and the subject accepts it.
            self.instrumenter.plan = self.original
            found = self._rows(wanted)
        if isinstance(found, DivergingRows):
            return found
        allowed = "; the artifact itself differs by choices that the specification leaves open"
        return self._answer("none", why=found.why + allowed * (self.plan.form is not None), row_runs=found.runs)

    def _rows(self, wanted: str) -> DivergingRows | NoDivergence:
        """The rows that differ; a slice that the subject leaves is replaced by a wider one, unless nothing differs in that."""
        search = RowSearch(self.plan, self.request, (self.oracle, self.subject), self.host)
        found = search.find(wanted)
        for _ in range(slicing.WIDENINGS):
            if search.left is None:
                break
            before = self.original, self.instrumenter.plan
            self.original = slicing.widened(self.original, search.left.stub, self.subject)
            in_form = self.instrumenter.plan.form is not None
            self.instrumenter.plan = (self.original.deterministic if in_form else None) or self.original
            search = RowSearch(self.plan, self.request, (self.oracle, self.subject), self.host)
            wider = search.find(wanted)
            if isinstance(wider, NoDivergence):
                self.original, self.instrumenter.plan = before
                break
            found = wider
        return found

    # The search.

    def localise(self, wanted: str = "") -> Localisation:
        """Localise the first difference, in the ``wanted`` row unless it is empty."""
        rows = self.rows(wanted)
        if isinstance(rows, Localisation):
            return rows
        self.located = rows
        self.say(f"row {rows.row or '(whole instance)'}: {rows.what}")
        if rows.in_recorder and (by_known_answers := self._by_known_answers(rows)) is not None:
            return self._finished(rows, by_known_answers)
        answer = self._row(rows, "no run was made" if rows.compared else "no row differs")
        for variant in VARIANTS if rows.compared else ():
            try:
                answer = self._variant(rows, variant)
            except WrongDigest as error:
                self.wrong.add(variant)
                self.notes.append(f"the subject executes instructions of digest {variant!r} wrongly: {error}")
                why = "the subject executes instructions of both digests wrongly, so its events cannot be compared"
                answer = self._row(rows, why)
                continue
            except DigestConflict as error:
                answer = self._row(rows, f"the subject executes instructions of the digests wrongly: {error}")
            except SearchBudgetExhausted:
                answer = self._row(
                    rows, f"not found within {plural(self.max_runs, 'run')} of the subject; use a larger --max-passes"
                )
            break
        if not self._is_certain(answer) or answer.difference == "state":
            answer = self._by_known_answers(rows, answer) or answer
        return self._finished(rows, answer)

    def _finished(self, rows: DivergingRows, answer: Localisation) -> Localisation:
        """The answer with its row, the numbers of runs, and the notes."""
        if answer.depth != "instruction" and answer.function_index < 0 and not answer.row:
            answer = msgspec.structs.replace(answer, row=rows.row)
        return msgspec.structs.replace(
            answer, row_runs=rows.runs, runs=self.runs, confirmed=self.confirmed, notes=tuple(dict.fromkeys(self.notes))
        )

    def _is_certain(self, answer: Localisation) -> bool:
        """Whether both digests show the instruction, and no reference differs there, which both read alike."""
        return answer.depth == "instruction" and self.confirmed and not self.doubtful

    @cached_property
    def _wrong_instructions(self) -> tuple[WrongInstruction, ...]:
        return wrong_instructions(self.subject, self.host, self.plan.limits)

    def _by_known_answers(self, rows: DivergingRows, answer: Localisation | None = None) -> Localisation | None:
        """The location by known answers; None if they identify no instruction, or that of the ``answer``."""
        wrong = self._wrong_instructions
        certain = answer is not None and self._is_certain(answer)
        if answer is not None and certain:
            wrong = tuple(each for each in wrong if may_read_back(each.name, answer.instruction))
        if not wrong or (answer is not None and answer.instruction.partition(" ")[0] in {each.name for each in wrong}):
            return None
        search = self._search(rows, "rotate", "full")
        found = first_execution(search, self._explainer(search), wrong)
        if found is not None:
            self.confirmed = False
            self.notes += [] if answer is None else [f"by the subject's events: {answer}"]
            return found
        if certain:
            return None
        known = f"{wrong[0].name}: expected {wrong[0].oracle}, got {wrong[0].subject}"
        why = f"the subject fails a known-answer test ({known}), but the artifact does not execute that instruction"
        return self._row(rows, why)

    def _variant(self, rows: DivergingRows, variant: Variant) -> Localisation:
        search = self._search(rows, variant, "full")
        if search.total > self._capacity():
            left_out = "constants, reads of locals and witness's functions are not logged"
            self.notes.append(f"{search.total:,} events are too many for the subject; {left_out}")
            self.instrumenter.skip = _witness_functions(self.plan.module)
            search = self._search(rows, variant, "lean")
        if search.total > self._capacity():
            return self._by_function(rows, variant)
        first = search.first()
        if first is None:
            return self._no_event_differs(search)
        return self._not_started(search, first) or self._not_executed(rows, first) or self._explain(search, first)

    def _capacity(self) -> int:
        speed = self.subject.capabilities.instructions_per_s * self.plan.limits.deadline_s
        return min(MAX_EVENTS, int(speed / EVENT_COST))

    def _by_function(self, rows: DivergingRows, variant: Variant, watch: MemoryWatch | None = None) -> Localisation:
        """Localise by entries and results of calls first, then by all instructions of the functions around the difference. With
        ``watch``, localise what wrote these bytes.
        """
        self.notes.append("narrowed by function first")
        search = self._search(rows, variant, "calls", watch=watch)
        if search.total > self._capacity():
            why = f"{search.total:,} events of calls are too many for the subject within the deadline; use a longer --deadline"
            return self._row(rows, why)
        first = search.first()
        if first is None:
            place = watch_at(rows.memory) if watch is None else None
            return self._by_function(rows, variant, place) if place is not None else self._no_event_differs(search)
        return self._not_started(search, first) or self._not_executed(rows, first) or self._in_functions(search, first)

    def _in_functions(self, search: EventSearch, first: FirstDifference) -> Localisation:
        """The instruction, in the functions around a difference of calls; the function if it is not found."""
        variant, watch = search.instrumentation.variant, search.instrumentation.watch
        explainer = self._explainer(search)
        functions = explainer.candidate_functions(first)
        answer = explainer.function(first)
        for _ in range(MAX_WIDENINGS):
            search = self._search(search.rows, variant, "none", dict.fromkeys(functions, "full"), watch)
            if search.total > self._capacity():
                return answer
            found = search.first()
            if found is None:
                self.notes.append("no event differs if only these functions are instrumented")
                return answer
            more = self._explainer(search).candidate_functions(found) - functions
            site = search.instrumentation.record_site(found.oracle)
            if not (site is not None and site.name in CALLS and more):
                return self._explain(search, found) if watch is None else self._memory_writer(search, found) or answer
            functions |= more
        return answer

    def _not_started(self, search: EventSearch, first: FirstDifference) -> Localisation | None:
        """The answer if the oracle begins with the start function and the subject does not, in a run that calls no entry."""
        start = self.plan.module.start
        if start is None or first.event > 0:
            return None
        self.runs += 1
        parameters = LogParameters(0, 0, search.rows.flags, halt=1)
        begins = []
        for side in (search.oracle, search.subject):
            log = side.logged(parameters).log
            if log is None:
                return None
            sites = [search.instrumentation.record_site(each) for each in log.records(0)[:1]]
            begins.append(any(site is not None and site.function == start for site in sites))
        return self._row(search.rows, NOT_STARTED) if begins == [True, False] else None

    def _not_executed(self, rows: DivergingRows, first: FirstDifference) -> Localisation | None:
        """The answer if nothing shows what the subject executed: it gave no answer, or it ended before the first event."""
        if first.subject is None and first.event > 0 and isinstance(first.subject_outcome, HarnessFailed):
            return self._no_answer(rows, first.subject_outcome, f"its answers for the first {plural(first.event, 'event')} agree")
        if first.event > 0 or (first.event == 0 and first.subject is not None):
            return None
        why = f"the subject {sentence(first.subject_outcome)}, before the first event, so there is nothing to localise"
        return self._row(rows, f"{why}; use `diffcheck reduce`")

    def _no_answer(self, rows: DivergingRows, outcome: Outcome, agrees: str) -> Localisation:
        return self._row(rows, f"the subject gave no answer ({sentence(outcome)}), so no instruction is named; {agrees}")

    def _explain(self, search: EventSearch, first: FirstDifference) -> Localisation:
        """The answer for a difference, confirmed by the other digest; for a load of wrong bytes, the instruction that wrote them."""
        site = search.instrumentation.record_site(first.oracle)
        if self.instrumenter.reads_back and site is not None and _trapped_in_read_back(site, first):
            self.instrumenter.reads_back = False
            return self._variant(search.rows, search.instrumentation.variant)
        explainer = self._explainer(search)
        answer = explainer.instruction(first)
        self.doubtful = explainer.of_reference(first)
        earlier: Localisation | None = None
        segment = dropped_segment(explainer, first)
        if segment:
            self._confirm(search, first)
            earlier = self._row(search.rows, segment) if isinstance(segment, str) else segment
        elif explainer.takes_reference(first):
            earlier = self._identity(search, first)
        if earlier is None and (watch := explainer.read_at(first)) is not None:
            earlier = self._earlier_write(search, watch, first)
            if earlier is not None and search.default == "none":
                earlier = self._by_function(search.rows, search.instrumentation.variant, watch)
        item = explainer.initial(answer, first) if earlier is None and search.default == "full" else ""
        if item and self._differs_at_instantiation(search.rows):
            self._confirm(search, first)
            earlier = self._row(search.rows, f"{INSTANTIATED}: {item}: oracle {answer.oracle}, subject {answer.subject}")
        elif item and not self._observed(item):
            self.notes.append(f"nothing wrote {item} before; its contents after instantiation were not compared")
        if earlier is not None:
            self.notes.append(f"it shows first at {answer}")
            return earlier
        self._confirm(search, first)
        return answer

    def _observed(self, item: str) -> bool:
        """Whether the record after instantiation has the contents of a global, or of tables."""
        if item == "a table":
            return self.instrumenter.identities
        return any(each.kind == "global" and each.index == int(item.removeprefix("global ")) for each in self.plan.module.exports)

    def _earlier_write(self, search: EventSearch, watch: MemoryWatch, load: FirstDifference | None = None) -> Localisation | None:
        """The instruction that wrote these bytes of a memory differently, before a ``load``. None if the bytes do not differ, or the
        load does not return them.
        """
        self.say(f"watching {watch}")
        try:
            watching = self._search_again(search, watch)
            found = watching.first(0, load.event if load is not None else None)
            if found is not None and load is not None and self._load_is_wrong(watching, load):
                self.notes.append(f"{watch} differ since event {found.event:,}, but the load does not return them")
                return None
        except (SearchBudgetExhausted, WrongDigest) as error:
            self.notes.append(f"{watch} were not compared before: {str(error) or 'no runs left'}")
            return None
        return self._memory_writer(watching, found) if found is not None else None

    def _identity(self, search: EventSearch, first: FirstDifference) -> Localisation | None:
        """The answer if a reference before an event is to a different object or function; None if none is."""
        if self.instrumenter.identities or not self.instrumenter.can_identify():
            return None
        self.instrumenter.identities = True
        identified = self._search_again(search)
        found = identified.first(0, first.event)
        return self._explain(identified, found) if found is not None else None

    def _load_is_wrong(self, watching: EventSearch, load: FirstDifference) -> bool:
        """Whether a load does not return the bytes that the subject has in memory."""
        site = watching.instrumentation.record_site(load.subject)
        log = watching.run_subject(load.event, 0, load.event + 1).log
        records = log.records(load.event) if log is not None else ()
        if site is None or load.subject is None or not records or records[0].site != load.subject.site:
            return False
        word = (records[0].value - load.subject.value) % (1 << 64)
        return loaded_bits(site.name, word) not in (None, load.subject.value)

    def _memory_writer(self, search: EventSearch, found: FirstDifference) -> Localisation | None:
        """The instruction that wrote the watched bytes, which differ since an event; None if it is not known."""
        if found.oracle is None or found.subject is None:
            return None
        self._confirm(search, found)
        plain = self.instrumenter.instrument(search.instrumentation.variant, search.default, search.levels)
        since = max(0, found.event - BEFORE)
        parameters = LogParameters(*search.rows.run, start=since, halt=found.event + 1)
        log = self.instrumenter.side(plain, self.oracle).logged(parameters).log
        records = log.records(since) if log is not None else ()
        explainer = self._explainer(search)
        if found.event == 0 and search.default != "none" and records:
            oracle, subject = explainer.watched_values(found, records[0])
            why = f"{INSTANTIATED}: {search.instrumentation.watch}, oracle {oracle}, subject {subject}"
            return self._row(search.rows, why)
        return explainer.writer(found, records)

    def _confirm(self, search: EventSearch, first: FirstDifference) -> None:
        """Check that the other digest, over other instructions, shows the same; raises ``WrongDigest`` or ``DigestConflict``.

        If the other digest shows the oracle's value, the first one is wrong: a wrong digest does not match the oracle by chance.
        """
        variant = search.instrumentation.variant
        other = next(each for each in VARIANTS if each != variant)
        if other in self.wrong:
            return
        program = self.instrumenter.instrument(other, search.default, search.levels, search.instrumentation.watch)
        oracle, subject = (self.instrumenter.side(program, each) for each in (self.oracle, self.subject))
        try:
            result = search.recheck(oracle, subject, first)
        except SearchBudgetExhausted:
            self.notes.append(f"not confirmed with digest {other!r}: no runs left")
            return
        except WrongDigest as error:
            self.wrong.add(other)
            self.notes.append(f"not confirmed: the subject executes instructions of digest {other!r} wrongly: {error}")
            return
        self.confirmed = result == "same"
        if result == "none":
            raise WrongDigest(f"it shows a difference at event {first.event:,}, but {other!r} does not")
        if result == "another":
            raise DigestConflict(f"digests {variant!r} and {other!r} show different differences at event {first.event:,}")

    def _no_event_differs(self, search: EventSearch) -> Localisation:
        """The answer if no event differs: the state differs at instantiation, or only at the end, or nothing differs any more."""
        rows, instrumenter = search.rows, self.instrumenter
        if isinstance(search.ended, HarnessFailed):
            return self._no_answer(rows, search.ended, "no event before differs")
        if not instrumenter.identities and instrumenter.can_identify():
            instrumenter.identities = True  # the object or function of a reference may differ
            return self._variant(rows, search.instrumentation.variant)
        if instrumenter.reads_back and isinstance(search.measured.outcome, Trapped):
            instrumenter.reads_back = False  # if a write that should trap does not, reading it back may trap instead
            return self._variant(rows, search.instrumentation.variant)
        if self._differs_at_instantiation(rows):
            return self._row(rows, INSTANTIATED)
        streams = search.measured.stream, search.subject_stream
        if None in streams or streams[0] == streams[1]:
            return self._row(rows, "nothing differs under instrumentation")
        watch = watch_at(rows.memory)
        writer = self._earlier_write(search, watch) if watch is not None else None
        return writer or self._row(rows, "no event differs, but the final state does; the instrumentation does not log it")

    def _differs_at_instantiation(self, rows: DivergingRows) -> bool:
        """Whether the capsules without instrumentation differ if no row is called."""
        parameters = lo.Parameters(rows.first, rows.last, rows.flags | lo.INERT)
        self.runs += 1
        headers = [
            CapsuleSide(each, capsule, self.plan.limits, self.host).run(parameters).header
            for each, capsule in ((self.oracle, self.plan.capsules.oracle), (self.subject, self.plan.capsules.subject))
        ]
        return None not in headers and len({each.stream_key for each in headers if each is not None}) > 1

    def _search(
        self, rows: DivergingRows, variant: Variant, default: Level,
        levels: Mapping[int, Level] | None = None, watch: MemoryWatch | None = None,
    ) -> EventSearch:  # fmt: skip
        program = self.instrumenter.instrument(variant, default, levels or {}, watch)
        self.say(f"{len(program.sites):,} sites instrumented")
        oracle, subject = (self.instrumenter.side(program, each) for each in (self.oracle, self.subject))
        search = EventSearch(program, oracle, subject, rows, self)
        if search.total < 0:
            why = f"the oracle {sentence(search.measured.outcome)} under instrumentation"
            raise RunFailedError(why, hint="use a longer --deadline")
        search.default, search.levels = default, levels or {}
        capsule = self.instrumenter.observed(self.plan.capsules.oracle)
        plain = CapsuleSide(self.oracle, capsule, self.plan.limits, self.host).run(lo.Parameters(*rows.run)).header
        if plain is not None and search.measured.stream not in (None, plain.stream_key):
            self.notes.append("instrumentation changes the results of the oracle")
        for function, why in program.untyped.items():
            self.notes.append(f"only the entry of function {function} is logged: {why}")
        self.say(f"{search.total:,} events")
        self.events = search.total
        return search

    def _search_again(self, search: EventSearch, watch: MemoryWatch | None = None) -> EventSearch:
        """A search with the same instrumentation and watched bytes, or with identities."""
        return self._search(search.rows, search.instrumentation.variant, search.default, search.levels, watch)

    def _explainer(self, search: EventSearch) -> Explainer:
        def detail(function: int, position: int) -> tuple[Instrumentation, LogSide]:
            where = LoggedInstruction(function, position)
            extended = self.instrumenter.instrument(search.instrumentation.variant, search.default, search.levels, detail=where)
            return extended, self.instrumenter.side(extended, self.oracle)

        return Explainer(self.plan, search, detail, self._answer, self.original.module)

    def _row(self, rows: DivergingRows, why: str) -> Localisation:
        return self._answer("row", row=rows.row, why=f"{why} ({rows.what})" if rows.what else why)

    def _answer(self, depth: str, **fields: object) -> Localisation:
        names = {"oracle_engine": self.oracle.identity().name, "subject_engine": self.subject.identity().name}
        return msgspec.convert(
            {"depth": depth, "artifact": self.plan.case.artifact, "events": self.events, **names, **fields}, Localisation
        )


def _trapped_in_read_back(site: Site, first: FirstDifference) -> bool:
    """Whether the subject trapped where the oracle's next record, of ``site``, is one of the inserted code that reads back."""
    return first.subject is None and isinstance(first.subject_outcome, Trapped) and site.role in READ_BACK


def _witness_functions(module: Module) -> frozenset[int]:
    named = [(each.index, each.name) for each in module.exports if each.kind == "func"]
    return frozenset(index for index, name in (*named, *function_names(module).items()) if name.startswith(PREFIX))
