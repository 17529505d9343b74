"""The traits: a table of how each is computed from the subscriptions of one source.

A trait is a value, `None` (known to have none) or `Unknown` (left out of the write).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from itertools import chain, product
from math import prod
from operator import attrgetter
from typing import Any, NamedTuple

from bridge.domain.facts import source_of
from bridge.domain.fold import LATE
from bridge.domain.forecast import ForecastPoint, forecast
from bridge.domain.money import (
    ZERO,
    Policy,
    UnknownError,
    added,
    decimals,
    exact,
    major,
    rounded,
)
from bridge.domain.payments import (
    HISTORY,
    Amounts,
    Invoice,
    Payer,
    summed,
)
from bridge.domain.sources import TELL_BILLING, TELL_LATE, TELL_METADATA
from bridge.domain.subscription import (
    NO_CURRENCY,
    NOT_ALL_ITEMS,
    Payment,
    Subscription,
    cancels_at,
    detail,
    intervals,
    payment,
    plan_names,
    renews_at,
    seats,
    told,
)
from bridge.domain.values import ENDED, MOST, shortened


class Unknown(NamedTuple):
    """A trait that the facts do not determine, with the reason."""

    reason: str


Known = str | int | float | None
Result = Known | Unknown

SILENT = Unknown("")
"""The source has no facts about the trait, so it has no opinion."""

STAYS = Unknown(".")
"""The source has facts, but they neither give a value nor say that there is none."""

MOST_VIEWS = 64
"""Most possible accounts that are computed if the order of events is not certain."""

STRONGEST = ("past_due", "active", "trialing", "paused", "incomplete", "unpaid")
"""The account's status is the first of these that any subscription has."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(milliseconds: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    at = EPOCH + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True)
class AccountView:
    """What a trait is computed from: subscriptions, a policy and an instant (ms)."""

    all: tuple[Subscription, ...]
    policy: Policy
    now: int
    payers: tuple[Payer, ...] = ()
    """The source's parties, if it tells anything of their payments."""

    @cached_property
    def live(self) -> list[Subscription]:
        """Subscriptions that are live, whether or not their amounts count."""
        return [sub for sub in self.all if sub.is_live]

    @cached_property
    def counting(self) -> list[Subscription]:
        """Subscriptions whose amounts count in MRR."""
        return [s for s in self.all if s.status in self.policy.statuses]

    def possible(self) -> list[AccountView]:
        """Every view that may be the true one, this one first; empty if there are too many."""
        choices = [(sub, *sub.rivals) for sub in self.all]
        if prod(map(len, choices)) > MOST_VIEWS:
            return []
        return [replace(self, all=subs) for subs in product(*choices)]


def _payment(sub: Subscription, view: AccountView) -> Payment:
    return payment(sub, view.policy, view.now)


def _recurring(view: AccountView, payments: list[Payment], *, months: int) -> Result:
    """What all subscriptions that count pay in so many *months*."""
    if not payments:
        return None if view.policy.empty == "null" else 0
    paid = zip(view.counting, payments, strict=True)
    sums = _sums(view, ((sub.currency, one.monthly) for sub, one in paid))
    return _rounded(view, sums, months)


def _sums(
    view: AccountView, amounts: Iterable[tuple[str | None, Fraction]]
) -> dict[str, Fraction]:
    """*amounts* in minor units, added up by currency in major units."""
    minor: defaultdict[str, list[Fraction]] = defaultdict(list)
    for currency, amount in amounts:
        # Zero is zero in every currency, so free subscriptions need no rate.
        if amount:
            minor[currency or ""].append(amount)
    sources, sums = {sub.source for sub in view.all}, {}
    for code, all_ in minor.items():
        sums[code], *more = {exact(added(all_), code, source) for source in sources}
        if more:
            raise UnknownError(f"sources count {code.upper()} in different units")
    return sums


def _rounded(
    view: AccountView, sums: Mapping[str, Fraction], months: int = 1
) -> int | float:
    """The *sums* of a month by currency as one number for so many *months*."""
    if len(sums) > 1:
        sums = _converted(sums, view.policy)
    code, amount = next(iter(sums.items()), ("", ZERO))
    amount *= months
    if abs(amount.numerator) * 10 ** decimals(code) > MOST * amount.denominator:
        raise UnknownError(f"it is too large for an exact number: over {MOST}")
    return rounded(amount, code)


