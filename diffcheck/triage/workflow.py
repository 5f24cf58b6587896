"""The steps of a triage in their order; each takes up the state in the folder and leaves it better."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import EXIT_AGREE, EXIT_INCONCLUSIVE, ArtifactError, NothingToDoError, ReportError
from diffcheck.probe.instructions import known_answer, program
from diffcheck.runner.passes.wrong_instruction import ITEM
from diffcheck.text import plural, visible
from diffcheck.triage import triage_folder as st
from diffcheck.triage.confirm_divergence import RUNS, Confirmer, confirmed
from diffcheck.triage.isolated import LocaliseRequest, localise_apart
from diffcheck.triage.reduce.interestingness import BudgetExhausted
from diffcheck.triage.reduce.reducer import reduce
from diffcheck.triage.reduce.reduction import Reduction, sizes
from diffcheck.triage.reduce.reduction_history import Stages
from diffcheck.triage.reduce.row_minimiser import Minimiser
from diffcheck.triage.reduce.symptom import Symptom, symptoms
from diffcheck.triage.writeup import wast
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
    from diffcheck.triage.session import Session
    from diffcheck.triage.triage_folder import Folder, State
    from diffcheck.verdict import CaseReport

_WRITING_RUNS, _WRITING_S = 3.0, 1.0
_SMALLER: Final = 0.75
"""The part of the time that a smaller program may take."""
_VAGUE: Final = frozenset({"not located", "stream"})
_OF_WITNESS: Final = frozenset({"counter", "brval", "brcnt", "trace"})


class Steps:
    """A triage in a folder. ``say`` is told what is being done; every line goes to the log as well."""

    def __init__(self, session: Session, folder: Folder, say: Callable[[str], None], row: str = "") -> None:
        self.session, self.folder, self._say, self.row = session, folder, say, row
        plan, engines = session.plan, session.engines
        identity = engines.subject_identity
        target = session.target
        about = st.about(
            (plan.sha256, identity.name, identity.sha256, engines.oracle_identity.name, target.kind, target.row, row, *session.rows)
        )
        found = folder.read()
        if found is not None and Path(found.artifact).stem != Path(plan.case.artifact).stem:
            raise ReportError(
                f"{visible(str(folder.path))} holds the triage of {visible(found.artifact)}", hint="choose another folder with -o"
            )
        self.resumed = found is not None and found.about == about
        if found is not None and self.resumed:
            self.state: State = found
        else:
            self.state = st.State(
                about, plan.case.artifact, plan.sha256, _named(identity), _named(engines.oracle_identity), rows=session.rows
            )
        self.base = without_witness(session.artifact) if self.state.stripped else session.artifact
        if self.state.without_recorder:
            self.base = self._without_recorder()[self.state.without_recorder]
            session.rows = ()
        earlier = folder.bytes(self._earlier) if self.resumed else None
        self.stages = Stages((self.base,) if earlier is None else (self.base, earlier))
        self._report: CaseReport | None = None

    @property
    def name(self) -> str:
        """What the reduced module is called: as the artifact, since signatures are made of that name."""
        return Path(self.session.target.case.artifact).stem

    @property
    def _earlier(self) -> str:
        """The stage of reducing that the standalone module is made of, where that is not the last one."""
        return f"{self.name}.earlier.wasm"

    def say(self, line: str) -> None:
        """Tell the user and the log."""
        self.folder.log(line)
        self._say(line)

    def save(self, **changes: object) -> None:
        """Change the state and write it down."""
        self.state = self.folder.save(msgspec.structs.replace(self.state, **changes))

    def finish(self, step: st.Step) -> None:
        """Write down that a step is done."""
        self.state = self.folder.save(self.state.finished(step))

    @property
    def symptom(self) -> Symptom:
        """What is looked for."""
        assert self.state.symptom is not None, "it is found first"  # noqa: S101
        return self.state.symptom

    def report(self) -> CaseReport:
        """A run of the artifact that is worked on."""
        if self._report is None:
            self._report = self.session.run(self.base, self.session.rows)
        return self._report

    def find(self) -> bool:
        """Run once and choose the divergence to work on; False where nothing diverges."""
        if self.state.symptom is not None:
            return True
        symptom = self._first()
        if symptom is None:
            report = self.report()
            if self.row and any(each.divergences for each in report.passes):
                raise NothingToDoError(f"nothing diverges in row {self.row}", hint="`diffcheck show` lists the rows that do")
            why = f": {report.reason}" if report.reason else ""
            self.say(f"nothing to triage: {report.verdict}{why}")
            return False
        self.say(f"the divergence: {symptom}")
        self.save(symptom=symptom)
        if symptom.kind == "stream" and symptom.item.startswith(ITEM):
            self._leave_the_recorder(symptom)
        else:
            self._strip(symptom)
        return True

    def _without_recorder(self, shown: str = "") -> dict[st.Plain, bytes]:
        """Modules that need no recorder: one whose ``_start`` makes the calls and puts their results into counters; and the known answer
        that names the instruction, for an artifact that does not execute it.
        """
        every = Symptom(signature="", mode="capsule", kind="result", row="", item="", oracle="", subject="")
        found: dict[st.Plain, bytes] = {}
        with contextlib.suppress(ArtifactError):
            found["calls"] = standalone(self.session.artifact, self.session.rows, every).wasm
        answer = known_answer(shown or self.state.known_answer)
        if answer is not None:
            found["known answer"] = program((answer,))
        return found

    def _leave_the_recorder(self, symptom: Symptom) -> None:
        """Work on the first such module that shows a difference: the subject is wrong in an instruction that the recorder uses."""
        for how, made in self._without_recorder(symptom.oracle).items():
            report = self.session.run(made, (), request=msgspec.structs.replace(self.session.request, mode="direct"))
            found = next((each for each in symptoms(report) if each.mode == "direct"), None)
            if found is not None:
                self.base, self._report, self.session.rows = made, report, ()
                self.say(f"without the recorder: {found}")
                self.save(symptom=found, without_recorder=how, known_answer=symptom.oracle, rows=())
                return

    def _first(self) -> Symptom | None:
        """The divergence of a run; one that a report has, or of which the place was not found, is looked for in some more runs."""
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
                self.say(f"once more, since this tells little: {vague}")
        if vague is None:
            self.say(f"none of {1 + RUNS} runs shows what the report has: it is flaky, or gone")
        return vague

    def _strip(self, symptom: Symptom) -> None:
        """Leave witness's instrumentation out where the program itself shows a difference in the same row."""
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
        """The exit code where there is nothing to do: not that of agreement where a case is open."""
        return EXIT_AGREE if self.report().verdict in ("agree", "known") else EXIT_INCONCLUSIVE

    def writing_s(self) -> float:
        """How long writing may take, in seconds: two runs of both engines, as long as the longest so far, and the rest."""
        return _writing_s(self.session.longest_s)

    # Whether it holds.

    def confirm(self) -> bool:
        """Run it again, and other engines; False where it does not hold."""
        if "confirm" not in self.state.done:
            state = confirmed(self.state, Confirmer(self.session, self.symptom, self.base, self.say))
            self.state = self.folder.save(state)
        if self.state.flaky:
            self.say(f"flaky: {self.state.flaky}; it is not chased")
        return not self.state.flaky

    # Rows.

    def minimise(self) -> bool:
        """The fewest rows with the simplest arguments; False where the time was over first."""
        if "minimise" in self.state.done:
            return True
        session = self.session
        rows = self.state.rows if self.resumed else session.rows
        if self.symptom.mode == "direct" or not rows:
            self.finish("minimise")
            return True
        checker = session.looking_for(self.symptom, self.report(), self.folder.path, self.state.about)
        work = Minimiser(checker, self.base, rows, lambda fewer: self.save(rows=fewer))
        self.save(rows=rows, rows_before=len(session.rows))
        whole = work.run(self.symptom.row)
        checker.close()
        self.say(f"{plural(len(session.rows), 'row')} to {len(work.rows)}: {', '.join(work.rows[:4])}")
        if whole:
            self.finish("minimise")
        return whole

    # The module.

    def reduce(self) -> bool:
        """A smaller module; False where the time was over before nothing more went."""
        if "reduce" in self.state.done:
            return True
        session, rows = self.session, self.state.rows
        alone = self._alone()
        checker = session.looking_for(self.symptom, alone, self.folder.path, self.state.about)
        begun = self.folder.bytes(f"{self.name}.wasm") if self.resumed and self.state.after is not None else None

        def smaller(wasm: bytes) -> None:
            self._better(wasm)
            if checker.shown_s:  # what is written last is this one, and takes less time than what there was
                session.budget.reserve(_writing_s(checker.shown_s))

        work = Reduction(
            checker, rows, self.base,
            watch=lambda wasm: session.watch(wasm, rows), save=smaller, say=self.say,
        )  # fmt: skip
        why = work.why_nothing()
        if why:
            raise _nothing_to_reduce(why)
        self.save(before=_size(session.artifact))
        if begun is not None and work.shows(begun):
            work.best = begun
        self._better(work.best)
        whole = reduce(work)
        checker.close()
        if whole:
            self.finish("reduce")
        return whole

    def _alone(self) -> CaseReport:
        """A run of the artifact with the rows that are left, which shows it; with the whole deadline, since no answer rests on one run."""
        for _ in range(RUNS):
            report = self.session.run(self.base, self.state.rows)
            if self.symptom.shown_by(report):
                return report
        raise _nothing_to_reduce("the artifact by itself does not show it")

    def _better(self, wasm: bytes) -> None:
        case = self.session.case
        if case.stdin:
            self.folder.write(STDIN, case.stdin)
        self.folder.write(f"{self.name}.toml", case_text(case, self.state.rows, f"reduced; {self.symptom}"))
        self.folder.write(f"{self.name}.wasm", wasm)
        self.stages.add(wasm)
        self.save(after=_size(wasm), localised_reduced=None)

    @property
    def reduced(self) -> Path:
        """Where the best module so far stands."""
        return self.folder.path / f"{self.name}.wasm"

    def smaller(self) -> bool:
        """Both, in the part of the time that they may take, so that some is left to localise in; False where that was over first."""
        with self.session.budget.part(_SMALLER), contextlib.suppress(BudgetExhausted):
            return self.minimise() and self.reduce()
        return False

    # The instruction.

    def localise(self) -> None:
        """The first wrong instruction, in the artifact and in the reduced module, as far as that goes; raises ``Spent`` where the time
        is over first.
        """
        self.session.budget.check()
        if "localise" in self.state.done:
            return
        if self.symptom.mode == "direct" and not self.state.without_recorder:
            self.save(not_localised="only the direct pass shows it, and localising works on the capsule")
            self.finish("localise")
            return
        row = self.symptom.row
        if self.state.localised is None:
            artifact = self.session.target.case.artifact
            self.save(**self._localised(artifact, row if row in self.session.rows else "", "localised"))
        if self.state.localised_reduced is None and self.reduced.exists():
            self.save(**self._localised(str(self.reduced), "", "localised_reduced"))
        one, other = self.state.localised, self.state.localised_reduced
        if one is not None and other is not None and one.instruction and other.instruction and one.instruction != other.instruction:
            self.say(f"the reduced module differs at `{other.instruction}`, the artifact at `{one.instruction}`")
        if "reduce" in self.state.done:
            self.finish("localise")

    def _localised(self, artifact: str, row: str, key: str) -> dict[str, object]:
        session = self.session
        request = msgspec.structs.replace(session.request, paths=(artifact,), mode="capsule")
        found = localise_apart(LocaliseRequest(request, row), session.reactor, session.folder, session.budget)
        what = "the artifact" if key == "localised" else "the reduced module"
        self.say(f"{what}: {found}")
        return {"not_localised": found} if isinstance(found, str) else {key: found}

    # What is written.

    def write(self) -> bool:
        """The standalone module, the script and the text for an issue, from what there is by now; False where the time was over
        before plain commands were tried.
        """
        session, path = self.session, self.folder.path
        best = self.folder.bytes(f"{self.name}.wasm")
        if best is None:
            best = self.base
            self._better(best)
        self.stages.add(best)
        symptom, made = self.symptom, Reproduction(why=NOT_TRIED)
        with contextlib.suppress(BudgetExhausted):
            symptom = self._seen_in(best)
            found = self.state.localised_reduced or self.state.localised
            made = of_instruction(session, found) or reproduction(session, symptom, best, self.state.rows, found)
            if made.driver:
                for earlier in self.stages.found(lambda wasm: self._plain(symptom, wasm)):
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
            f"plain commands do not show it: {made.why}"
            if made.why
            else f"plain commands show it: {'; '.join(map(str, made.differs[:2]))}"
        )
        if not tool:
            self.say("no text form: neither `wasm-tools print` nor `wasm2wat` is at hand and takes the module")
        self.save(standalone=made.why, printer=tool)
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
        """A stage of reducing as plain commands show it, if they do."""
        found = reproduction(self.session, symptom, wasm, self.state.rows)
        return msgspec.structs.replace(found, earlier=wasm) if not found.why else None

    def _seen_in(self, wasm: bytes) -> Symptom:
        """The symptom as this module shows it: same signature, but rows, addresses and values of its own."""
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
    return NothingToDoError(f"there is nothing to reduce: {why}", hint="run it again; `diffcheck triage` tells a flaky case")


def without_witness(data: bytes) -> bytes:
    """The artifact with witness's items no longer exported, and what only they kept gone."""
    source = draft(data)
    try:
        return msgspec.structs.replace(
            source, exports=tuple(each for each in source.exports if not each.name.startswith(PREFIX))
        ).write()
    except ArtifactError:
        return data


def _named(identity: Identity) -> str:
    return " ".join(filter(None, (identity.name, identity.version)))


def _size(wasm: bytes) -> st.Size:
    found = sizes(wasm)
    return st.Size(found.code, found.file, found.functions)
