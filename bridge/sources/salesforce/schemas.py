"""What is read of an Account and an Opportunity, besides the fields that a line names."""

from __future__ import annotations

import re
from typing import Any

from bridge.webhook.fields import UNREAD, Checked, Label
from bridge.webhook.schemas import Payload

_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", re.ASCII)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


class RecordId(Checked):
    """A record's id, kept in its form of 18 characters."""

    must = "be an id of 15 or 18 characters"

    def read(self, value: Any) -> Any:
        if type(value) is not str or not _ID.fullmatch(value):
            return UNREAD
        return value + "".join(_checks(value)) if len(value) == 15 else value  # noqa: PLR2004


def _checks(id_: str) -> list[str]:
    """Return one letter for every five, whose bits say which are upper case."""
    fives = (id_[start : start + 5] for start in (0, 5, 10))
    return [
        _LETTERS[sum(1 << bit for bit, one in enumerate(five) if one.isupper())]
        for five in fives
    ]


class Flag(Checked):
    """A checkbox: `true` or `false`."""

    must = "be true or false"

    def read(self, value: Any) -> Any:
        return {"true": True, "false": False}.get(value, UNREAD)


class Record(Payload):
    """Any record; an Account has no more than this."""

    id = RecordId(required=True, data_key="Id")
    name = Label(data_key="Name")
    deleted = Flag(data_key="IsDeleted")


class Opportunity(Record):
    """A deal; *account* is the company that it is with."""

    account = RecordId(data_key="AccountId")
    won = Flag(data_key="IsWon")


ACCOUNT = Record()
OPPORTUNITY = Opportunity()