def _converted(sums: Mapping[str, Fraction], policy: Policy) -> dict[str, Fraction]:
    """The *sums* by currency, in major units, converted to one sum in the base currency."""
    rates = {code: rate for code in sums if (rate := policy.rate(code)) is not None}
    if policy.base is None or rates.keys() < sums.keys():
        listed = ", ".join(sorted(sums)).upper()
        raise UnknownError(f"several currencies and no rates: {listed}")
    worth = (amount * rates[code] for code, amount in sums.items())
    return {policy.base: sum(worth, ZERO)}


def _instant(
    choose: Callable[[list[int]], int], _: AccountView, dates: Iterable[int | None]
) -> str | None:
    """The earliest (*choose* is `min`) or latest of the *dates* (ms) that are not None."""
    there = [date for date in dates if date is not None]
    return instant(choose(there)) if there else None


_earliest, _latest = partial(_instant, min), partial(_instant, max)


def _listed(_: AccountView, words: Iterable[str | None]) -> Result:
    """The *words*, sorted and joined by commas; `null` without any."""
    return shortened(", ".join(sorted({*filter(None, words)}))) or None


def _churned(view: AccountView, ends: list[int | None]) -> Result:
    is_over = all(s.status in ENDED or s.status == "unpaid" for s in view.all)
    return _latest(view, ends) if is_over else None


def _trial_end(view: AccountView, ends: list[int | None]) -> Result:
    tried = [one for one in zip(view.all, ends, strict=True) if one[0].had_trial]
    for sub, end in tried:
        if end is None:  # Some sources tell it during the trial alone.
            raise UnknownError(f"{sub.id}: when its trial ended is not in the event")
    return _latest(view, (end for _, end in tried)) or SILENT


def _status(view: AccountView, words: list[str]) -> Result:
    ended = "churned" if any(sub.was_live for sub in view.all) else "unconverted"
    return next((word for word in STRONGEST if word in words), ended)


def _plan(view: AccountView, names: list[list[str]]) -> Result:
    for sub in view.live:
        if sub.is_partial:
            raise UnknownError(f"{sub.id}: {NOT_ALL_ITEMS}")
    return _listed(view, chain.from_iterable(names))


def _currency(view: AccountView, _: list[str | None]) -> Result:
    subs = view.live or [sub for sub in view.all if sub.status == "trialing"]
    codes = {sub.currency for sub in subs}
    if len(codes) > 1:
        # A free subscription is free in any currency.
        codes = {sub.currency for sub in subs if not _is_free(sub, view)} or codes
    if len(codes) > 1:
        raise UnknownError("several currencies")
    if None in codes:
        raise UnknownError(NO_CURRENCY)
    return next((code.upper() for code in codes if code), STAYS)


def _is_free(sub: Subscription, view: AccountView) -> bool:
    try:
        return _payment(sub, view).monthly == 0
    except UnknownError:
        return False


def _interval(view: AccountView, rhythms: list[list[str]]) -> Result:
    return _listed(view, chain.from_iterable(rhythms))


def _seats(_: AccountView, quantities: list[str | None]) -> Result:
    seats = [Fraction(one) for one in quantities if one is not None]
    whole = added(seats)
    if whole > MOST:
        raise UnknownError(f"it is too large for an exact number: over {MOST}")
    return (int(whole) if whole == int(whole) else float(whole)) if seats else None


def _late_since(sub: Subscription, _: AccountView) -> int | None:
    since = sub.late_since if sub.status in LATE else None
    if since == 0 or not (sub.source in TELL_LATE or sub.seen & LATE):
        raise UnknownError(f"{sub.id}: whether or since when it is overdue is not told")
    return since


def _agreeing(_: AccountView, values: list[list[Any]]) -> Result:
    """What the live subscriptions say, else the trialing ones; `null` if there are none.

    Left out if they do not agree.
    """
    every = {*chain.from_iterable(values)}
    if len(every) > 1:
        listed = ", ".join(sorted(map(str, every)))
        raise UnknownError(f"its subscriptions do not agree: {listed}")
    return next(iter(every), None)


def _speaking(view: AccountView) -> list[Subscription]:
    subs = [sub for sub in view.all if sub.source in TELL_METADATA]
    live = [sub for sub in subs if sub.is_live]
    return live or [sub for sub in subs if sub.status == "trialing"]


