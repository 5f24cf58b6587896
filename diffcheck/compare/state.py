"""Comparing final states: counters by id, exported globals, sizes of tables and memories, memory by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.compare import references
from diffcheck.compare.rows import bits
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffcheck.capsule.layout import Layout
    from diffcheck.compare.allowances import Word
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import FinalState

_PAGE = 65_536


def compare(oracle: FinalState, subject: FinalState, layout: Layout, findings: Findings) -> list[tuple[int, int]]:
    """Compare everything except the bytes of pages.

    Returns (position in ``layout.memories``, number of a page of 64 KiB) for each page whose digests differ, for ``compare_page``.
    """
    counters(oracle.counters, subject.counters, findings)
    _globals(oracle, subject, findings)
    _sizes(oracle, subject, layout, findings)
    _references(oracle, subject, layout, findings)
    differing = []
    for at, (ones, theirs) in enumerate(zip(oracle.pages, subject.pages, strict=True)):
        findings.compared(0, pages=len(ones))
        findings.compared(len(ones), sum(1 for lanes in ones if lanes != (0, 0)))
        if len(ones) != len(theirs) and oracle.memories[at] == subject.memories[at]:
            item = f"pages of memory {layout.memories[at].index}"
            findings.diverge("memory", item, f"{len(ones)} digested", f"{len(theirs)} digested", shape=item)
        differing += [(at, page) for page, (one, other) in enumerate(zip(ones, theirs, strict=False)) if one != other]
        if oracle.memories[at] > len(ones):
            left = oracle.memories[at] - len(ones)
            findings.not_compared(f"{left} pages of memory {layout.memories[at].index} after the limit of digested pages")
    return differing


def counters(oracle: Mapping[int, int], subject: Mapping[int, int], findings: Findings) -> None:
    """Compare counters by id; a missing or an extra one is a divergence."""
    findings.compared_counters(len(oracle), sum(1 for value in oracle.values() if value))
    if oracle == subject:
        return
    for branch in sorted(oracle.keys() | subject.keys()):
        one, other = oracle.get(branch), subject.get(branch)
        if one == other:
            continue
        item = f"counter {branch}"
        if one is None or other is None:
            shape = "missing" if other is None else "extra"
            findings.diverge("counter", item, _absent(one), _absent(other), branch=branch, shape=shape)
            continue
        findings.diverge("counter", item, str(one), str(other), branch=branch)


def _absent(value: int | None) -> str:
    return "absent" if value is None else str(value)


def _references(oracle: FinalState, subject: FinalState, layout: Layout, findings: Findings) -> None:
    """Compare the elements of tables, references in globals, and their objects."""
    references.compare(references.of_state(oracle), references.of_state(subject), layout, findings)
    for table, (size, words) in enumerate(zip(oracle.tables, oracle.elements, strict=False)):
        if size > len(words):
            findings.not_compared(f"{size - len(words)} elements of table {table} after the first {len(words)}")


def _globals(oracle: FinalState, subject: FinalState, findings: Findings) -> None:
    for name, one in oracle.globals.items():
        other = subject.globals[name]
        if one.type == "ref":
            continue
        findings.compared(1, int(one.bits != 0))
        if one != other:
            item = f"global {visible(name)}"
            findings.diverge("global", item, str(one), str(other), shape=name, detail=bits(one, other))


def _sizes(oracle: FinalState, subject: FinalState, layout: Layout, findings: Findings) -> None:
    for table, (one, other) in enumerate(zip(oracle.tables, subject.tables, strict=True)):
        findings.compared(1, int(one != 0))
        if one != other:
            findings.diverge("table size", f"table {table}", f"{one} elements", f"{other} elements", shape=f"table {table}")
    for memory, one, other in zip(layout.memories, oracle.memories, subject.memories, strict=True):
        findings.compared(1, int(one != 0))
        if one != other:
            item = f"memory {memory.index}"
            findings.diverge("memory size", item, f"{one} pages", f"{other} pages", shape=item)


def compare_page(memory: int, page: int, differing: Sequence[Word], findings: Findings) -> None:
    """Record the differing words of a page as one divergence at the first differing byte, since one cause often changes many."""
    first = differing[0]
    byte = next(at for at in range(8) if (first.oracle ^ first.subject) >> 8 * at & 0xFF)
    address = page * _PAGE + first.offset + byte
    findings.diverge(
        "memory",
        f"memory {memory} at {address:#x}",
        f"{first.oracle >> 8 * byte & 0xFF:#04x}",
        f"{first.subject >> 8 * byte & 0xFF:#04x}",
        shape=f"memory {memory}",
        detail=f"the 8 bytes at {page * _PAGE + first.offset:#x}: {first.oracle:#018x} and {first.subject:#018x}"
        + (f", and {len(differing) - 1} more words of this page" if len(differing) > 1 else ""),
    )
