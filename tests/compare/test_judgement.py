"""Who stands alone, by the opinions of judges."""

from __future__ import annotations

import msgspec
import pytest

from diffcheck.compare.judgement import opinion, with_judgements
from diffcheck.compare.outcomes import KIND_UNSTATED
from diffcheck.verdict import Agreement, CaseReport, Divergence, Opinion, PassReport, Where

ORACLE, SUBJECT, OTHER = "oracle", "subject", "other"


def result(row: str, oracle: str, subject: str, item: str = "result 0", kind="result", **fields) -> Divergence:
    return Divergence(kind, Where(row, item), oracle, subject, signature=f"{kind} {row}", **fields)


def case(*found: Divergence, verdict="", reason="", rows=("f", "g"), not_compared=()) -> CaseReport:
    verdict = verdict or ("diverge" if found else "agree")
    one = PassReport(
        "capsule", True, verdict=verdict, reason=reason, divergences=found, divergences_total=len(found),
        agreement=Agreement(not_compared=not_compared),
    )  # fmt: skip
    return CaseReport("case", "a.wasm", "", verdict, reason, "agree", False, "", rows, (one,))


def gives(place: Divergence, own: CaseReport, *, same_form=True) -> tuple[str, str]:
    found = opinion(Opinion("b", "b"), place, own, "capsule", same_form=same_form)
    return found.gives, found.value or found.why


PLACE = result("f", "1", "2")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (case(), (ORACLE, "1")),
        (case(result("f", "1", "2")), (SUBJECT, "2")),
        (case(result("f", "1", "3")), (OTHER, "3")),
        (case(result("g", "5", "6")), (ORACLE, "1")),
        (case(result("f", "1", "2", item="result 1")), (ORACLE, "1")),
        (case(result("f", "returned", "trapped: unreachable", "outcome", "outcome")), (OTHER, "trapped: unreachable (outcome)")),
        (case(verdict="inconclusive", reason="the subject timed out"), ("", "b timed out")),
    ],
)
def test_a_judge_gives_the_value_of_the_engine_that_it_agrees_with(own, expected) -> None:
    assert gives(PLACE, own) == expected


def test_a_judge_that_ends_in_an_earlier_row_cannot_say() -> None:
    own = case(result("f", "returned", "trapped: unreachable", "outcome", "outcome"))
    assert gives(result("g", "1", "2"), own) == ("", "it ends differently in an earlier row")


def test_another_byte_of_the_same_memory_is_another_value() -> None:
    place = result("", "0x01", "0x02", "memory 0 at 0x10", "memory", detail="the 8 bytes at 0x10: 1 and 2")
    near = result("", "0x01", "0x02", "memory 0 at 0x8", "memory", detail="the 8 bytes at 0x8: 1 and 2")
    words = msgspec.structs.replace(place, detail="the 8 bytes at 0x10: 1 and 0x302")
    assert [gives(place, case(each))[0] for each in (place, near, words)] == [SUBJECT, OTHER, OTHER]
    assert gives(place, case(result("", "1", "2", "global g", "global")))[0] == ORACLE


def test_a_judge_whose_capsule_records_less_is_silent_only_about_what_it_does_not_record() -> None:
    struct = result("f", "an object with the contents 0x00000001", "an object with the contents 0x00000002")
    assert gives(struct, case(), same_form=False)[0] == ""
    assert gives(PLACE, case(), same_form=False)[0] == ORACLE
    exited = result("f", "exited with 1", "returned", "outcome", "outcome")
    assert gives(exited, case(), same_form=False)[0] == ""


def test_a_judge_with_one_message_for_several_traps_cannot_tell_them_apart() -> None:
    kinds = result("f", "trapped: integer overflow", "trapped: integer divide by zero", "outcome", "outcome")
    assert gives(kinds, case(not_compared=(KIND_UNSTATED,)))[0] == ""
    assert (
        gives(result("f", "trapped: integer overflow", "returned", "outcome", "outcome"), case(not_compared=(KIND_UNSTATED,)))[0]
        == ORACLE
    )


def test_the_times_and_words_of_engines_are_no_part_of_an_outcome() -> None:
    def ends(subject: str) -> Divergence:
        return result("f", "returned", subject, "outcome", "outcome")

    for one, other in (
        ("hangs (timed out after 10 s)", "hangs (timed out after 20 s)"),
        ("refused at load: bad section", "refused at load: section 5"),
        ("crashed: panicked", "crashed by signal 6"),
    ):
        assert gives(ends(one), case(ends(other)))[0] == SUBJECT
    assert gives(ends("trapped: unreachable"), case(ends("trapped: integer overflow")))[0] == OTHER


def judged(*opinions: tuple[str, str, str]) -> tuple[str, str]:
    """The verdict and who stands alone; opinions are judge, engine, and what it gives (with the value of another)."""
    found = tuple(
        Opinion(judge, engine, gives.partition(" ")[0], value=gives.partition(" ")[2]) for judge, engine, gives in opinions
    )
    report = with_judgements(case(PLACE), {PLACE.signature: found}, "A", "B")
    return report.verdict, report.passes[0].divergences[0].judgement.alone


@pytest.mark.parametrize(
    ("opinions", "expected"),
    [
        ([("c", "C", "oracle")], ("diverge", "subject")),
        ([("c", "C", "subject")], ("oracle", "oracle")),
        ([("c", "C", "other 3")], ("diverge", "")),
        ([("c", "C", "")], ("diverge", "")),
        ([("a2", "A", "oracle")], ("diverge", "")),
        ([("a2", "A", "subject")], ("oracle", "oracle")),
        ([("c", "C", "oracle"), ("d", "D", "subject")], ("diverge", "")),
        ([("c", "C", "oracle"), ("d", "D", "other 3")], ("diverge", "subject")),
        ([("c", "C", "subject"), ("d", "D", "")], ("oracle", "oracle")),
        ([("c", "C", "other 3"), ("d", "D", "other 3")], ("diverge", "both")),
        ([("c", "C", "other 3"), ("c2", "C", "other 3")], ("diverge", "")),
        ([("c", "C", "oracle"), ("d", "D", "oracle"), ("e", "E", "subject")], ("diverge", "")),
    ],
)
def test_an_engine_stands_alone_if_one_other_value_alone_has_two_independent_engines(opinions, expected) -> None:
    assert judged(*opinions) == expected


def test_what_follows_from_a_difference_has_its_judgement_and_a_case_needs_all_to_be_the_oracles() -> None:
    first, other = PLACE, result("g", "5", "6")
    follows = msgspec.structs.replace(result("f", "1", "9", item="result 1"), signature=first.signature)
    alone = {first.signature: (Opinion("c", "C", "subject"),)}
    assert with_judgements(case(first, follows), alone, "A", "B").verdict == "oracle"
    mixed = with_judgements(case(first, other), {**alone, other.signature: (Opinion("c", "C", "oracle"),)}, "A", "B")
    assert mixed.verdict == "diverge"
    assert [str(each.judgement) for each in mixed.passes[0].divergences] == [
        "c agrees with the subject: the oracle stands alone",
        "c agrees with the oracle: the subject stands alone",
    ]
