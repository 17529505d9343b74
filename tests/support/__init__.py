"""What the tests share: a real Redis, real processes, and waiting with a deadline."""
