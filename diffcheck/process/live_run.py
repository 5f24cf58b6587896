"""The entry point of ``command_limits``. The package does not import it, since runpy would then load it twice."""

from __future__ import annotations

from diffcheck.process.command_limits import main

if __name__ == "__main__":
    main()
