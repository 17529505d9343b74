"""What facts mean: pure functions over facts, standard library only (see README.md)."""
