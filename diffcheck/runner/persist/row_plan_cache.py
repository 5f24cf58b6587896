"""Planned rows in the cache, by everything that they depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.runner.row_plans.row_planning import RowPlan

if TYPE_CHECKING:
    from diffcheck.runner.engine_files import BuildWatch
    from diffcheck.runner.persist.cache_files import Store

_decode = msgspec.msgpack.Decoder(RowPlan).decode


class StoredRowPlans:
    """The planned rows in the store (``auto_rows.RowPlans``); ``key`` is that of the oracle."""

    def __init__(self, store: Store, key: str, watch: BuildWatch) -> None:
        self._store, self._key, self._watch = store, key, watch

    def get(self, name: str) -> RowPlan | None:
        """The plan under a name; None if there is none."""
        data = self._store.get(f"{self._key}/rows {name}")
        try:
            return _decode(data) if data else None
        except msgspec.MsgspecError:
            return None

    def put(self, name: str, plan: RowPlan) -> None:
        """Store a plan; raises ``EngineUnusableError`` if the oracle's build changed."""
        self._watch.require()
        self._store.put(f"{self._key}/rows {name}", msgspec.msgpack.encode(plan))
