"""The demo: a month of eight customers, played through everything, on this machine."""
