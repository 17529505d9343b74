"""The meaning of facts, as pure functions; standard library only (see docs/numbers.md)."""
