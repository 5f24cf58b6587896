"""The pictures of the README, from a stored run of real engines: ``python docs/pictures/make.py``.

``console.svg`` is the terminal's report at 120 columns, ``page.png`` the HTML page in a headless Chromium. Without a Chromium only
the first is made. With ``--kilnd PATH`` the run is made anew first and replaces ``report.json``.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

import diffcheck
from diffcheck.report import console, files, json_file

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
COMMAND: Final = (
    "run corpus/01-decisions corpus/09-engine/plugin_unload.wasm corpus/09-engine/retry_loop.wasm "
    "corpus/09-engine/sensor_rounding.wasm"
)
COLUMNS: Final = 120
PAGE_PIXELS: Final = (1280, 900)
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")


def recorded(kilnd: str, folder: Path) -> diffcheck.Report:
    """A new run of the cases, its clusters localised; no path of this machine is left in it."""
    command = (*COMMAND.split(), "--kilnd", kilnd, "--no-cache", "--causes", "auto", "--reports", str(folder))
    subprocess.run([sys.executable, "-m", "diffcheck", *command], cwd=ROOT, check=False)
    report = diffcheck.load_report(folder)
    engines = {
        name: msgspec.structs.replace(identity, path=identity.name, found=found)
        for name, identity, found in (("subject", report.subject, "PATH"), ("oracle", report.oracle, report.oracle.found))
    }
    return msgspec.structs.replace(report, options={}, root="", **engines)


def console_svg(report: diffcheck.Report) -> str:
    """The report on a terminal, as SVG."""
    recorder = Console(record=True, width=COLUMNS, file=io.StringIO(), markup=False, highlight=False, emoji=False)
    recorder.print(f"$ diffcheck {COMMAND}", style="bold")
    console.render(report, recorder, stored="reports/report.json", page="reports/report.html")
    return recorder.export_svg(title="diffcheck", theme=DIMMED_MONOKAI, unique_id="diffcheck")


def page_png(report: diffcheck.Report, chromium: str, target: Path) -> None:
    """A screenshot of the top of the report's page."""
    width, height = PAGE_PIXELS
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / files.PAGE
        files.write(report, "html", page)
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")
        picture = (f"--screenshot={target}", f"--window-size={width},{height}", f"--user-data-dir={folder}/profile", page.as_uri())
        subprocess.run([chromium, *flags, *picture], check=True, capture_output=True, timeout=120)


def main() -> None:
    """Make the pictures that can be made here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kilnd", help="run the cases anew under this kilnd first")
    kilnd = parser.parse_args().kilnd
    if kilnd:
        with tempfile.TemporaryDirectory() as folder:
            json_file.write(recorded(kilnd, Path(folder)), HERE)
    report = diffcheck.load_report(HERE)
    (HERE / "console.svg").write_text(console_svg(report))
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit("there is no Chromium here: page.png was not made")
    page_png(report, chromium, HERE / "page.png")


if __name__ == "__main__":
    main()
