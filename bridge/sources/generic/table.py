"""The form of a table `[sources.NAME]`, and what each mistake in one is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from bridge.config import NATIVE
from bridge.domain.facts import LONGEST, Rank
from bridge.options import base_url
from bridge.sources.generic.forms import FORMS
from bridge.sources.generic.lines import Named, TableSchema, Value
from bridge.sources.generic.proof import Verify, one_of
from bridge.webhook.fields import NAME

TRAIT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
WORD = re.compile(r"[a-z0-9_-]{1,40}")
ENVIRON = re.compile(r"[A-Z][A-Z0-9_]{2,99}")
TYPE = re.compile(r"[\x21-\x7e]{1,255}")
URL = re.compile(r"/[^{}]*(\{id\}[^{}]*)*")
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
USUAL: Mapping[str, tuple[str, ...]] = {
    "mrr": ("number", "minor", "major"),
    **dict.fromkeys(("nextRenewalDate", "churnedAt", "trialEndDate", "cancelAt"), DATE),
}
"""Traits of ours -> what `as` may be in their lines, the first without it."""


class Texts(fields.Field[Any]):
    """One text or several, each of which *pattern* allows."""

    def __init__(
        self, pattern: re.Pattern[str], must: str, most: int = 100, **options: Any
    ) -> None:
        super().__init__(**options)
        self.pattern = pattern
        self.must = must
        self.most = most

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not 0 < len(listed) <= self.most:
            raise ValidationError(self.must)
        if not all(isinstance(t, str) and self.pattern.fullmatch(t) for t in listed):
            raise ValidationError(self.must)
        return tuple(listed)


def _lines(word: str, *names: str) -> dict[str, fields.Field[Any]]:
    """Lines of one kind."""
    return {name: Value(word) for name in names}


def _schema(**lines: Any) -> Any:
    return TableSchema.from_dict(lines)()


def _rows(**lines: Any) -> Named:
    """Tables of one form, by names that are free."""
    return Named(lambda _: fields.Nested(_schema(**lines)), _no_word)


def _no_word(name: str) -> str:
    return "" if WORD.fullmatch(name) else "must be a short word in lower case"


def _no_trait(name: str) -> str:
    if name.lower().startswith(NATIVE):
        return "must be another name: Vitally's own syncs write this one"
    return "" if TRAIT.fullmatch(name) else "must be a name of letters and digits"


def _base(value: str) -> None:
    """Raise ValidationError where *value* is no host that may be read."""
    try:
        base_url(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    if not value.startswith("https://") and not LOCAL.fullmatch(value):
        raise ValidationError("must begin with https://")


def _environ(must: str) -> Texts:
    return Texts(ENVIRON, must, required=True)


def _text(pattern: re.Pattern[str], must: str, **options: Any) -> fields.String:
    check = validate.Regexp(f"(?:{pattern.pattern})\\Z", error=must)
    return fields.String(validate=check, **options)


def _url() -> fields.String:
    """What follows the host, with `{id}` where the id goes."""
    return _text(URL, "must begin with / and may hold {{id}}", required=True)


TRAITS = Named(
    lambda name: Value(*USUAL.get(name, ()), clears=True, shown=LONGEST), _no_trait
)
SHARED = {**_lines("text", "party", "account"), **_lines("instant", "at")}
"""Lines that a source may say for all its rules."""

RULE = {
    **SHARED,
    "kind": fields.String(),
    "when": Texts(TYPE, "must be types of events", load_default=("*",)),
    "version": Value("whole"),
    "currency": Value("currency"),
    "traits": TRAITS,
}
MONEY = {
    "items": Value("list"),
    "amount": Value("minor", "major", required=True),
    "quantity": Value("count"),
    "interval": Value("interval"),
    "count": Value("whole"),
    "ends": Value("instant"),
    "currency": Value("currency"),
    "tax_included": Value("truth"),
    "usage": Value("truth"),
    "discounts": Value("list"),
    "name": Value("text", shown=NAME),
    "discount": Value("text"),
    **_lines("instant", "from", "until"),
}
KINDS: Mapping[str, TableSchema] = {
    "trait": _schema(**RULE),
    "customer": _schema(
        **RULE,
        name=Value("text", shown=NAME),
        email=Value("text", shown=NAME),
        deleted=Value("truth"),
    ),
    "subscription": _schema(
        **RULE,
        id=Value("text", required=True),
        ended=fields.Nested(
            _schema(when=Value("truth"), at=Value("instant")), load_default=dict
        ),
        mrr=fields.Nested(_schema(**MONEY), load_default=dict),
        cancel_at_period_end=Value("boolean"),
        renews=Value("boolean"),
        order=Texts(TYPE, "must be up to 8 types of events", most=Rank.FROM_API - 1),
        tie=Value("whole", "instant"),
        trial_days=Value("count"),
        status=Value("text"),
        plan=Value("text", shown=NAME),
        **_lines("instant", "starts", "ends", "cancel_at"),
        **_lines("instant", "trial_end", "trialing_until"),
    ),
    "extra": _schema(**RULE, id=Value("text", required=True)),
    "thin": _schema(
        **RULE, thing=_text(WORD, "must be a short word"), id=Value("text")
    ),
}
"""Kind of a rule -> what its table may say."""


class Rule(fields.Field[Any]):
    """A rule; its kind is what `kind` says, else its name where that is a kind."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.usual = name if name in KINDS else "trait"

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        kind = value.get("kind", self.usual) if isinstance(value, dict) else self.usual
        if kind not in KINDS:
            raise ValidationError({"kind": [f"must be one of {', '.join(KINDS)}"]})
        return {**KINDS[kind].load(value), "kind": kind}


READ = _schema(
    base=fields.String(required=True, validate=_base),
    key_env=_environ("must name the key's environment variable"),
    scheme=one_of("bearer", "basic", load_default="bearer"),
    headers=fields.Dict(fields.String(), fields.String(), load_default=dict),
    owners=_rows(url=_url(), party=Value("text", required=True)),
    things=_rows(
        url=_url(),
        each=Value("list"),
        more=Value("truth"),
        beside=_rows(url=_url(), id=Value("text", required=True)),
    ),
)

TABLE = _schema(
    **SHARED,
    title=fields.String(),
    recipe=fields.String(),
    tried=fields.Boolean(load_default=False),
    crm=fields.Boolean(load_default=False),
    verify=Verify(required=True),
    secret_env=_environ("must name the secret's environment variable"),
    body=one_of(*FORMS, load_default="json"),
    split=Value("list"),
    **_lines("text", "id", "type"),
    events=Named(Rule, _no_word),
    traits=TRAITS,
    read=fields.Nested(READ),
)
"""`[sources.NAME]`, with the lines of its recipe where it has one."""


def problems(messages: Any, place: str = "") -> Iterator[str]:
    """Each mistake as `events.subscription.mrr.amount: is missing`."""
    if isinstance(messages, Mapping):
        for key, said in messages.items():
            inner = place if key == "_schema" else f"{place}.{key}" if place else key
            yield from problems(said, inner)
    else:
        for said in [messages] if isinstance(messages, str) else messages:
            yield f"{place}: {PHRASES.get(said, said)}"