def _leaving(view: AccountView) -> list[Subscription]:
    """The live subscriptions that end first; once all are over, those that ended last."""
    choose, ends = min, [(sub, cancels_at(sub)) for sub in view.live]
    if all(sub.status in ENDED or sub.status == "unpaid" for sub in view.all):
        over = [sub for sub in view.all if sub.was_live] or view.all
        choose, ends = max, [(sub, sub.ended_at) for sub in over]
    dates = [end for _, end in ends if end is not None]
    return [sub for sub, end in ends if dates and end == choose(dates)]


def _forecast_at(view: AccountView, plans: list[list[ForecastPoint]]) -> Result:
    return _latest(view, _outlook(view, plans)[1])


def _less(view: AccountView, plans: list[list[ForecastPoint]], *, share: int) -> Result:
    """What will be paid in the end, less a *share* (0 or 1) of what is paid now."""
    found, _ = _outlook(view, plans)
    now, then = found[0] or {}, found[-1] or {}
    if len({**now, **then}) > 1:
        now, then = (one and _converted(one, view.policy) for one in (now, then))
    left = {c: then.get(c, ZERO) - share * now.get(c, ZERO) for c in {**now, **then}}
    return _rounded(view, left) if any(one is not None for one in found) else None


def _outlook(
    view: AccountView, plans: list[list[ForecastPoint]]
) -> tuple[list[dict[str, Fraction] | None], list[int]]:
    """What is paid a month by currency, now and after each change, and their dates (ms).

    None: nothing counts.
    """
    found: list[dict[str, Fraction] | None] = []
    changes: list[int] = []
    for date in sorted({point[0] for plan in plans for point in plan}):
        last = [[point for point in plan if point[0] <= date][-1] for plan in plans]
        paid = [(code, Fraction(text)) for _, code, text in last if text is not None]
        sums = _sums(view, paid) if paid else None
        if found and sums != found[-1]:
            changes.append(date)
        found.append(sums)
    return found, changes


# --- Traits about payments ------------------------------------------------------------


def _failed_at(view: AccountView, times: list[int]) -> Result:
    if not times and not all(p.is_complete or p.had("failed") for p in view.payers):
        raise UnknownError(HISTORY)
    return _latest(view, times)


def _retry_at(view: AccountView, times: list[int | None]) -> Result:
    return _earliest(view, times) if times else _failed_at(view, [])


def _last_amount(view: AccountView, amounts: list[Amounts]) -> Result:
    return _major(view, amounts) if any(amounts) else None


def _major(view: AccountView, amounts: Iterable[Amounts]) -> Result:
    """The sum of *amounts* in major units; zero is zero in every currency."""
    sums = summed(chain.from_iterable(one.items() for one in amounts))
    there = {code: Fraction(amount) for code, amount in sums.items() if amount != "0"}
    if len(there) > 1:
        raise UnknownError(f"several currencies: {', '.join(sorted(there)).upper()}")
    source = source_of(view.payers[0].party)
    return next((major(amount, code, source) for code, amount in there.items()), 0)


def _failing(view: AccountView) -> list[Invoice]:
    return [invoice for payer in view.payers for invoice in payer.failing]


def _paid_then(payer: Payer, view: AccountView) -> Amounts:
    """What a party paid when the account paid last."""
    return payer.paid(max(one.paid_at(-1) or 0 for one in view.payers))


def _expires(payer: Payer, view: AccountView) -> int | None:
    return payer.expires([sub.id for sub in view.live if sub.party == payer.party])


class Trait(NamedTuple):
    """One trait of an account, computed from its subscriptions, or its parties' payments.

    *of* selects the subscriptions, *tells* returns what one of them contributes, and
    *sums_up* combines these. The last two raise UnknownError if the facts do not say.
    """

    sums_up: Callable[[AccountView, list[Any]], Result]
    of: Callable[[AccountView], Sequence[Any]]
    tells: Callable[[Any, AccountView], Any]
    about: str = "all"
    """What of a view it is about; without that the source has no opinion."""
    told_by: Collection[str] = ()
    """The only sources that can tell it; (): any."""

    def read(self, view: AccountView) -> Result:
        """The trait's value in *view*."""
        about, by = getattr(view, self.about), self.told_by
        if not about or (by and not any(source_of(one.party) in by for one in about)):
            return SILENT
        try:
            return self.sums_up(view, [self.tells(sub, view) for sub in self.of(view)])
        except UnknownError as error:
            return Unknown(str(error))


