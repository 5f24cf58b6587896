"""Which cases an expression of ``-k`` selects.

An expression is a name, a part of a name or a glob (``*``, ``?``, ``[...]``), or several combined by ``and``, ``or``, ``not`` and
parentheses. A term that is the whole name of a case selects that case only. Names are ids and paths below the folder that was
given, each with or without the artifact's suffix.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from diffcheck.errors import ConfigError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Names = Mapping[str, Collection[str]]
    """For each case, by id, the names that it goes by."""

_TOKEN: Final = re.compile(r"[()]|[^\s()]+")
_WORDS: Final = ("and", "or", "not", "(", ")")
_MAX_DEPTH: Final = 50


def select(names: Names, expressions: Sequence[str]) -> set[str]:
    """The ids that any of the expressions selects; raises ``ConfigError`` for an expression with an error."""
    return set().union(*(_select(names, each) for each in expressions))


def _select(names: Names, expression: str) -> set[str]:
    whole = _term(names, expression)
    tokens = _TOKEN.findall(expression)
    if whole or len(tokens) == 1:  # a name may have spaces and parentheses in it
        return whole
    return _Parser(tokens, expression, lambda term: _term(names, term), frozenset(names)).parse()


def _term(names: Names, term: str) -> set[str]:
    """The cases of that whole name; else those that the glob matches, or that have the term as a part of their name."""
    exact = {case for case, known in names.items() if term in known}
    if exact:
        return exact
    if re.search(r"[*?\[]", term):
        return {case for case, known in names.items() if any(fnmatchcase(name, term) for name in known)}
    return {case for case in names if term and term in case}


class _Parser:
    """A recursive descent over ``or``, ``and``, ``not`` and parentheses; each rule returns a set of ids."""

    def __init__(self, tokens: list[str], expression: str, term: Callable[[str], set[str]], every: frozenset[str]) -> None:
        self._tokens, self._expression, self._term, self._every = tokens, expression, term, every
        self._at = self._depth = 0

    def parse(self) -> set[str]:
        """The selected ids; raises ``ConfigError``."""
        found = self._any()
        if self._next():
            raise self._error(f"unexpected {self._next()!r}")
        return found

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _accept(self, word: str) -> bool:
        accepted = self._next() == word
        self._at += accepted
        return accepted

    def _any(self) -> set[str]:
        found = self._all()
        while self._accept("or"):
            found |= self._all()
        return found

    def _all(self) -> set[str]:
        found = self._one()
        while self._accept("and"):
            found &= self._one()
        return found

    def _one(self) -> set[str]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error("too deeply nested")
        try:
            if self._accept("not"):
                return set(self._every) - self._one()
            if self._accept("("):
                found = self._any()
                if not self._accept(")"):
                    raise self._error("a parenthesis is not closed")
                return found
            term = self._next()
            if not term or term in _WORDS:
                raise self._error(f"a name is missing before {term!r}" if term else "a name is missing at the end")
            self._at += 1
            return self._term(term)
        finally:
            self._depth -= 1

    def _error(self, why: str) -> ConfigError:
        return ConfigError(
            f"the expression {visible(self._expression, 100)!r} cannot be read: {visible(why, 80)}",
            hint="write as in 'leap and not (slow or *-old)'",
        )
