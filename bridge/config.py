"""Reads the optional `bridge.toml`: traits, their owners, money, sources.

[traits]
use = ["arr", "seats"]              # optional traits to write as well; "all": all of them
mrr = "billing.mrr"                 # another key in Vitally
planName = false                    # not written at all

[owners]
name = ["hubspot", "stripe"]        # which source sets it, the strongest first

[money]
discounts = "forever"               # forever | active | all | none
statuses = ["active", "past_due"]   # which count in mrr
empty = "null"                      # mrr while none counts: null | zero
week = "52/12"                      # weeks in a month
day = "365/12"                      # days in a month
base = "usd"                        # for accounts in several currencies: the sum in
rates = { eur = "1.08" }            # this one; one euro is worth 1.08 dollars

[vitally]
keep_hand_edits = ["planName"]      # traits that people may change in Vitally

[vitally.objects]
subscription = "4c5…"               # a custom object: each subscription is an instance

[sources.stripe]                    # see the README of each source
account = ["customer.metadata.vitally_id", "customer.id"]
organization = ["customer.metadata.org_id"]
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from marshmallow import Schema, ValidationError, fields, post_load, validates_schema
from marshmallow.validate import Length, OneOf, Regexp

from bridge.domain.document import TRAITS
from bridge.domain.money import DISCOUNTS, EMPTY, STATUSES, STRIPE, Policy
from bridge.domain.traits import OPTIONAL
from bridge.errors import ConfigError

DEFAULT_PATH = Path("bridge.toml")
"""Read if `BRIDGE_CONFIG` is not set; only this file may be missing."""

USED = "traits.use"
"""Name of the option with the optional traits, for sources that store facts for them."""

NATIVE = ("stripe.", "hspot.", "sfdc.")
"""Prefixes of keys that Vitally's own syncs write and would overwrite.

https://docs.vitally.io/account-health-scores-and-metrics/traits
"""


class Table(NamedTuple):
    """The content of one table below `[sources]`, or of all together."""

    values: Mapping[str, Any] = {}
    """Options in addition to those of the environment."""
    traits: Collection[str] = ()
    """Names of the traits that the source adds."""
    problems: Sequence[str] = ()
    """Mistakes; each begins with the line's name."""
    crm: Mapping[str, bool] = {}
    """Only for all together: name of every source -> whether it is a CRM."""
    computed: Collection[str] = ()
    """Those of the *traits* that are computed from its subscriptions."""


ReadTables = Callable[[Mapping[str, Any]], Table]
"""Reads the tables below `[sources]`, by name."""


@dataclass(frozen=True, slots=True)
class Config:
    """The content of the file, with defaults for what is missing."""

    traits: Mapping[str, str | None] = field(
        default_factory=lambda: {trait: trait for trait in TRAITS}
    )
    """Each trait -> its key in Vitally; None: not written."""
    policy: Policy = STRIPE
    """How money is computed, and which source sets what."""
    sources: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The sources' options from the file."""
    by_hand: frozenset[str] = frozenset()
    """Keys in Vitally where an edit by hand is left as it is."""
    subscription_object: str = ""
    """The custom object whose instances are the subscriptions; "": none is."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Source -> the address of a subscription's page there, with `{}` for its id."""


def read(
    path: str | None,
    default: Path = DEFAULT_PATH,
    tables: ReadTables = lambda _: Table(),
) -> Config:
    """Read the file at *path*; None: the one at *default*, if there is one.

    Raises ConfigError, each problem beginning with the file's name.
    """
    file = default if path is None else Path(path)
    given: dict[str, Any] = {}
    problems: list[str] = []
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path is not None:
            problems = [f"BRIDGE_CONFIG names {file}, which does not exist"]
    except OSError as error:
        problems = [f"{file} cannot be read: {error.strerror}"]
    except UnicodeDecodeError:
        problems = [f"{file} is not UTF-8"]
    except (ValueError, RecursionError) as error:  # also what Python finds too long
        problems = [f"{file} is not TOML: {error}"]
    if problems:
        raise ConfigError(problems)
    try:
        return parse(given, tables)
    except ConfigError as error:
        problems = [f"{file}: {problem}" for problem in error.problems]
        raise ConfigError(problems) from None


