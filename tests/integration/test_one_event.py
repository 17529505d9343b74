"""What `make size` says of one event is measured, and grows no more."""

from __future__ import annotations

from tests.support.one_event import entered, table

MOST_FILES = 43
MOST_FUNCTIONS = 309
"""They may only shrink, down to 25 and 120; a deadline for each request was worth one file."""


def test_an_event_enters_no_more_of_the_house_than_it_did() -> None:
    found = entered()

    assert {"bridge/ingest.py", "workers/sync.py"} <= found.files
    assert len(found.files) <= MOST_FILES, table(found)
    assert len(found.functions) <= MOST_FUNCTIONS, table(found)
    assert (1, 2, 5) == (found.joined, found.queued, found.job)
