"""Everything after the 2xx: lease, fold, difference, throttle, write, acknowledge."""
