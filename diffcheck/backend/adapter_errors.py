"""The errors of adapters: an exception, or a value of a wrong type, with the adapter, its method, file and line."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Final, TypeVar, get_args

import msgspec

from diffcheck.errors import MACHINE_ERRORS, AdapterError, DiffcheckError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

ADAPTERS: Final = "diffcheck.backends"
"""The entry-point group of adapters."""
_PLAIN: Final[frozenset[object]] = frozenset({bool, bytes, float, int, str, NoneType})
_HINT: Final = "correct the adapter, or report this to its authors; docs/backends.md describes the contract"
_LIMIT: Final = 400


def call(function: Callable[..., T], expected: type, *arguments: object) -> T:
    """The result of an adapter's function; raises ``AdapterError`` if it raises an exception or returns another type."""
    try:
        result = function(*arguments)
    except (Exception, SystemExit) as error:
        if _is_no_fault(error):
            raise
        raise failed(function, f"raised {_words(error)}", _raised_at(error, function.__module__)) from error
    return checked(function, result, expected)


def checked(function: Callable[..., object], result: T, expected: type) -> T:
    """The result of an adapter's function; raises ``AdapterError`` if it, or a field of it, has a wrong type."""
    if not isinstance(result, expected):
        raise failed(function, f"returned {visible(repr(result), 80)}, which is not of the type {expected.__name__}")
    if isinstance(result, msgspec.Struct) and (problem := wrong_field(result)):
        raise failed(function, f"returned {expected.__name__} with a wrong {problem}")
    return result


def wrong_field(value: msgspec.Struct) -> str:
    """The first field with a value that its type excludes, and the reason; empty if there is none."""
    for name, (kind, classes) in _field_types(type(value)).items():
        field = getattr(value, name)
        plain = type(field) in classes and not (isinstance(field, msgspec.Struct) and wrong_field(field))
        if not plain and (problem := wrong(field, kind)):
            return f"{name}: {problem}"
    return ""


def wrong(value: object, kind: object) -> str:
    """Why a value is not of a type that msgspec knows; empty if it is."""
    try:
        msgspec.convert(msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value, kind)
    except (msgspec.ValidationError, TypeError) as error:
        return f"{visible(repr(value), 80)} ({visible(str(error), 200)})"
    return ""


@cache
def _field_types(struct: type[msgspec.Struct]) -> dict[str, tuple[object, frozenset[object]]]:
    """The fields' types, each with its plain classes and structs, whose values need no conversion to be checked."""
    types = {each.name: each.type for each in msgspec.structs.fields(struct)}
    return {name: (kind, frozenset(filter(_is_simple, _members(kind)))) for name, kind in types.items()}


def _members(kind: object) -> tuple[object, ...]:
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _is_simple(kind: object) -> bool:
    return kind in _PLAIN or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def loaded(name: str, module: str, load: Callable[[], T]) -> T:
    """The factory that ``load`` imports from ``module``; raises ``AdapterError`` if that fails."""
    try:
        return load()
    except (Exception, SystemExit) as error:
        if _is_no_fault(error):
            raise
        what = f"the adapter {visible(name)} cannot be imported: {_words(error)}"
        where = _place(error.filename, error.lineno) if isinstance(error, SyntaxError) else _raised_at(error, module)
        raise AdapterError(what + where, hint=_HINT) from error


@contextmanager
def attributed() -> Iterator[None]:
    """Within the context, an exception that an installed adapter's code raises becomes an ``AdapterError``."""
    try:
        yield
    except Exception as error:
        if (found := of_adapter(error)) is None:
            raise
        raise found from error


def of_adapter(error: Exception) -> AdapterError | None:
    """The error of an installed adapter whose code raised ``error``; None if no code of an adapter was running."""
    if _is_no_fault(error):
        return None
    packages = {entry.module.partition(".")[0] for entry in entry_points(group=ADAPTERS)}
    for package, function, where in _frames(error):
        if package in packages:
            return AdapterError(f"the adapter {package} failed: {function} raised {_words(error)}{where}", hint=_HINT)
    return None


def failed(function: Callable[..., object], what: str, where: str = "") -> AdapterError:
    """The error of an adapter's function; ``where`` is its place if it is not the function's definition."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", repr(function))
    return AdapterError(f"the adapter {visible(module)} failed: {visible(name)} {what}{where or _defined_at(function)}", hint=_HINT)


def _is_no_fault(error: BaseException) -> bool:
    """Whether an adapter may raise it: an error with a hint, or a failure of the machine."""
    return isinstance(error, DiffcheckError | MemoryError) or (isinstance(error, OSError) and error.errno in MACHINE_ERRORS)


def _words(error: BaseException) -> str:
    message = visible(str(error.msg if isinstance(error, SyntaxError) else error), _LIMIT)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _frames(error: BaseException) -> Iterator[tuple[str, str, str]]:
    """Top-level package, function and place of each frame of a traceback, innermost first."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        code = frame.f_code
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        yield package, code.co_qualname, _place(code.co_filename, line)


def _raised_at(error: BaseException, module: str) -> str:
    """The innermost place in the package of ``module``; empty if there is none."""
    return next((where for package, _, where in _frames(error) if package == module.partition(".")[0]), "")


def _defined_at(function: Callable[..., object]) -> str:
    code = getattr(function, "__code__", None)
    return _place(code.co_filename, code.co_firstlineno) if code is not None else ""


def _place(file: str | None, line: int | None) -> str:
    return f" ({visible(file or '', _LIMIT)}, line {line})"
