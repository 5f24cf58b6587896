"""The program that ``bounded`` describes; the package does not import it, so that it is loaded once."""

from __future__ import annotations

from diffcheck.process.command_limits import main

if __name__ == "__main__":
    main()
