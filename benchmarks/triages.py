"""A table of triages: what came of each folder that ``diffcheck triage`` wrote, a line each, as docs/triage.md has it.

    python benchmarks/triages.py FOLDER...

FOLDER is a triage's own folder, or one that holds several. Nothing is run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from diffcheck.text import visible  # noqa: E402 - after the path
from diffcheck.triage.triage_folder import FILE, STEPS, State  # noqa: E402 - as above


def line(state: State) -> str:
    """One triage as a row of the table."""
    symptom = state.symptom
    sizes = f"{state.before.code:,} to {state.after.code:,}" if state.before and state.after else "-"
    found = str(state.localised) if state.localised else state.not_localised or "not reached"
    plain = "yes" if not state.standalone else f"no: {state.standalone}"
    left = [each for each in STEPS if each not in state.done]
    cells = [
        Path(state.artifact).stem,
        f"{symptom.item}: {symptom.oracle} against {symptom.subject}" if symptom else "-",
        ", ".join(state.rows) or "-",
        sizes + (f" (left: {', '.join(left)})" if left else ""),
        found,
        plain,
    ]
    return "| " + " | ".join(visible(each, 300).replace("|", "\\|") for each in cells) + " |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    files = sorted(file for folder in parser.parse_args().folders for file in folder.glob(f"**/{FILE}"))
    print("| artifact | divergence | rows | code bytes | localised | reproduces without diffcheck |")
    print("| --- | --- | --- | ---: | --- | --- |")
    for file in files:
        print(line(msgspec.json.decode(file.read_bytes(), type=State)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
