"""Who changed a component's results: meld, witness, the capsule, or the engine."""
