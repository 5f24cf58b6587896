"""Imports that are executed at first use, so that a command's help costs no more than its options."""

from __future__ import annotations

import contextlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType


class _DeferringFinder(MetaPathFinder):
    """Finds the modules of a package as ``PathFinder`` does; the standard library's ``LazyLoader`` executes them."""

    def __init__(self, package: str) -> None:
        self._prefix = f"{package}."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:  # fmt: skip
        """The module's specification with a lazy loader; None for a module of another package."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith(self._prefix) else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextlib.contextmanager
def deferred_imports(package: str) -> Iterator[None]:
    """Within the context, a module of ``package`` that is imported is executed when one of its attributes is first used.

    ``from package import module`` defers the module; ``from package.module import name`` uses it at once.
    """
    finder = _DeferringFinder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
