"""Everything before the 2xx, and what people look at."""

__version__ = "0.1.0"
