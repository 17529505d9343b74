"""The tests of vitally-bridge."""