def parse(given: Mapping[str, Any], tables: ReadTables = lambda _: Table()) -> Config:
    """Read the file's content. Raises ConfigError, without the file's name."""
    below = given.get("sources", {})
    sources = tables(below) if isinstance(below, dict) else Table()
    lines = given.get("traits", {})
    use, problems = _use(lines.get("use", []) if isinstance(lines, dict) else [])
    traits = dict.fromkeys([*TRAITS, *sources.traits])
    if isinstance(lines, dict):
        lines = {name: line for name, line in lines.items() if name != "use"}
        traits = dict.fromkeys([*traits, *(name for name in OPTIONAL if name in use)])
        off = [name for name in lines if name in OPTIONAL.keys() - traits.keys()]
        problems += [f"traits.{name} is off: add it to traits.use" for name in off]
        lines = {name: line for name, line in lines.items() if name not in off}
        # Traits without a line are checked too: a source may use any name.
        given = {**given, "traits": {**{trait: trait for trait in traits}, **lines}}
    values, wrong = check(_file(traits, sorted(sources.crm)), given)
    problems += [*wrong, *_shared(values.get("traits", {})), *sources.problems]
    if problems:
        raise ConfigError(problems)
    crm = frozenset(name for name, is_crm in sources.crm.items() if is_crm)
    policy = values["money"]._replace(
        owners=values["owners"], crm=crm, use=use | {*sources.computed}
    )
    edits = values["vitally"].get("keep_hand_edits", ())
    by_hand = {key for trait in edits if (key := values["traits"][trait])}
    options = {**sources.values, **({USED: use} if use else {})}
    object_id = values["vitally"].get("objects", {}).get("subscription", "")
    hands = frozenset(by_hand)
    return Config(values["traits"], policy, options, hands, object_id)


def _use(names: Any) -> tuple[frozenset[str], list[str]]:
    """The optional traits that a file names, or none and the mistake."""
    if names == "all":
        return frozenset(OPTIONAL), []
    if isinstance(names, list) and all(name in [*OPTIONAL] for name in names):
        return frozenset(names), []
    names = names if isinstance(names, list) else [names]
    wrong = ", ".join(str(name) for name in names if name not in [*OPTIONAL])
    listed = f"{', '.join(OPTIONAL)}; not {wrong}"
    return frozenset(), [f'traits.use must be "all" or a list of some of {listed}']


def _shared(traits: Mapping[str, str | None]) -> Iterator[str]:
    """Two traits on one key would overwrite one another at every write."""
    for key, times in Counter(filter(None, traits.values())).items():
        if times > 1:
            same = " and ".join(trait for trait in traits if traits[trait] == key)
            yield f"traits {same} have one key, {key!r}"


# --- How the lines of any table are checked -------------------------------------

PHRASES = {
    "Missing data for required field.": "is missing",
    "Not a valid boolean.": "must be true or false",
    "Not a valid integer.": "must be a whole number",
    "Not a valid mapping type.": "must be a table",
    "Not a valid string.": "must be a text in quotes",
}
"""Marshmallow's messages -> ours."""


def check(
    schema: Schema, given: Mapping[str, Any], joint: str = " "
) -> tuple[Any, list[str]]:
    """Return what *schema* makes of a table, as far as it is right, and its mistakes.

    Each is named with its place, as `money.statuses.0 must be one of active, …`; *joint*
    stands between the two.
    """
    try:
        return schema.load(given), []
    except ValidationError as error:
        return error.valid_data, [
            f"{place}{joint}{PHRASES.get(words, words)}"
            for place, words in mistakes(error.messages)
        ]


