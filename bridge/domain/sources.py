"""What some sources tell and others do not, and so what the silence of each one means.

Beside `money.py`, which has the decimals of their amounts, nothing in the domain knows
sources by their names.
"""

from __future__ import annotations

TELL_LATE = frozenset({"stripe"})
"""Their `active` means that nothing is past due."""

TELL_QUANTITY = frozenset({"stripe"})
"""An item of theirs without a quantity is one; others may give its total alone."""

TELL_METADATA = frozenset({"stripe"})
"""Their subscriptions tell the traits that `bridge.toml` adds."""

TELL_BILLING = frozenset({"stripe"})
"""They tell of balances and cards; others have BILLING for a creation alone."""

HAVE_SCHEDULES = frozenset({"stripe", "chargebee"})
"""They may schedule changes of a subscription outside of it."""

TELL_SCHEDULES = frozenset({"stripe"})
"""Their API tells those, which no event does."""
