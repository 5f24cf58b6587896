"""Which cases an expression of ``-k`` selects."""

import pytest

from diffcheck.cases.case_filter import select
from diffcheck.errors import ConfigError

NAMES = {
    id_: (id_, f"{id_}.wasm", id_.rpartition("/")[2], f"{id_.rpartition('/')[2]}.wasm")
    for id_ in ("corpus/leap", "corpus/leap-old", "corpus/slow/sort", "corpus/my (odd) case", "other/not")
}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("leap", {"corpus/leap"}),  # a whole name selects no other
        ("lea", {"corpus/leap", "corpus/leap-old"}),
        ("leap*", {"corpus/leap", "corpus/leap-old"}),
        ("sort.wasm", {"corpus/slow/sort"}),
        ("corpus and not slow", {"corpus/leap", "corpus/leap-old", "corpus/my (odd) case"}),
        ("not (lea or slow) and corpus", {"corpus/my (odd) case"}),
        ("leap or sort", {"corpus/leap", "corpus/slow/sort"}),
        ("corpus/my (odd) case", {"corpus/my (odd) case"}),
        ("nothing", set()),
        ("not nothing", set(NAMES)),
    ],
)
def test_an_expression_selects(expression, wanted):
    assert select(NAMES, [expression]) == wanted


def test_expressions_add_up():
    assert select(NAMES, ["leap", "*sort"]) == {"corpus/leap", "corpus/slow/sort"}


@pytest.mark.parametrize("expression", ["a and", "and a b", "(a", "a b", "a )", "not", "not " * 5000 + "a", "(" * 5000 + "a"])
def test_an_expression_with_an_error_is_reported(expression):
    if len(expression.split()) == 1 and "(" not in expression:
        assert select(NAMES, [expression]) == {"other/not"}
        return
    with pytest.raises(ConfigError) as caught:
        select(NAMES, [expression])
    assert len(str(caught.value)) < 400
