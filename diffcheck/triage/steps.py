"""The steps of a triage in their order; each takes up the state in the folder and leaves it better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.errors import NothingToDoError
from diffcheck.text import plural
from diffcheck.triage import state as st
from diffcheck.triage.case_text import STDIN, case_text
from diffcheck.triage.minimise import Minimiser
from diffcheck.triage.reduce import Reducer, sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend import Identity
    from diffcheck.triage.session import Session
    from diffcheck.triage.state import Folder, State
    from diffcheck.triage.symptom import Symptom
    from diffcheck.verdict import CaseReport


class Steps:
    """A triage in a folder. ``say`` is told what is being done; every line goes to the log as well."""

    def __init__(self, session: Session, folder: Folder, say: Callable[[str], None], row: str = "") -> None:
        self.session, self.folder, self._say, self.row = session, folder, say, row
        plan, engines = session.plan, session.engines
        identity = engines.subject_identity
        target = session.target
        self.about = st.about(
            (plan.sha256, identity.name, identity.sha256, engines.oracle_identity.name, target.kind, target.row, row, *session.rows)
        )
        found = folder.read()
        self.resumed = found is not None and found.about == self.about
        if found is not None and self.resumed:
            self.state: State = found
        else:
            self.state = st.State(
                self.about, plan.case.artifact, plan.sha256, _named(identity), _named(engines.oracle_identity), rows=session.rows
            )
        self._report: CaseReport | None = None

    def say(self, line: str) -> None:
        """Tell the user and the log."""
        self.folder.log(line)
        self._say(line)

    def _save(self, **changes: object) -> None:
        self.state = self.folder.save(msgspec.structs.replace(self.state, **changes))

    def _finish(self, step: st.Step) -> None:
        self.state = self.folder.save(self.state.finished(step))

    @property
    def symptom(self) -> Symptom:
        """What was confirmed."""
        assert self.state.symptom is not None, "it is confirmed first"  # noqa: S101
        return self.state.symptom

    def report(self) -> CaseReport:
        """A run of the untouched artifact."""
        if self._report is None:
            self._report = self.session.run(self.session.artifact, self.session.rows)
        return self._report

    def find(self) -> bool:
        """Run once and choose the divergence to work on; False where nothing diverges."""
        if self.state.symptom is not None:
            return True
        report = self.report()
        symptom = self.session.symptom(report, self.row)
        if symptom is None:
            why = f": {report.reason}" if report.reason else ""
            if self.row and any(each.divergences for each in report.passes):
                raise NothingToDoError(f"nothing diverges in row {self.row}", hint="`diffcheck show` lists the rows that do")
            self.say(f"nothing to triage: {report.verdict}{why}")
            return False
        self.say(f"the divergence: {symptom}")
        self._save(symptom=symptom)
        return True

    # Rows.

    def minimise(self) -> bool:
        """The fewest rows with the simplest arguments; False where the time was over first."""
        if "minimise" in self.state.done:
            return True
        session = self.session
        rows = self.state.rows if self.resumed else session.rows
        if self.symptom.mode == "direct" or not rows:
            self._finish("minimise")
            return True
        checker = session.looking_for(self.symptom, self.report(), self.folder.path)
        work = Minimiser(checker, session.artifact, rows, lambda fewer: self._save(rows=fewer))
        self._save(rows=rows, rows_before=len(session.rows))
        whole = work.run(self.symptom.row)
        checker.close()
        self.say(f"{plural(len(session.rows), 'row')} to {len(work.rows)}: {', '.join(work.rows[:4])}")
        if whole:
            self._finish("minimise")
        return whole

    # The module.

    def reduce(self) -> bool:
        """A smaller module; False where the time was over before nothing more went."""
        if "reduce" in self.state.done:
            return True
        session, rows = self.session, self.state.rows
        checker = session.looking_for(self.symptom, self.report(), self.folder.path)
        begun = self.folder.bytes(st.REDUCED) if self.resumed else None
        work = Reducer(
            checker, rows, session.artifact,
            watch=lambda wasm: session.watch(wasm, rows), save=self._better, say=self.say,
        )  # fmt: skip
        why = work.shows_and_needs()
        if why:
            raise NothingToDoError(f"there is nothing to reduce: {why}", hint="run it again; `diffcheck triage` tells a flaky case")
        self._save(before=_size(session.artifact), after=_size(session.artifact))
        if begun is not None and checker.shows(work.question(begun)):
            work.best = begun
        whole = work.run()
        checker.close()
        self._better(work.best)
        if whole:
            self._finish("reduce")
        return whole

    def _better(self, wasm: bytes) -> None:
        self.folder.write(st.REDUCED, wasm)
        case = self.session.case
        self.folder.write("reduced.toml", case_text(case, self.state.rows, f"reduced; {self.symptom}"))
        if case.stdin:
            self.folder.write(STDIN, case.stdin)
        self._save(after=_size(wasm))


def _named(identity: Identity) -> str:
    return " ".join(filter(None, (identity.name, identity.version)))


def _size(wasm: bytes) -> st.Size:
    found = sizes(wasm)
    return st.Size(found.code, found.file, found.functions)