def _points(sub: Subscription, view: AccountView) -> list[ForecastPoint]:
    return forecast(sub, view.policy, view.now)


def _ever_live(view: AccountView) -> list[Subscription]:
    return [sub for sub in view.all if sub.was_live]


def _told(name: str) -> Callable[[Subscription, Any], Any]:
    return lambda sub, _: detail(sub, name)


def _billed(view: AccountView) -> list[Payer]:
    return [one for one in view.payers if source_of(one.party) in TELL_BILLING]


ALL, LIVE, COUNTING, PAYERS = map(attrgetter, ("all", "live", "counting", "payers"))

_Paid = partial(Trait, about="payers")
_Billed = partial(_Paid, of=_billed, told_by=TELL_BILLING)


class Always:
    """The traits that every bridge writes, in the order in which people see them."""

    mrr = Trait(partial(_recurring, months=1), COUNTING, _payment)
    """What all live subscriptions (`active`, `past_due`) pay per month.

    In major units, summed exactly and rounded once; `null` while none is live.
    """
    nextRenewalDate = Trait(_earliest, LIVE, lambda sub, _: renews_at(sub))
    """The next date on which a live subscription renews.

    The earliest end of a licensed item's period, over the subscriptions that will renew
    (one that is set to end will not); else `null`.
    """
    churnedAt = Trait(_churned, ALL, lambda s, _: s.ended_at if s.was_live else None)
    """When the last of the subscriptions that were ever live ended.

    `null` as soon as a subscription is live, trialing, paused or incomplete again.
    """
    trialEndDate = Trait(_trial_end, ALL, lambda sub, _: sub.trial_end)
    """The latest trial end; earlier if the subscription ended before it.

    It stays after the trial converts.
    """
    subscriptionStatus = Trait(_status, ALL, lambda sub, _: sub.status)
    """The strongest status of all subscriptions.

    The first of past_due, active, trialing, paused, incomplete, unpaid, churned that
    applies; `unconverted` if none was ever live.
    """
    planName = Trait(_plan, LIVE, lambda sub, _: sorted(plan_names(sub)))
    """The plan names of the live subscriptions, sorted and joined by commas.

    `null` while nothing is live.
    """
    billingCurrency = Trait(_currency, ALL, lambda sub, _: sub.currency)
    """The ISO code of the live subscriptions' currency, else of the trialing ones'.

    A free subscription in another currency does not count. Left out, so that Vitally's
    value stays, if there are several or if none is left.
    """
    cancelAt = Trait(_earliest, LIVE, lambda sub, _: cancels_at(sub))
    """The earliest scheduled end of a live subscription, else `null`."""


