"""How deliveries that somebody asked for are kept, beside the way they go."""

from __future__ import annotations

from bridge.ingest import Receipt
from bridge.store.capture import Captures
from bridge.web.hooks import Receiver
from bridge.webhook.source import Delivery, Source


class Captured:
    """A receiver that offers what it took, and so what is authentic, to be kept."""

    def __init__(self, receiver: Receiver, captures: Captures) -> None:
        self.sources = receiver.sources
        self._receiver = receiver
        self._captures = captures

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        """Take one delivery; raises SignatureError and StorageError."""
        receipt = self._receiver.receive(source, delivery, now)
        self._captures.offer(source.name, delivery.body)
        return receipt
