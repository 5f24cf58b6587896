"""Two observations into divergences and allowances: pure functions that name no engine."""
