"""The answer to "why does Acme show 900?", in lines and as data."""

from __future__ import annotations

from typing import Any

from bridge.cli import session
from bridge.cli.program import program
from bridge.config import Config
from bridge.domain.account import Account, unite
from bridge.domain.document import Document, difference, document, keyed
from bridge.domain.explanation import explain
from bridge.domain.money import PricedItem, Unknown, major
from bridge.domain.policy import Policy
from bridge.domain.subscription import Subscription, worked
from bridge.log import places
from bridge.store.inspect import Look, Record, Standing
from bridge.store.view import Member


def account_lines(record: Record, config: Config, now: int) -> list[str]:
    """Return all there is to say of an account, for a person."""
    account = unite(record.account, record.parties, now)
    doc = document(account, config.policy, now)
    lines = [f"account {record.account}: {doc.name.text}", ""]
    lines += _traits(record, doc, config)
    for member in record.members:
        lines += ["", *_party(member, record, account, config.policy, now)]
    if record.tries:
        lines += ["", f"the last write failed; tried {record.tries} times so far"]
    if record.history:
        lines += ["", "last written (UTC)"]
        lines += [f"  {_history(line)}" for line in record.history]
    return lines


def party_lines(look: Look, standing: Standing) -> list[str]:
    """Return what is known of a party that has no account."""
    things = _things(look.member(standing.party))
    if not standing.held:
        waits = f"party {standing.party} waits for its job: see `{program()} status`"
        return [waits, *things]
    lines = [f"party {standing.party} is held: {standing.why}", *things]
    return [*lines, "", f"link it: {program()} link {standing.party} ACCOUNT"]


def account_data(record: Record, config: Config, now: int) -> dict[str, Any]:
    """Return the same for another program."""
    account = unite(record.account, record.parties, now)
    doc = document(account, config.policy, now)
    change = difference(keyed(doc, config.traits, record.ledger), record.ledger)
    return {
        "account": record.account,
        "name": doc.name.text,
        "written": dict(record.ledger.traits),
        "facts_say": dict(doc.traits),
        "unknown": dict(doc.unknown),
        "because": dict(explain(account, config.policy, now)),
        "to_write": dict(change.traits),
        "parties": [one._asdict() for one in record.standings],
        "incomplete": list(record.incomplete),
        "facts": [_fact(m, thing) for m in record.members for thing in m.things],
        "history": list(record.history),
    }


def fault(look: Look, account: str, error: Exception, *, as_json: bool) -> list[str]:
    """Return the lines of how an *account* (or party) stands whose numbers cannot be worked out."""
    where = " at ".join([type(error).__name__, *places(error)[-1:]])
    said = f"its numbers cannot be worked out, by a fault of the bridge: {where}"
    own = look.standing(account)
    names = [account] if own else look.members_of(account)
    found = [one for one in map(look.standing, names) if one]
    if as_json:
        data = {
            "account": account,
            "fault": said,
            "parties": [one._asdict() for one in found],
        }
        return session.as_json(data)
    lines = [f"{account}: {said}", "what Vitally has stays as it is", ""]
    for one in found:
        waits = f"{one.pending} pending, {one.held} held, {one.parked} parked"
        lines.append(f"party {one.party}: {one.rev} events, {waits}")
        lines += [f"  {one.why}"] if one.why else []
    return lines


def _fact(member: Member, thing: str) -> dict[str, Any]:
    state = member.things[thing]
    return {
        "party": member.name,
        "thing": thing,
        "event": state.fact.event,
        "kind": state.fact.kind,
        "at": state.fact.stamp.at,
        "ambiguous": state.ambiguous,
        "value": dict(state.value),
    }


def _traits(record: Record, doc: Document, config: Config) -> list[str]:
    rows: list[tuple[object, ...]] = [("TRAIT", "IN VITALLY", "FACTS SAY")]
    gone = keyed(doc, config.traits, record.ledger).gone
    for trait, key in config.traits.items():
        written = record.ledger.traits.get(key, "(not written)") if key else "(off)"
        if trait in doc.unknown:
            says: object = f"unknown: {doc.unknown[trait]}"
        elif key in gone:
            says = "none: nobody tells it any more"
        else:
            says = doc.traits.get(trait, "(nothing known)")
        name = trait if key in {trait, None} else f"{trait} as {key}"
        rows.append((name, _shown(written), _shown(says)))
    return session.table(rows)


def _shown(value: object) -> object:
    return "none" if value is None else value


def _party(
    member: Member, record: Record, account: Account, policy: Policy, now: int
) -> list[str]:
    standing = next(s for s in record.standings if s.party == member.name)
    state = f"{standing.settled} of {standing.rev} events settled"
    for word in ("pending", "held", "parked"):
        count = getattr(standing, word)
        state += f", {count} {word}" if count else ""
    lines = [f"party {member.name}: {state}"]
    if standing.why:
        lines.append(f"  {standing.why}")
    if member.name in record.incomplete:
        lines.append("  incomplete history: first met in mid-life")
    lines += _things(member)
    for sub in account.at(now).subscriptions:
        if sub.party == member.name and sub.status in policy.statuses:
            lines += _pays(sub, policy, now)
    return lines


def _things(member: Member) -> list[str]:
    lines: list[str] = []
    for thing, state in sorted(member.things.items()):
        at = session.moment(state.fact.stamp.at)
        word = state.value.get("status") or state.value.get("account") or ""
        sure = "  (ambiguous order)" if state.ambiguous else ""
        told = f"{state.fact.kind} {state.fact.event} at {at}"
        lines.append(f"  {thing}  {word}  <- {told}{sure}")
    return lines


def _pays(sub: Subscription, policy: Policy, now: int) -> list[str]:
    found = worked(sub, policy, now)
    if isinstance(found, Unknown):
        return [f"  mrr is not known: {found.reason}"]
    code = sub.currency or ""
    total = f"{major(found.total, code, sub.source)} {code.upper()} a month"
    return [
        f"  {sub.id} pays {total}",
        *(f"    {_item(line, code, sub.source)}" for line in found.lines),
    ]


def _item(line: PricedItem, code: str, source: str) -> str:
    interval, count = line.interval
    rhythm = interval if count == 1 else f"{count} {interval}s"
    name = line.price or "an item"
    gross = (
        f"{line.quantity} x {name} every {rhythm}: {major(line.gross, code, source)}"
    )
    if not line.taken:
        return gross
    return f"{gross}, less {', '.join(line.taken)}: {major(line.monthly, code, source)}"


def _history(line: Any) -> str:
    name = f" name={line['name']!r}" if "name" in line else ""
    traits = ", ".join(f"{k}={_shown(v)}" for k, v in line["traits"].items())
    return f"{session.moment(line['at'])} {line['did']}{name} {traits}"
