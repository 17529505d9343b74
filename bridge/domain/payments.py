"""What a party paid, owes and pays with: its invoices, balance, credit and cards.

The fold keeps each step of an invoice for good, so a repeated or late event counts once.
An invoice that is paid, void or written off is settled; only another such step changes it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

from bridge.domain.catalogue import Things
from bridge.domain.facts import source_of
from bridge.domain.money import UnknownError
from bridge.domain.sources import TELL_BILLING
from bridge.domain.subscription import holds
from bridge.domain.values import (
    BILLING,
    CUSTOMER,
    DUE,
    GRANTS,
    METHOD,
    PAYMENTS,
    PAYS,
    UNREAD,
    UNSETTLED,
    Grant,
    InvoiceStep,
)

HISTORY = "what it paid before is not known: `backfill` reads invoices, from Stripe"
NOT_READ = "what is left of its credit grants is in no event; STRIPE_API_KEY reads it"

TRIED_FOR = 60 * 60 * 1000
"""Milliseconds for which an attempt that is due may go without an event."""

Amounts = Mapping[str, str]
"""Minor units by currency, as exact text."""


class Invoice(NamedTuple):
    """An invoice of a party and its steps, the last one last."""

    party: str
    id: str
    steps: Sequence[InvoiceStep]

    @property
    def words(self) -> set[str]:
        """The names of its steps."""
        return {step["step"] for step in self.steps}

    def now(self, name: str) -> Any:
        """What its last step says of a *name*. Raises UnknownError.

        A step may be told after it was paid; then only one that settles it counts.
        """
        is_out = UNSETTLED if "paid" in self.words else ()
        own = [step for step in self.steps if step["step"] not in is_out]
        last = [step for step in own if step["at"] == own[-1]["at"]]
        said = {step.get(name) for step in last}
        if len(said) > 1 or UNREAD in {step["step"] for step in last}:
            raise UnknownError(f"{self.id}: its {name} is unread, or two events differ")
        return said.pop()

    def paid_at(self) -> int | None:
        """When it was first paid with money (ms); None: it is not. Raises UnknownError."""
        is_paid = self.now("amount") != "0" and "paid" in self.words
        times = (step["at"] for step in self.steps if step["step"] == "paid")
        return next(times) if is_paid and self.now("step") == "paid" else None

    def failed_at(self) -> int:
        """When its payment last failed (ms). Raises UnknownError."""
        failed = [step["at"] for step in self.steps if step["step"] == "failed"]
        if not failed:
            raise UnknownError(f"{self.id}: whether its payment failed is in no event")
        return failed[-1]

    def retry_at(self, now: int) -> int | None:
        """When it is tried again (ms); None: never, or nothing came of it by *now*."""
        at = self.now("retry")
        return at if at is not None and now < at + TRIED_FOR else None


@dataclass(frozen=True)
class Payer:
    """A *party*, and the *things* that its source tells of it."""

    party: str
    things: Things

    @property
    def is_told(self) -> bool:
        """Whether its source tells anything of payments."""
        has_billing = any(thing.startswith(BILLING) for thing in self.things)
        bills = has_billing and source_of(self.party) in TELL_BILLING
        return bills or PAYMENTS in self.things

    def _known(self, thing: str) -> Any:
        """The value of a *thing*. Raises UnknownError."""
        state = self.things.get(thing)
        if state is None or state.rivals or state.value.get("status") == UNREAD:
            raise UnknownError(f"{self.party}: no event has its {thing}, or two differ")
        return state.value

    # --- Invoices -------------------------------------------------------------------------

    @cached_property
    def _invoices(self) -> list[Invoice]:
        seen = sorted(self.things[PAYMENTS].seen) if PAYMENTS in self.things else ()
        told = json.loads(f"[{','.join(seen)}]") if seen else ()
        steps: defaultdict[str, list[InvoiceStep]] = defaultdict(list)
        for step in sorted(told, key=itemgetter("at")):
            steps[step["id"]].append(step)
        return [Invoice(self.party, *one) for one in steps.items()]

    def had(self, name: str) -> bool:
        """Whether an invoice of it ever had a step of this *name*."""
        return any(name in invoice.words for invoice in self._invoices)

    @cached_property
    def _paid(self) -> list[tuple[int, Invoice]]:
        """Those that were paid with money, not with credit, and when."""
        every = ((invoice.paid_at(), invoice) for invoice in self._invoices)
        return sorted((at, one) for at, one in every if at is not None)

    @cached_property
    def is_complete(self) -> bool:
        """Whether all that it ever paid is known: it was read, or seen from its creation.

        The latter proves it only once an invoice was paid: none may be sent at all.
        """
        own = self.things.get(BILLING)
        is_new = own is not None and own.creation_seen and self.had("paid")
        return bool(is_new or (own and "read" in own.seen))

    @cached_property
    def failing(self) -> list[Invoice]:
        """Its invoices that are open although somebody tried to charge them."""
        return [i for i in self._invoices if i.words <= UNSETTLED and i.words != {DUE}]

    def paid_at(self, place: int) -> int | None:
        """When it paid first (*place* 0) or last (-1), in ms. Raises UnknownError."""
        if not (self.is_complete or (self._paid and place)):
            raise UnknownError(f"{self.party}: {HISTORY}")
        return self._paid[place][0] if self._paid else None

    def paid(self, since: int | None) -> Amounts:
        """What it paid of invoices that are paid *since* an instant (ms).

        None: ever, and of any. Raises UnknownError.
        """
        self.paid_at(0 if since is None else -1)
        own = [one for at, one in self._paid if since is not None and at >= since]
        every = self._invoices if since is None else own
        return summed((one.now("currency"), one.now("amount")) for one in every)

    # --- Balance, credit and cards --------------------------------------------------------

    def balance(self) -> Amounts:
        """What it owes beside its invoices; below 0: its credit. Raises UnknownError."""
        value = self._known(BILLING)
        if value.get("balance") != "0" and not {"balance", "currency"} <= value.keys():
            raise UnknownError(f"{self.party}: its balance is not in the event")
        return {value.get("currency", ""): value["balance"]}

    @property
    def _grants(self) -> list[Grant]:
        """Its credit grants; a deleted customer has none. Raises UnknownError."""
        customer, is_told = self.things.get(CUSTOMER), GRANTS in self.things
        if not is_told or (customer and customer.value.get("deleted")):
            return []
        if (grants := self._known(GRANTS).get("grants")) is None:
            raise UnknownError(f"{self.party}: {NOT_READ}")
        return list(grants)

    def credit(self, now: int) -> Amounts:
        """What its balance is below 0, and its grants at *now* (ms). Raises UnknownError."""
        own = [(c, str(max(0, -Fraction(a)))) for c, a in self.balance().items()]
        own += [(g["currency"], g["left"]) for g in self._grants if holds(g, now)]
        return summed(own)

    @property
    def dates(self) -> set[int]:
        """The instants (ms) at which its traits may change without an event."""
        tries = (invoice.steps[-1].get("retry") for invoice in self.failing)
        found = {at + TRIED_FOR for at in tries if at}
        with suppress(UnknownError):
            found |= {g[k] for g in self._grants for k in ("from", "until") if k in g}
        return found

    def expires(self, live: Collection[str]) -> int | None:
        """When the first card expires that pays what is *live* (ms). Raises UnknownError."""
        own = self._known(BILLING).get("method")
        methods = [self._known(PAYS + id_).get("method", own) for id_ in live] or [own]
        cards = [self._known(METHOD + one) for one in methods if one is not None]
        return min((c["expires"] for c in cards if "expires" in c), default=None)


def summed(amounts: Iterable[tuple[str, str]]) -> Amounts:
    """The sums by currency; the same amounts come again and again."""
    sums: defaultdict[str, Fraction] = defaultdict(Fraction)
    for (currency, amount), times in Counter(amounts).items():
        sums[currency] += times * Fraction(amount)
    return {currency: str(amount) for currency, amount in sums.items()}
