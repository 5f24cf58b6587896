"""The rows of ``--auto-rows``, planned by trials under the oracle."""
