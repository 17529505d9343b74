"""All state, and it is in Redis: facts, leases, ledgers, counters, quarantine."""
