"""All state, kept in Redis: facts, leases, ledgers, counters, quarantine."""