class Optional:
    """Those that `[traits] use` in `bridge.toml` switches on."""

    arr = Trait(partial(_recurring, months=12), COUNTING, _payment)
    """What they pay per year: twelve times `mrr` before it is rounded, rounded once."""
    billingInterval = Trait(_interval, LIVE, lambda sub, _: sorted(intervals(sub)))
    """How often the live subscriptions are billed: `month`, `year`, `3 months`.

    That of the licensed items; of metered usage only in a subscription without them.
    Several are sorted and joined by commas; `null` while nothing is live.
    """
    seats = Trait(_seats, LIVE, lambda sub, _: seats(sub))
    """The quantities of the live subscriptions' licensed items, added up.

    An add-on counts too; `null` while nothing is live, or usage alone.
    """
    pastDueSince = Trait(_earliest, ALL, _late_since)
    """When the present spell of `past_due` or `unpaid` began; `null` if there is none.

    The first event of the spell; of several subscriptions, the earliest.
    """
    startedAt = Trait(_earliest, _ever_live, _told("startedAt"))
    """When the first of the subscriptions that were ever live began, with its trial.

    `null` if none ever was live.
    """
    cancelReason = Trait(_listed, _leaving, _told("cancelReason"))
    """Why the live subscription that ends first ends, or why the last one ended.

    The reason that the customer chose (`too_expensive`), else the system's
    (`payment_failed`); `null` if there is none, or if none ended and none will.
    """
    cancelComment = Trait(_listed, _leaving, _told("cancelComment"))
    """What the customer wrote about that, else `null`."""
    collectionMethod = Trait(_listed, LIVE, _told("collectionMethod"))
    """How the live subscriptions are paid: `charge_automatically` or `send_invoice`.

    Both are joined by a comma; `null` while nothing is live.
    """
    forecastMrr = Trait(partial(_less, share=0), ALL, _points)
    """What `mrr` will be after the last change within a year that is known today.

    Known are scheduled ends, trials (they convert), phases of schedules, and ends of
    discounts that count; a pending update is not, until its payment applies it. 0 once
    all have ended; `null` if nothing counts now or will.
    """
    forecastMrrChange = Trait(partial(_less, share=1), ALL, _points)
    """By how much `forecastMrr` differs from `mrr`, rounded once; `null` like that.

    If now and then together have several currencies, both are converted with
    `[money] rates`; without rates both are left out.
    """
    forecastAt = Trait(_forecast_at, ALL, _points)
    """When that change takes place, the last of several; `null` if none is known."""
    paymentFailedAt = _Paid(_failed_at, _failing, lambda one, _: one.failed_at())
    """When the payment of an invoice that is still open last failed.

    `null` once each such invoice is paid, void or written off.
    """
    paymentRetryAt = _Paid(_retry_at, _failing, lambda o, v: o.retry_at(v.now))
    """When the next attempt to collect such an invoice is due; `null` if none is.

    `null` too from an hour after it on, until an event says what came of it.
    """
    accountBalance = _Billed(_major, tells=lambda payer, _: payer.balance())
    """What is owed beside invoices, with Stripe's sign: below 0 it is credit.

    The next invoice adds what is above 0, and takes off what is below.
    """
    creditBalance = _Billed(_major, tells=lambda p, view: p.credit(view.now))
    """The credit on that balance (what it is below 0), and what is left of credit grants.

    Paid and promotional ones, from when they take effect until they expire. What is left
    is read with STRIPE_API_KEY; without it, a customer with a grant has no known credit.
    """
    firstPaidAt = _Paid(_earliest, PAYERS, lambda payer, _: payer.paid_at(0))
    """When an invoice was first paid with money, not with credit; `null`: none ever was."""
    lastPaidAt = _Paid(_latest, PAYERS, lambda payer, _: payer.paid_at(-1))
    """When an invoice was last paid with money; `null`: none ever was."""
    lastPaidAmount = _Paid(_last_amount, PAYERS, _paid_then)
    """What was paid then, in major units; invoices of one instant are added up."""
    lifetimePaid = _Paid(_major, PAYERS, lambda payer, _: payer.paid(None))
    """What was paid of invoices in money: the sum of `amount_paid`, taxes included.

    Also of invoices that were paid in part, whatever became of the rest. Before refunds,
    and before credit notes that were issued after the payment.
    """
    paymentMethodExpiresAt = _Billed(_earliest, tells=_expires)
    """When the first card expires that pays a live subscription (its month's end, UTC).

    The subscription's own default method of payment, else the customer's; the
    customer's if nothing is live. `null` if nothing that expires pays.
    """


ALWAYS, OPTIONAL = (
    {name: one for name, one in vars(table).items() if isinstance(one, Trait)}
    for table in (Always, Optional)
)
TABLE: Mapping[str, Trait] = {**ALWAYS, **OPTIONAL}


def by_currency(view: AccountView) -> Iterator[tuple[str, AccountView]]:
    """Yield `mrrEUR`, … and what it is computed from, where currencies cannot be summed."""
    codes = {sub.currency or "" for sub in view.counting if not _is_free(sub, view)}
    for code in sorted(codes) if len(codes) > 1 and all(codes) else ():
        subs = tuple(sub for sub in view.all if sub.currency == code)
        yield f"mrr{code.upper()}", replace(view, all=subs)


def used(policy: Policy) -> Mapping[str, Trait]:
    """The rows of TABLE that *policy* writes, and those of traits that `bridge.toml` adds."""
    return _rows(policy.use)


@lru_cache  # an account asks many times for the same
def _rows(use: frozenset[str]) -> Mapping[str, Trait]:
    rows = {n: row for n, row in TABLE.items() if n in ALWAYS or n in use}
    return rows | {name: _own(name) for name in sorted(use - TABLE.keys())}


def _own(name: str) -> Trait:
    return Trait(
        _agreeing, _speaking, lambda sub, _: told(sub, name), told_by=TELL_METADATA
    )
