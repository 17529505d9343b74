"""The form of a table `[sources.NAME]`, and what each mistake in one is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from bridge.config import NATIVE
from bridge.options import base_url
from bridge.sources.generic.forms import FORMS
from bridge.sources.generic.lines import Named, TableSchema, Value
from bridge.sources.generic.proof import Verify

TRAIT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
WORD = re.compile(r"[a-z0-9_-]{1,40}")
ENVIRON = re.compile(r"[A-Z][A-Z0-9_]{2,99}")
TYPE = re.compile(r"[\x21-\x7e]{1,255}")
URL = r"/[^{}]*(\{id\}[^{}]*)*"
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
    "nextRenewalDate": DATE,
    "churnedAt": DATE,
    "trialEndDate": DATE,
    "cancelAt": DATE,
}
"""Traits of ours -> what `as` may be in their lines, the first without it."""


class Texts(fields.Field[Any]):
    """One text or several, each of which *form* allows."""

    def __init__(self, form: re.Pattern[str], must: str, **options: Any) -> None:
        super().__init__(**options)
        self.form = form
        self.must = must

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not listed:
            raise ValidationError(self.must)
        if not all(isinstance(one, str) and self.form.fullmatch(one) for one in listed):
            raise ValidationError(self.must)
        return tuple(listed)


def _trait(name: str) -> Value:
    return Value(*USUAL.get(name, ()), clears=True)


def _no_trait(name: str) -> str:
    if name.lower().startswith(NATIVE):
        return "must be another name: Vitally's own syncs write this one"
    return "" if TRAIT.fullmatch(name) else "must be a name of letters and digits"


def _no_word(name: str) -> str:
    return "" if WORD.fullmatch(name) else "must be a short word in lower case"


def _one_of(*words: str, **options: Any) -> fields.String:
    check = validate.OneOf(words, error=f"must be one of {', '.join(words)}")
    return fields.String(validate=check, **options)


class _Rule(TableSchema):
    """What every rule may say; by itself it gives traits."""

    kind = fields.String()
    when = Texts(TYPE, "must be types of events", load_default=("*",))
    party = Value("text")
    account = Value("text")
    at = Value("instant")
    version = Value("whole")
    currency = Value("currency")
    traits = Named(_trait, _no_trait)


class _Customer(_Rule):
    name = Value("text")
    email = Value("text")
    deleted = Value("truth")


class _Money(TableSchema):
    items = Value("list")
    amount = Value("minor", "major", required=True)
    quantity = Value("quantity")
    interval = Value("interval")
    count = Value("whole")
    ends = Value("instant")
    name = Value("text")
    discount = Value("text")


class _Ended(TableSchema):
    when = Value("truth")
    at = Value("instant")


class _Subscription(_Rule):
    id = Value("text", required=True)
    status = Value("text")
    ended = fields.Nested(_Ended, load_default=dict)
    ends = Value("instant")
    trial_end = Value("instant")
    cancel_at = Value("instant")
    cancel_at_period_end = Value("boolean")
    plan = Value("text")
    mrr = fields.Nested(_Money)


class _Thin(_Rule):
    thing = fields.String(validate=validate.Regexp(WORD, error="must be a short word"))
    id = Value("text")


KINDS: Mapping[str, TableSchema] = {
    "trait": _Rule(),
    "customer": _Customer(),
    "subscription": _Subscription(),
    "thin": _Thin(),
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


class _Url(fields.String):
    """What follows the host of the API, with `{id}` where the id goes."""

    def __init__(self) -> None:
        must = "must begin with / and may hold {id}"
        super().__init__(required=True, validate=validate.Regexp(f"{URL}$", error=must))


class _Base(fields.Field[Any]):
    """The one host that is read."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        try:
            base = base_url(value if isinstance(value, str) else "")
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if not base.startswith("https://") and not LOCAL.fullmatch(base):
            raise ValidationError("must begin with https://")
        return base


class _Owner(TableSchema):
    url = _Url()
    party = Value("text", required=True)


class _With(TableSchema):
    url = _Url()
    id = Value("text", required=True)


class _Thing(TableSchema):
    url = _Url()
    each = Value("list")
    more = Value("truth")
    beside = Named(lambda _: fields.Nested(_With), _no_word)


class _Read(TableSchema):
    base = _Base(required=True)
    key_env = Texts(ENVIRON, "must name an environment variable", required=True)
    scheme = _one_of("bearer", "basic", load_default="bearer")
    headers = fields.Dict(fields.String(), fields.String(), load_default=dict)
    owners = Named(lambda _: fields.Nested(_Owner), _no_word)
    things = Named(lambda _: fields.Nested(_Thing), _no_word)


class SourceTable(TableSchema):
    """`[sources.NAME]`, with the lines of its recipe where it has one."""

    title = fields.String()
    recipe = fields.String()
    tried = fields.Boolean(load_default=False)
    crm = fields.Boolean(load_default=False)
    verify = Verify(required=True)
    secret_env = Texts(
        ENVIRON, "must name the secret's environment variable", required=True
    )
    body = _one_of(*FORMS, load_default="json")
    split = Value("list")
    id = Value("text")
    type = Value("text")
    at = Value("instant")
    party = Value("text")
    account = Value("text")
    events = Named(Rule, _no_word)
    traits = Named(_trait, _no_trait)
    read = fields.Nested(_Read)


def problems(messages: Any, place: str = "") -> Iterator[str]:
    """Each mistake as `events.subscription.mrr.amount: is missing`."""
    if isinstance(messages, Mapping):
        for key, said in messages.items():
            inner = place if key == "_schema" else f"{place}.{key}" if place else key
            yield from problems(said, inner)
    else:
        for said in [messages] if isinstance(messages, str) else messages:
            yield f"{place}: {PHRASES.get(said, said)}"