def mistakes(messages: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield marshmallow's *messages*, each with its place: `data.items.0.price`."""
    if isinstance(messages, dict):
        for name, inner in messages.items():
            here = place if name == "_schema" else f"{place}.{name}".lstrip(".")
            yield from mistakes(inner, here)
    elif isinstance(messages, list):
        for inner in messages:
            yield from mistakes(inner, place)
    else:
        yield place, messages


class Lines(Schema):
    """A table with a fixed set of lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.error_messages = {
            "type": "must be a table",
            "unknown": f"is unknown; there are {', '.join(self.fields) or 'none'}",
        }


def named_lines(
    line: Callable[[str], fields.Field[Any]], names: fields.Field[Any], **options: Any
) -> fields.Function:
    """A table whose lines may have any name that *names* accepts.

    *line* maps a name to the field that reads its value.
    """

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be a table")
        loaded: dict[str, Any] = {}
        wrong: dict[str, list[Any]] = {}
        for name, inner in value.items():
            pair: list[Any] = []
            for each, part in ((names, name), (line(name), inner)):
                try:
                    pair.append(each.deserialize(part))
                except ValidationError as error:
                    wrong.setdefault(name, []).append(error.messages)
            if name not in wrong:
                loaded[pair[0]] = pair[1]
        if wrong:
            raise ValidationError(wrong, valid_data=loaded)
        return loaded

    return fields.Function(deserialize=read, **options)


def one_of(
    words: Collection[str], must: str = "must be one of", **options: Any
) -> fields.Raw:
    """One of *words*."""
    check = OneOf(words, error=f"{must} {{choices}}")
    return fields.Raw(validate=check, **options)


def text(pattern: str, must: str, **options: Any) -> fields.String:
    """A text that *pattern* matches; *must* says so."""
    wrong: Any = {"invalid": must, "required": must}
    check = Regexp(rf"(?:{pattern})\Z", error=must)
    return fields.String(validate=check, error_messages=wrong, **options)


def some(inner: fields.Field[Any], must: str, **options: Any) -> fields.List[Any]:
    """A list of *inner*, at least one; *must* says so."""
    options["error_messages"] = {"invalid": must}
    return fields.List(inner, validate=Length(min=1, error=must), **options)


def heads() -> fields.Raw:
    """What the customer is that an organization is named after: `both`, or no account."""
    return one_of(("both", "organization"), load_default="both")


def _some_of(words: Collection[str]) -> fields.List[Any]:
    must = f"must be a list of some of {', '.join(words)}"
    return some(one_of(words), must)


# --- The lines of the file ------------------------------------------------------


def _key(value: Any) -> str | None:
    """A trait's key in Vitally; `false`: do not write it."""
    if value is False:
        return None
    if not isinstance(value, str):
        raise ValidationError("must be a key in quotes, or false to not write it")
    if not value or value != value.strip() or not value.isprintable():
        raise ValidationError("must be a key without blanks around it")
    if value.lower().startswith(NATIVE):
        raise ValidationError(f"must not be {value!r}: Vitally's own syncs write it")
    return value


def currency() -> fields.String:
    """An ISO code."""
    return text("[A-Za-z]{3}", 'must be an ISO code, e.g. "usd"', post_load=str.lower)


def _number(value: Any) -> Fraction:
    """A number above 0, exact: 4.33, "4.33" and "52/12" alike."""
    text = value if isinstance(value, str) else repr(value)
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?(/[0-9]{1,9})?", text):
        top, bottom = map(Fraction, f"{text}/1".split("/")[:2])
        if top and bottom:
            return top / bottom
    raise ValidationError('must be a number above 0, e.g. 4.33 or "52/12"')


NUMBER = fields.Function(deserialize=_number)


class Money(Lines):
    """`[money]`; the defaults are Stripe's."""

    discounts = one_of(DISCOUNTS)
    statuses = _some_of(STATUSES)
    empty = one_of(EMPTY)
    week = day = NUMBER
    base = currency()
    rates = named_lines(lambda _: NUMBER, currency())

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def rates_have_a_base(self, data: Any, given: Any, **_: Any) -> None:
        """Raise ValidationError where rates are to nothing."""
        if data.get("rates") and "base" not in given:
            raise ValidationError("is needed where there are money.rates", "base")

    @post_load
    def policy(self, data: Any, **_: Any) -> Policy:
        """Return what the table says."""
        if "statuses" in data:
            data["statuses"] = frozenset(data["statuses"])
        return Policy(**data)


class Objects(Lines):
    """`[vitally.objects]`."""

    subscription = text(r"[\w-]+", "must be the id of a custom object, in quotes")


def _file(traits: Collection[str], sources: Collection[str]) -> Schema:
    """The schema of a file, where these are the *traits* and *sources* there are."""
    no_trait = "is no trait; there are"
    key = fields.Function(deserialize=_key)
    owned, owners = one_of(["name", *traits], no_trait), _some_of(sources)
    vitally = {"keep_hand_edits": _some_of(traits), "objects": fields.Nested(Objects)}
    lines = {
        "traits": named_lines(lambda _: key, one_of(traits, no_trait)),
        "owners": named_lines(lambda _: owners, owned, load_default=dict),
        "money": fields.Nested(Money, load_default=STRIPE),
        "vitally": fields.Nested(Lines.from_dict(vitally), load_default=dict),
        "sources": fields.Dict(),
    }
    return Lines.from_dict(lines)()
