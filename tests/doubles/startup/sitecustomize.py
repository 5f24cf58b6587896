"""Programs that tests start fork for stand-ins as the tests do: ``forked`` is installed before the first engine is created."""

from __future__ import annotations

from importlib.machinery import PathFinder

_find_spec = PathFinder.find_spec


def _find(_, name, *where):
    if name == "diffcheck.backend.registry":
        PathFinder.find_spec = _find_spec
        from tests.doubles import forked  # noqa: PLC0415 - few of Python's programs have it

        forked.install()
    return _find_spec(name, *where)


PathFinder.find_spec = classmethod(_find)
