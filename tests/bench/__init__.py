"""What the bridge costs, measured beside its goals: `make bench`; no test is here."""
