"""The web process (everything before the 2xx), the command line, and what both share."""

__version__ = "1.0.0"
