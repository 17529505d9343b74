"""The form of a table `[sources.NAME]`, and what each mistake in one is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from bridge.config import NATIVE
from bridge.domain.facts import Rank
from bridge.domain.values import LONGEST
from bridge.settings import base_url
from bridge.sources.generic.convert import text
from bridge.sources.generic.delivery import FORMS
from bridge.sources.generic.paths import (
    Named,
    TableSchema,
    Texts,
    Value,
    ValuePath,
    one_of,
    schema,
)
from bridge.sources.generic.proof import Verify
from bridge.webhook.fields import NAME

WORD = r"[a-z0-9_-]{1,40}"
TYPE = r"[\x21-\x7e]{1,255}"
LOCAL = re.compile(r"http://(127\.0\.0\.1|localhost)(:[0-9]+)?")

PHRASES = {
    "Missing data for required field.": "is missing",
    "Unknown field.": "is no line of this table",
    "Invalid input type.": "must be a table",
    "Not a valid string.": "must be a text in quotes",
    "Not a valid boolean.": "must be true or false",
    "Not a valid integer.": "must be a whole number",
    "Not a valid mapping type.": "must be a table",
}
"""What marshmallow says -> how it is said here."""

DATE = ("instant", "day")
OURS: Mapping[str, tuple[str, ...]] = {
    "mrr": ("number", "minor", "major"),
    **dict.fromkeys(("nextRenewalDate", "churnedAt", "trialEndDate", "cancelAt"), DATE),
}
"""Traits of ours -> what `as` may be in their lines, the first without it."""


def _values(kind: str, *names: str) -> dict[str, Value]:
    """Lines of one kind."""
    return {name: Value(kind) for name in names}


def _text(pattern: str, must: str, **options: Any) -> fields.String:
    check = validate.Regexp(f"(?:{pattern})\\Z", error=must)
    return fields.String(validate=check, **options)


def _names(pattern: str, must: str, name: str) -> None:
    if not re.fullmatch(pattern, name):
        raise ValidationError(must)


def _trait(name: str) -> Value:
    if name.lower().startswith(NATIVE):
        raise ValidationError(
            "must be another name: Vitally's own syncs write this one"
        )
    _names("[A-Za-z][A-Za-z0-9_.-]{0,99}", "must be a name of letters and digits", name)
    return Value(*OURS.get(name, ()), trait=True, shown=LONGEST)


TRAITS = Named(_trait)
SHARED = {**_values("text", "party", "account"), **_values("instant", "at")}
"""Lines that a source may say for all its rules."""

RULE = {
    **SHARED,
    "kind": fields.String(),
    "when": Texts(TYPE, "must be types of events", load_default=("*",)),
    "currency": Value("currency"),
    "traits": TRAITS,
}
ENDED = schema(when=Value("truth"), at=Value("instant"))
MRR = schema(
    amount=Value("minor", "major", required=True),
    quantity=Value("count"),
    interval=Value("interval"),
    count=Value("whole"),
    currency=Value("currency"),
    name=Value("text", shown=NAME),
    discount=Value("text"),
    **_values("list", "items", "discounts"),
    **_values("truth", "tax_included", "usage"),
    **_values("instant", "from", "until"),
)
KINDS: Mapping[str, TableSchema] = {
    "trait": schema(**RULE),
    "customer": schema(
        **RULE,
        name=Value("text", shown=NAME),
        email=Value("text", shown=NAME),
        deleted=Value("truth"),
    ),
    "subscription": schema(
        **RULE,
        id=Value("text", required=True),
        status=Value("text"),
        plan=Value("text", shown=NAME),
        ended=fields.Nested(ENDED, load_default=dict),
        mrr=fields.Nested(MRR, load_default=dict),
        order=Texts(TYPE, "must be up to 8 types of events", most=Rank.FROM_API - 1),
        tie=Value("whole", "instant"),
        trial_days=Value("count"),
        **_values("boolean", "cancel_at_period_end", "renews"),
        **_values("instant", "starts", "ends", "cancel_at"),
        **_values("instant", "trial_end", "trialing_until"),
    ),
    "extra": schema(**RULE, id=Value("text", required=True)),
    "thin": schema(**RULE, thing=_text(WORD, "must be a short word"), id=Value("text")),
}
"""Kind of a rule -> what its table may say."""


class Rule(fields.Field[Any]):
    """A rule; its kind is what `kind` says, else its name where that is a kind."""

    def __init__(self, name: str) -> None:
        super().__init__()
        _names(WORD, "must be a short word in lower case", name)
        self.usual = name if name in KINDS else "trait"

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        kind = value.get("kind", self.usual) if isinstance(value, dict) else self.usual
        if kind not in KINDS:
            raise ValidationError({"kind": [f"must be one of {', '.join(KINDS)}"]})
        return {**KINDS[kind].load(value), "kind": kind}


def _variable(must: str) -> Texts:
    return Texts("[A-Z][A-Z0-9_]{2,99}", must, required=True)


def _base(value: str) -> None:
    """Raise ValidationError where *value* is no host that may be read."""
    try:
        base_url(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    if not value.startswith("https://") and not LOCAL.fullmatch(value):
        raise ValidationError("must begin with https://")


def _rows(**lines: Any) -> Named:
    """Tables of one form, by short words."""

    def row(name: str) -> fields.Field[Any]:
        _names(WORD, "must be a short word in lower case", name)
        return fields.Nested(schema(**lines))

    return Named(row)


URL = _text(
    r"/[^{}]*(\{id\}[^{}]*)*", "must begin with / and may hold {{id}}", required=True
)
"""What follows the host, with `{id}` where the id goes."""

READ = schema(
    base=fields.String(required=True, validate=_base),
    key_env=_variable("must name the key's environment variable"),
    scheme=one_of("bearer", "basic", load_default="bearer"),
    headers=fields.Dict(fields.String(), fields.String(), load_default=dict),
    owners=_rows(url=URL, party=Value("text", required=True)),
    things=_rows(
        url=URL,
        each=Value("list"),
        more=Value("truth"),
        beside=_rows(url=URL, id=Value("text", required=True)),
    ),
)

TABLE = schema(
    **SHARED,
    title=fields.String(),
    recipe=fields.String(),
    tried=fields.Boolean(load_default=False),
    crm=fields.Boolean(load_default=False),
    verify=Verify(required=True),
    secret_env=_variable("must name the secret's environment variable"),
    body=one_of(*FORMS, load_default="json"),
    split=Value("list"),
    id=Value("text", load_default=ValuePath(lambda _: None, text)),
    type=Value("text", load_default=ValuePath(lambda _: "event", text)),
    events=Named(Rule),
    traits=TRAITS,
    read=fields.Nested(READ),
)
"""`[sources.NAME]`, with the lines of its recipe where it has one."""


def problems(messages: Any, place: str = "") -> Iterator[str]:
    """Each mistake as `events.subscription.mrr.amount: is missing`."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            here = place if key == "_schema" else f"{place}.{key}".lstrip(".")
            yield from problems(inner, here)
    else:
        for phrase in [messages] if isinstance(messages, str) else messages:
            yield f"{place}: {PHRASES.get(phrase, phrase)}"
