"""Every error the bridge raises on purpose, and what follows from each.

* BridgeError
  x ConfigError                  refuse to start; lists every problem        exit 78
  x SignatureError               not the sender it claims to be              401
  x PayloadError                 authentic, but not understood               202, quarantined
  x StorageError                 could not be recorded; send it again        503 + Retry-After
  x SourceError                  the source's own API gave no answer         asked again later
    + SourceUnreadError          it gave one that we cannot read             left out by backfill
  x LostLeaseError               another worker has the account now          the job ends, unharmed
  x VitallyError                 the destination did not take it
    + VitallyUnavailableError    time may cure it: refused, time-out, 5xx    retried with back-off
    + VitallyLimitedError        429: wait, it is no failed attempt          everybody waits
    + VitallyKeyError            401, 403: our key                           all writes stop
    + VitallyMissingError        404: no such account                        create it
    + VitallyRefusedError        400, 409, 422: time will not cure it        parked, at once

A class of its own is only what somebody catches for itself; an error that ends a
command with a sentence is a plain BridgeError.
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: the exit status where the settings are wrong."""


class BridgeError(Exception):
    """Root of everything the bridge raises on purpose."""


class ConfigError(BridgeError):
    """The settings or `bridge.toml` are wrong; *problems* has one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class SignatureError(BridgeError):
    """The delivery does not prove that its sender is who it claims to be.

    *kind* is one of the reasons in `bridge.store.refused`.
    """

    def __init__(self, reason: str, kind: str = "malformed") -> None:
        self.kind = kind
        super().__init__(reason)


class PayloadError(BridgeError):
    """An authentic body that is no event we can read; *reason* is safe to show."""

    def __init__(self, reason: str, event: str | None = None) -> None:
        self.reason = reason
        self.event = event
        super().__init__(reason)


class StorageError(BridgeError):
    """Redis did not take it (down, slow, full, read-only, may evict)."""


class SourceError(BridgeError):
    """The source's own API gave no answer; *reason* is safe to show.

    *retry_after* is in seconds (None: it did not say). *refused*: its key is wrong or
    may not read this, which time will not cure.
    """

    def __init__(
        self, reason: str, retry_after: float | None = None, *, refused: bool = False
    ) -> None:
        self.reason = reason
        self.retry_after = retry_after
        self.refused = refused
        super().__init__(reason)


class SourceUnreadError(SourceError):
    """The source's own API gave an answer that we cannot read; the next one may be fine."""


class LostLeaseError(BridgeError):
    """The account's lease is no longer ours; whoever holds it has newer facts."""


class VitallyError(BridgeError):
    """Vitally did not take a request; *reason* is safe to show to who may see accounts.

    It *quotes* Vitally's reply, which may name a customer, or is our own sentence.
    """

    quotes = False

    def __init__(self, reason: str, status: int | None = None) -> None:
        self.reason = reason
        self.status = status
        super().__init__(reason)

    @property
    def brief(self) -> str:
        """The reason for logs, lamps and alerts: without Vitally's words."""
        return f"answered {self.status}" if self.quotes else self.reason


class VitallyUnavailableError(VitallyError):
    """Time may cure it: refused connection, time-out, 5xx, broken reply.

    *sent* is False only where the request surely did not reach Vitally.
    """

    def __init__(
        self, reason: str, status: int | None = None, *, sent: bool = True
    ) -> None:
        self.sent = sent
        super().__init__(reason, status)


class VitallyLimitedError(VitallyError):
    """429; *retry_after* is in seconds (None: Vitally did not say)."""

    def __init__(self, reason: str, retry_after: float | None) -> None:
        self.retry_after = retry_after
        super().__init__(reason, 429)


class VitallyKeyError(VitallyError):
    """401 or 403: the key is refused, for every account alike."""


class VitallyMissingError(VitallyError):
    """404: Vitally has no such account."""


class VitallyRefusedError(VitallyError):
    """400, 409, 422 and other answers that repeating will not change."""
