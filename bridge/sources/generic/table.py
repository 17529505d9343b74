"""The schema of a table `[sources.NAME]`: its lines and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from marshmallow import ValidationError, fields, validate

from bridge.config import Lines, named_lines, one_of
from bridge.config import text as matching
from bridge.domain.facts import Rank
from bridge.sources.generic.events import FORMS
from bridge.sources.generic.values import (
    CONVERTERS,
    FIXED,
    SCALARS,
    SHOWN,
    ValuePath,
    text,
)
from bridge.webhook import auth

LONGEST_PATH = 500
"""Most characters of a path; a much longer one would overflow the parser's stack."""

FUNCTIONS = frozenset(Functions().FUNCTION_TABLE)

TYPE = r"[\x21-\x7e]{1,255}"
BASE = r"(https://[\w.-]+|http://(127\.0\.0\.1|localhost))(:[0-9]{1,5})?/?"
WORD = matching("[a-z0-9_-]{1,40}", "must be a short word in lower case")

DATE = ("instant", "day")
OURS: Mapping[str, tuple[str, ...]] = {
    "mrr": ("number", "minor", "major"),
    **dict.fromkeys(("nextRenewalDate", "churnedAt", "trialEndDate", "cancelAt"), DATE),
}
"""Built-in traits -> what `as` may be in their lines; the first is the default."""


def schema(**lines: Any) -> Any:
    """A table of these lines."""
    return Lines.from_dict(lines)()


# --- One value ------------------------------------------------------------------


def texts(pattern: str, must: str, most: int = 100, **options: Any) -> fields.Function:
    """One text or a list of texts; each must match *pattern*."""

    def read(value: Any) -> tuple[str, ...]:
        given = value if isinstance(value, list) else [value]
        fits = [isinstance(t, str) and re.fullmatch(pattern, t) for t in given]
        if not (0 < len(given) <= most and all(fits)):
            raise ValidationError(must)
        return tuple(given)

    return fields.Function(deserialize=read, **options)


def _compiled(path: Any) -> ParsedResult:
    if not isinstance(path, str) or len(path) > LONGEST_PATH:
        raise ValidationError(f"must be a path of at most {LONGEST_PATH} characters")
    try:
        compiled = jmespath.compile(path)
    except (JMESPathError, RecursionError) as error:
        first = (str(error) or "too deep").splitlines()[0].rstrip(":")
        raise ValidationError(f"{path!r} is no JMESPath: {first}") from None
    for name in sorted(_calls(compiled.parsed) - FUNCTIONS):
        raise ValidationError(f"{path!r} calls {name}(), which JMESPath lacks")
    return compiled


def _calls(node: Any) -> set[str]:
    """Names of the functions that a parsed path calls."""
    if not isinstance(node, dict):
        return set()
    own = {node["value"]} if node["type"] == "function_expression" else set()
    return own.union(*map(_calls, node["children"]))


def _plain_keys(path: ParsedResult) -> list[str]:
    """The keys of a plain path, like data.plan; none of any other."""
    node = path.parsed
    parts = node["children"] if node["type"] == "subexpression" else [node]
    is_plain = all(part["type"] == "field" for part in parts)
    return [part["value"] for part in parts] if is_plain else []


NO_WORDS = "must be a table of words"


def _words(lookup: Mapping[str, Any]) -> None:
    if any(isinstance(word, dict | list) for word in lookup.values()):
        raise ValidationError(NO_WORDS)


PARTS = {
    "path": fields.Raw(),
    "lookup": fields.Dict(validate=_words, error_messages={"invalid": NO_WORDS}),
}
SENT = {"header": texts(r"[!-~]+", "must be the name of a header, or several")}
"""One more part of a value that may be in a header."""
TRAIT = {"null_clears": fields.Boolean(load_default=False)}
"""One more part of a trait's value, which only `null_clears` can clear."""


