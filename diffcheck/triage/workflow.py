"""The steps of a triage, in order. Each starts from the state in the folder and saves its result there."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.errors import EXIT_AGREE, EXIT_INCONCLUSIVE, ArtifactError, CaseError, NothingToDoError, ReportError, RunFailedError
from diffcheck.probe.instruction_answers import known_answer
from diffcheck.probe.instructions import program
from diffcheck.runner.passes.wrong_instruction import ITEM
from diffcheck.text import plural, visible
from diffcheck.triage import triage_folder as st
from diffcheck.triage.blame.blame import Blame, blame
from diffcheck.triage.confirm_divergence import RUNS, Confirmer
from diffcheck.triage.isolated import LocaliseRequest, localise_isolated
from diffcheck.triage.reduce.interestingness import BudgetExhausted
from diffcheck.triage.reduce.reducer import reduce
from diffcheck.triage.reduce.reduction import Reduction, sizes
from diffcheck.triage.reduce.reduction_history import ReductionHistory
from diffcheck.triage.reduce.row_minimiser import RowMinimiser
from diffcheck.triage.reduce.symptom import Symptom, symptoms
from diffcheck.triage.writeup import wast
from diffcheck.triage.writeup.blame_issue import blame_issue
from diffcheck.triage.writeup.case_text import STDIN, case_text
from diffcheck.triage.writeup.issue import issue, title
from diffcheck.triage.writeup.reproducer import NOT_TRIED, Reproduction, file_of, of_instruction, reproduction
from diffcheck.triage.writeup.shell_script import SCRIPT, script
from diffcheck.triage.writeup.standalone import standalone
from diffcheck.triage.writeup.text_form import text_form
from diffcheck.wasm.draft import draft
from diffcheck.witness.formats import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.observation import Identity
    from diffcheck.runner.request import Request
    from diffcheck.triage.session import Session
    from diffcheck.triage.triage_folder import State, TriageFolder
    from diffcheck.verdict import CaseReport

Ending = Literal["whole", "nothing", "blamed", "flaky", "partial"]
"""The end of a triage: complete, without a divergence, without one but with a change before the capsule (``blame``), with a divergence
that is flaky, or cut by the time limit or the user.
"""
_WRITING_RUNS, _WRITING_S = 3.0, 1.0
_SMALLER: Final = 0.75
"""The share of the time for minimising and reducing."""
_VAGUE: Final = frozenset({"not located", "stream"})
_OF_WITNESS: Final = frozenset({"counter", "brval", "brcnt", "trace"})


class TriageWorkflow:
    """A triage in a folder. ``say`` receives progress, which is also logged."""

    def __init__(self, session: Session, folder: TriageFolder, say: Callable[[str], None], row: str = "") -> None:
        self.session, self.folder, self._say, self.row = session, folder, say, row
        plan, engines = session.plan, session.engines
        identity = engines.subject_identity
        target = session.target
        names = (identity.name, identity.sha256, engines.oracle_identity.name, *session.judges)
        about = st.about((plan.sha256, *names, target.kind, target.row, row, *session.rows))
        saved = folder.read()
        if saved is not None and Path(saved.artifact).stem != Path(plan.case.artifact).stem:
            raise ReportError(
                f"{visible(str(folder.path))} has the triage of {visible(saved.artifact)}", hint="choose another folder with -o"
            )
        self.resumed = saved is not None and saved.about == about
        if saved is not None and self.resumed:
            self.state: State = saved
        else:
            self.state = st.State(
                about, plan.case.artifact, plan.sha256, _named(identity), _named(engines.oracle_identity), rows=session.rows
            )
        self.base = without_witness(session.artifact) if self.state.stripped else session.artifact
        if self.state.without_recorder:
            self.base = self._without_recorder()[self.state.without_recorder]
            session.rows = ()
        earlier = folder.bytes(self._earlier) if self.resumed else None
        self.history = ReductionHistory((self.base,) if earlier is None else (self.base, earlier))
        self._report: CaseReport | None = None

    def run(self) -> Ending:
        """All steps in order, as far as the time allows."""
        budget, whole = self.session.budget, True
        try:
            if not self.find():
                return self._without_divergence()
            budget.reserve(self.writing_s())
            if not self.confirm():
                return "flaky"
            self.blame()
            whole = self.smaller()
            self.localise()
        except BudgetExhausted:
            whole = False
        if self.state.symptom is not None and not budget.stopped():
            budget.release()
            whole = self.write() and whole
        return "whole" if whole else "partial"

    @property
    def name(self) -> str:
        """The name of the reduced module: the artifact's, since signatures contain it."""
        return Path(self.session.target.case.artifact).stem

    @property
    def _earlier(self) -> str:
        """The file of the earlier module of the reduction from which the standalone module is made, if it is not the last one."""
        return f"{self.name}.earlier.wasm"

    def say(self, line: str) -> None:
        """Report progress to the user and the log."""
        self.folder.log(line)
        self._say(line)

    def save(self, **changes: object) -> None:
        """Change and save the state."""
        self.state = self.folder.save(msgspec.structs.replace(self.state, **changes))

    def finish(self, step: st.Step) -> None:
        """Save that a step is finished."""
        self.state = self.folder.save(self.state.finished(step))

    @property
    def symptom(self) -> Symptom:
        """The symptom that is triaged."""
        assert self.state.symptom is not None, "it is found first"  # noqa: S101
        return self.state.symptom

    def report(self) -> CaseReport:
        """The report of the artifact, or of the module that replaces it."""
        if self._report is None:
            self._report = self.session.run(self.base, self.session.rows)
        return self._report

    def find(self) -> bool:
        """Run the case and choose the divergence to triage; False if nothing diverges."""
        if self.state.symptom is not None:
            return True
        symptom = self._first()
        if symptom is None:
            report = self.report()
            if self.row and any(each.divergences for each in report.passes):
                raise NothingToDoError(f"nothing diverges in row {self.row}", hint="`diffcheck show` lists the rows that do")
            why = f": {report.reason}" if report.reason else ""
            what = "the engines agree, and expected results are not checked here" if report.verdict == "agree" else report.verdict
            self.say(f"nothing to triage: {what}{why}")
            return False
        self.say(f"the divergence: {symptom}")
        self.save(symptom=symptom)
        if symptom.kind == "stream" and symptom.item.startswith(ITEM):
            self._leave_the_recorder(symptom)
        else:
            self._strip(symptom)
        return True

    def _without_recorder(self, instruction: str = "") -> dict[st.Plain, bytes]:
        """Modules without a recorder: the artifact with a ``_start`` that calls the rows and stores their results in counters, and
        the known answer for the instruction, if the artifact does not execute it.
        """
        every = Symptom(signature="", mode="capsule", kind="result", row="", item="", oracle="", subject="")
        found: dict[st.Plain, bytes] = {}
        with contextlib.suppress(ArtifactError):
            found["calls"] = standalone(self.session.artifact, self.session.rows, every).wasm
        answer = known_answer(instruction or self.state.known_answer)
        if answer is not None:
            found["known answer"] = program((answer,))
        return found

    @property
    def _direct(self) -> Request:
        return msgspec.structs.replace(self.session.request, mode="direct")

    @property
    def _request(self) -> Request:
        """The request that shows the symptom. After a capsule pass the direct pass has the signature of that."""
        return self._direct if self.state.without_recorder else self.session.request

    def _leave_the_recorder(self, symptom: Symptom) -> None:
        """Triage the first module without a recorder that differs: the subject executes an instruction of the recorder wrongly."""
        for how, wasm in self._without_recorder(symptom.oracle).items():
            report = self.session.run(wasm, (), request=self._direct)
            found = next((each for each in symptoms(report) if each.mode == "direct"), None)
            if found is not None:
                self.base, self._report, self.session.rows = wasm, report, ()
                self.say(f"without the recorder: {found}")
                self.save(symptom=found, without_recorder=how, known_answer=symptom.oracle, rows=())
                return

    def _first(self) -> Symptom | None:
        """The divergence, with reruns until its location is known; None if nothing diverges."""
        vague = None
        for run in range(1 + RUNS):
            self._report = None
            found = self.session.symptom(self.report(), self.row)
            if found is not None and (found.kind not in _VAGUE or found.item.startswith(ITEM)):
                return found
            vague = found or vague
            if vague is None and not self.session.target.kind:
                return None
            if run < RUNS and vague is not None:
                self.say(f"rerun, since the difference was not located: {vague}")
        if vague is None:
            self.say(f"none of {1 + RUNS} runs shows the reported divergence: it is flaky or fixed")
        return vague

    def _strip(self, symptom: Symptom) -> None:
        """Remove witness's instrumentation if the program still differs in the same row."""
        if symptom.mode != "capsule" or not any(each.name.startswith(PREFIX) for each in draft(self.base).exports):
            return
        less = without_witness(self.base)
        report = self.session.run(less, self.session.rows)
        found = self.session.symptom(report, symptom.row)
        if found is None or found.mode != symptom.mode or found.kind in _OF_WITNESS or (symptom.row and found.row != symptom.row):
            return
        self.base, self._report = less, report
        if found != symptom:
            self.say(f"without witness's instrumentation: {found}")
        self.save(symptom=found, stripped=True)

    @property
    def nothing(self) -> int:
        """The exit code if nothing is triaged: that of agreement only if the verdict is agree or known."""
        return EXIT_AGREE if self.report().verdict in ("agree", "known") else EXIT_INCONCLUSIVE

    def writing_s(self) -> float:
        """An estimate of the time to write the folder, in seconds."""
        return _writing_s(self.session.longest_s)

    # Confirming.

    def confirm(self) -> bool:
        """Rerun the case, also under other engines; False if the divergence is flaky."""
        if "confirm" not in self.state.done:
            confirmer = Confirmer(self.session, self.symptom, self.base, self._request, self.say)
            self.state = self.folder.save(confirmer.confirm(self.state))
        if self.state.flaky:
            self.say(f"flaky: {self.state.flaky}; not triaged")
        return not self.state.flaky

    def blame(self) -> None:
        """Find the first artifact, from the component to the capsule, in which the results change."""
        if "blame" in self.state.done:
            return
        try:
            found = blame(self.session, self.state.symptom)
        except (ArtifactError, CaseError, RunFailedError) as error:
            found = Blame("", f"the component's artifacts could not be compared: {error.line}")
        if found is not None:
            self.say(f"blame: {found}")
            for note in found.notes:
                self.say(note)
            self.save(blame=found)
        self.finish("blame")

    def _without_divergence(self) -> Ending:
        """The end of a triage in which oracle and subject agree: a component's results may still change before the capsule."""
        self.blame()
        found = self.state.blame
        if found is None or not found.culprit:
            return "nothing"
        self.folder.write("issue.md", blame_issue(self.session, found))
        return "blamed"

    # Rows.

    def minimise(self) -> bool:
        """Find the fewest rows with the simplest arguments; False if the time ran out."""
        if "minimise" in self.state.done:
            return True
        session = self.session
        rows = self.state.rows if self.resumed else session.rows
        if self.symptom.mode == "direct" or not rows:
            self.finish("minimise")
            return True
        checker = session.checker_for(self.symptom, self.report(), self.folder.path, self.state.about)
        work = RowMinimiser(checker, self.base, rows, lambda fewer: self.save(rows=fewer))
        self.save(rows=rows, rows_before=len(session.rows))
        whole = work.run(self.symptom.row)
        checker.close()
        self.say(f"{plural(len(session.rows), 'row')} to {len(work.rows)}: {', '.join(work.rows[:4])}")
        if whole:
            self.finish("minimise")
        return whole

    # The module.

    def reduce(self) -> bool:
        """Find a smaller module; False if the time ran out before no further reduction was possible."""
        if "reduce" in self.state.done:
            return True
        session, rows = self.session, self.state.rows
        alone = self._alone()
        checker = session.checker_for(self.symptom, alone, self.folder.path, self.state.about)
        begun = self.folder.bytes(f"{self.name}.wasm") if self.resumed and self.state.after is not None else None

        def smaller(wasm: bytes) -> None:
            self._better(wasm)
            if checker.shown_s:  # this module is written last, and takes less time than the previous one
                session.budget.reserve(_writing_s(checker.shown_s))

        work = Reduction(
            checker, rows, self.base,
            trace=lambda wasm: session.trace(wasm, rows), save=smaller, say=self.say,
        )  # fmt: skip
        why = work.why_nothing()
        if why:
            raise _nothing_to_reduce(why)
        self.save(before=sizes(session.artifact))
        if begun is not None and work.shows(begun):
            work.best = begun
        self._better(work.best)
        whole = reduce(work)
        checker.close()
        if whole:
            self.finish("reduce")
        return whole

    def _alone(self) -> CaseReport:
        """A report of the artifact with the minimised rows that shows the symptom, in up to three runs with the whole deadline."""
        for _ in range(RUNS):
            report = self.session.run(self.base, self.state.rows, request=self._request)
            if self.symptom.shown_by(report):
                return report
        raise _nothing_to_reduce("the artifact alone does not reproduce it")

    def _better(self, wasm: bytes) -> None:
        case = self.session.case
        if case.stdin:
            self.folder.write(STDIN, case.stdin)
        self.folder.write(f"{self.name}.toml", case_text(case, self.state.rows, f"reduced; {self.symptom}"))
        self.folder.write(f"{self.name}.wasm", wasm)
        self.history.add(wasm)
        self.save(after=sizes(wasm), localised_reduced=None)

    @property
    def reduced(self) -> Path:
        """The path of the smallest module so far."""
        return self.folder.path / f"{self.name}.wasm"

    def smaller(self) -> bool:
        """Minimise and reduce in their share of the time, so that some remains for localising; False if it ran out."""
        with self.session.budget.part(_SMALLER), contextlib.suppress(BudgetExhausted):
            return self.minimise() and self.reduce()
        return False

    # The instruction.

    def localise(self) -> None:
        """Localise the first wrong instruction in the artifact and in the reduced module; raises ``BudgetExhausted``."""
        self.session.budget.check()
        if "localise" in self.state.done:
            return
        if self.symptom.mode == "direct" and not self.state.without_recorder:
            self.save(not_localised="only the direct pass reproduces it, but localising needs the capsule")
            self.finish("localise")
            return
        row = self.symptom.row
        if self.state.localised is None:
            artifact = self.session.target.case.artifact
            self._localise_in(self.session.given, artifact, row if row in self.session.rows else "", "localised")
        if self.state.localised_reduced is None and self.reduced.exists():
            self._localise_in(self.session.request, str(self.reduced), "", "localised_reduced")
        one, other = self.state.localised, self.state.localised_reduced
        if one is not None and other is not None and one.instruction and other.instruction and one.instruction != other.instruction:
            self.say(f"the reduced module differs at `{other.instruction}`, the artifact at `{one.instruction}`")
        if "reduce" in self.state.done:
            self.finish("localise")

    def _localise_in(self, request: Request, artifact: str, row: str, key: str) -> None:
        session = self.session
        request = msgspec.structs.replace(request, paths=(artifact,), mode="capsule")
        found = localise_isolated(LocaliseRequest(request, row), session.reactor, session.folder, session.budget)
        what = "the artifact" if key == "localised" else "the reduced module"
        self.say(f"{what}: {found}")
        self.save(**({"not_localised": found} if isinstance(found, str) else {key: found}))

    # Writing.

    def write(self) -> bool:
        """Write the standalone module, the script and the issue from the results so far; False if the time ran out before the
        plain commands were tried.
        """
        session, path = self.session, self.folder.path
        best = self.folder.bytes(f"{self.name}.wasm")
        if best is None:
            best = self.base
            self._better(best)
        self.history.add(best)
        symptom, made = self.symptom, Reproduction(why=NOT_TRIED)
        with contextlib.suppress(BudgetExhausted):
            symptom = self._symptom_of(best)
            found = self.state.localised_reduced or self.state.localised
            made = of_instruction(session, found) or reproduction(session, symptom, best, self.state.rows, found)
            if made.driver:
                for earlier in self.history.search(lambda wasm: self._plain(symptom, wasm)):
                    made = earlier
        file = path / file_of(session)
        if made.earlier:
            self.folder.write(self._earlier, made.earlier)
        elif made.why != NOT_TRIED:
            (path / self._earlier).unlink(missing_ok=True)
        text, tool = self._text(self.reduced)
        for each in (file, file.with_suffix(".wat"), path / wast.FILE) if made.why else ():
            each.unlink(missing_ok=True)
        state = msgspec.structs.replace(self.state, symptom=symptom)
        if not made.why:
            self.folder.write(file.name, made.wasm)
            text, tool = self._test_case(made, file, title(state))
        self.folder.write(SCRIPT, script(session, made, self.name, title(state)))
        (path / SCRIPT).chmod(0o755)
        self.folder.write("issue.md", issue(session, state, made, text, made.wasm or best))
        self.say(
            f"does not reproduce without diffcheck: {made.why}"
            if made.why
            else f"reproduces without diffcheck: {'; '.join(map(str, made.differs[:2]))}"
        )
        if not tool:
            self.say("no text form: `wasm-tools print` and `wasm2wat` are not installed or refuse the module")
        self.save(standalone=made.why)
        if made.why == NOT_TRIED:
            return False
        self.finish("write")
        return True

    def _test_case(self, made: Reproduction, file: Path, heading: str) -> tuple[str, str]:
        """Write the test case as a script of assertions; returns it, and the tool that printed the module. Empty without a tool."""
        found = self.state.localised_reduced
        text, tool = self._text(file)
        if wast.by_calls(made):
            shown = self.session.folder / "source.wasm"
            shown.write_bytes(made.source)
            same = found is not None and made.source == self.folder.bytes(self.reduced.name)
            mark = (found.file_offset, f"{found.subject_engine}: {found.subject}") if found is not None and same else (-1, "")
            text, tool = text_form(shown, self.session.reactor, mark)
        test = wast.wast(made, heading, text) if text else ""
        if test:
            self.folder.write(wast.FILE, test)
        return test, tool

    def _plain(self, symptom: Symptom, wasm: bytes) -> Reproduction | None:
        """The reproduction of an earlier module of the reduction; None if plain commands do not show the symptom."""
        found = reproduction(self.session, symptom, wasm, self.state.rows)
        return msgspec.structs.replace(found, earlier=wasm) if not found.why else None

    def _symptom_of(self, wasm: bytes) -> Symptom:
        """The symptom in this module: the same signature, with its own rows, addresses and values."""
        report = self.session.run(wasm, self.state.rows)
        found = [each for each in symptoms(report) if (each.signature, each.mode) == (self.symptom.signature, self.symptom.mode)]
        return found[0] if found else self.symptom

    def _text(self, wasm: Path) -> tuple[str, str]:
        text, tool = text_form(wasm, self.session.reactor)
        if text:
            self.folder.write(f"{wasm.stem}.wat", text)
        else:
            wasm.with_suffix(".wat").unlink(missing_ok=True)
        return text, tool


def _writing_s(run_s: float) -> float:
    return _WRITING_RUNS * run_s + _WRITING_S


def _nothing_to_reduce(why: str) -> NothingToDoError:
    return NothingToDoError(f"there is nothing to reduce: {why}", hint="rerun it; `diffcheck triage` detects flaky cases")


def without_witness(data: bytes) -> bytes:
    """The artifact without witness's exports and the items that only they reference."""
    source = draft(data)
    try:
        return msgspec.structs.replace(
            source, exports=tuple(each for each in source.exports if not each.name.startswith(PREFIX))
        ).write()
    except ArtifactError:
        return data


def _named(identity: Identity) -> str:
    return " ".join(filter(None, (identity.name, identity.version)))
