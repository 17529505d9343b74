"""The meaning of facts, as pure functions; standard library only (see README.md)."""
