"""A keeper that is executed because it could not be forked: ``python -m diffcheck.process.keeper_main MODULE``."""

from __future__ import annotations

import sys

from diffcheck.process.keeper import keep

if __name__ == "__main__":
    sys.exit(keep(sys.argv[1]))
