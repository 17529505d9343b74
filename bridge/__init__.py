"""Everything before the 2xx, and what people look at."""