def value(*kinds: str, more: Any = PARTS, **options: Any) -> fields.Function:
    """A path in quotes, or a table with it; *more* is SENT or TRAIT.

    *kinds* are the allowed words of `as`; the first is the default. Without *kinds* any
    word is allowed and the default is JSON.
    """
    words = [FIXED.get(kind, kind) for kind in kinds] or SCALARS
    lines = schema(**{**PARTS, **more, "as": one_of(words)})
    places = {"path", "header"} & lines.fields.keys()
    either = "`path` or `header`" if more is SENT else "`path`"

    def read(value: Any) -> ValuePath:
        given = {"path": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or places.isdisjoint(given):
            raise ValidationError(f"must be a path in quotes, or a table with {either}")
        parts = lines.load(given)
        path, kind = _compiled(parts.get("path", "`null`")), parts.get("as")
        if kind is None or not FIXED.keys().isdisjoint(kinds):
            kind = kinds[0] if kinds else ""
        convert = (SHOWN if more is TRAIT else CONVERTERS)[kind]
        for word in parts.get("lookup", {}).values():
            try:
                convert(word)
            except ValueError as error:
                raise ValidationError({"lookup": [f"{word!r} {error}"]}) from None
        keys = _plain_keys(path) if parts.get("null_clears", more is not TRAIT) else []
        if parts.get("null_clears") and not keys:
            must = "needs a plain path, like data.plan"
            raise ValidationError({"null_clears": [must]})
        headers = [name.lower() for name in parts.get("header", ())]
        return ValuePath(path, convert, kind, headers, parts.get("lookup"), keys)

    return fields.Function(deserialize=read, **options)


def _values(**kinds: str) -> dict[str, fields.Function]:
    """Lines by their kinds."""
    return {line: value(kind) for kind in kinds for line in kinds[kind].split()}


# --- Who is believed ------------------------------------------------------------

TEXT, NEEDED = fields.String(), fields.String(required=True)
TOLERANCE = validate.Range(1, 86_400, error="must be seconds, at most a day")
HMAC = schema(
    **dict.fromkeys(("scheme", "separator", "prefix", "key_prefix"), TEXT),
    **dict.fromkeys(("timestamp_header", "timestamp_prefix"), TEXT),
    **dict.fromkeys(("header", "signed"), NEEDED),
    timestamp_first=fields.Boolean(),
    unit=one_of(auth.INSTANTS),
    tolerance=fields.Integer(strict=True, validate=TOLERANCE),
    algorithm=one_of(("sha256", "sha512", "sha1")),
    key=one_of(auth.KEYS),
    encoding=one_of(auth.DIGESTS),
)


def _hmac(**lines: Any) -> auth.Scheme:
    lines |= {n: line.lower() for n, line in lines.items() if n.endswith("header")}
    signed = re.sub(r"\{header:[^}]*", lambda name: name[0].lower(), lines["signed"])
    try:
        return auth.Scheme(**{**lines, "signed": signed})
    except ValueError as error:
        raise ValidationError({"signed": [str(error)]}) from None


def _header(header: str, prefix: str = "") -> auth.Credential:
    return auth.Credential("header", header.lower(), prefix)


SCHEMES: Mapping[str, tuple[Lines, Callable[..., auth.Scheme | auth.Credential]]] = {
    "hmac": (HMAC, _hmac),
    "standard-webhooks": (schema(scheme=TEXT), lambda: auth.STANDARD_WEBHOOKS),
    "basic": (schema(scheme=TEXT), lambda: auth.BASIC),
    "header": (schema(scheme=TEXT, header=NEEDED, prefix=TEXT), _header),
    "query": (schema(scheme=TEXT, name=NEEDED), partial(auth.Credential, "query")),
}
"""Word of `scheme` -> the lines of its table, and the function that makes the scheme."""


def _verify(value: Any) -> auth.Scheme | auth.Credential:
    """The name of a scheme, or a table with it and the scheme's own lines."""
    given = {"scheme": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or str(given.get("scheme")) not in SCHEMES:
        raise ValidationError({"scheme": [f"must be one of {', '.join(SCHEMES)}"]})
    lines, make = SCHEMES[given["scheme"]]
    loaded = lines.load(given)
    return make(**{name: v for name, v in loaded.items() if name != "scheme"})


# --- Rules ----------------------------------------------------------------------


TRAITS = named_lines(
    lambda name: value(*OURS.get(name, ()), more=TRAIT),
    matching("[A-Za-z][A-Za-z0-9_.-]{0,99}", "must be a name of letters and digits"),
    load_default=dict,
)
SHARED = _values(text="party account organization", instant="at")
"""Lines that a source may set for all its rules."""

RULE = {
    **SHARED,
    "kind": fields.String(),
    "when": texts(TYPE, "must be types of events", load_default=("*",)),
    "currency": value("currency"),
    "traits": TRAITS,
}
ENDED = schema(**_values(truth="when", instant="at"))
MRR = schema(
    amount=value("minor", "major", required=True),
    **_values(label="name", reduction="discount", interval="interval"),
    **_values(code="currency", count="quantity", whole="count"),
    **_values(list="items discounts", truth="tax_included usage", instant="from until"),
)
KINDS: Mapping[str, Lines] = {
    "trait": schema(**RULE),
    "customer": schema(**RULE, **_values(label="name email", truth="deleted")),
    "subscription": schema(
        **RULE,
        id=value("text", required=True),
        ended=fields.Nested(ENDED, load_default=dict),
        mrr=fields.Nested(MRR, load_default=dict),
        order=texts(TYPE, "must be up to 8 types of events", most=Rank.FROM_API - 1),
        tie=value("whole", "instant"),
        **_values(status="status", label="plan", count="trial_days"),
        **_values(boolean="cancel_at_period_end renews"),
        **_values(instant="starts ends cancel_at trial_end trialing_until"),
    ),
    "extra": schema(**RULE, id=value("text", required=True)),
    "thin": schema(**RULE, thing=WORD, id=value("text")),
}
"""Kind of a rule -> the schema of its table."""


def _rule(name: str) -> fields.Function:
    """A rule; its kind is given by `kind`, else by its name."""
    usual = name if name in KINDS else "trait"

    def read(value: Any) -> dict[str, Any]:
        kind = value.get("kind", usual) if isinstance(value, dict) else usual
        if str(kind) not in KINDS:
            raise ValidationError({"kind": [f"must be one of {', '.join(KINDS)}"]})
        return {**KINDS[kind].load(value), "kind": kind}

    return fields.Function(deserialize=read)


# --- The whole ------------------------------------------------------------------


def _variable(whose: str) -> fields.Function:
    must = f"must name the {whose}'s environment variable"
    return texts("[A-Z][A-Z0-9_]{2,99}", must, required=True)


def _rows(**lines: Any) -> fields.Function:
    """Tables with the same schema, by name."""
    row = fields.Nested(schema(**lines))
    return named_lines(lambda _: row, WORD, load_default=dict)


NO_URL = "must begin with / and may hold {{id}}"
URL = matching(r"/[^{}]*(\{id\}[^{}]*)*", NO_URL, required=True)
"""The part of a URL after the host, with `{id}` for the id."""

READ = schema(
    base=matching(BASE, "must be https://host[:port] and nothing more", required=True),
    key_env=_variable("key"),
    scheme=one_of(("bearer", "basic"), load_default="bearer"),
    headers=fields.Dict(fields.String(), fields.String(), load_default=dict),
    owners=_rows(url=URL, party=value("text", required=True)),
    things=_rows(
        url=URL,
        each=value("list"),
        more=value("truth"),
        beside=_rows(url=URL, id=value("text", required=True)),
    ),
)

NOWHERE, EVENT = jmespath.compile("`null`"), jmespath.compile("'event'")
TABLE = schema(
    **SHARED,
    title=fields.String(),
    recipe=fields.String(),
    tried=fields.Boolean(load_default=False),
    crm=fields.Boolean(load_default=False),
    verify=fields.Function(deserialize=_verify, required=True),
    secret_env=_variable("secret"),
    body=one_of(FORMS, load_default="json"),
    split=value("list"),
    id=value("text", more=SENT, load_default=ValuePath(NOWHERE, text)),
    type=value("text", more=SENT, load_default=ValuePath(EVENT, text)),
    events=named_lines(_rule, WORD, load_default=dict),
    traits=TRAITS,
    read=fields.Nested(READ, load_default=dict),
)
"""`[sources.NAME]`, including the lines of its recipe, if it has one."""
