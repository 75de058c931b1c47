"""A claimed send, and who takes it: the only thing inbound and outbound share beside the database.

A fresh reply need not be claimed a second time: its turn's commit queues it as claimed by this engine, and
hands it to this engine's dispatcher. It is held and fenced like any claimed send.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Words:
    """What somebody says to a customer, and by which way."""

    author: str
    tenant_id: int
    channel: str
    account: str
    text: str | None
    address: str | None
    last_inbound_at: datetime | None
    """When the customer last wrote."""
    claimed_at: datetime

    @property
    def route(self) -> str:
        """channel/account."""
        return f"{self.channel}/{self.account}"


@dataclass(frozen=True, kw_only=True)
class Send(Words):
    """A claimed queue row with its message and its destination."""

    queue_id: int
    message_id: int
    token: int
    attempts: int
    thread_id: int | None
    lead_id: int | None
    reply_to: str | None
    started: bool = False
    """Marked as started by the commit that queued it: it leaves now, or its outcome is unknown."""


class Outbox(Protocol):
    """Takes the replies of turns that were just committed."""

    @property
    def lease_seconds(self) -> float:
        """How long a send is held."""

    @property
    def paused(self) -> Collection[str]:
        """Routes that are left alone for now."""

    def room(self) -> int:
        """How many sends can be taken now; what is more is queued for whoever claims it."""

    def leaves_at_once(self, words: Words) -> bool:
        """Whether nothing holds these words back: no rate, quiet hours or trouble. Takes their turn in the rates."""

    def take(self, send: Send, claimed: float) -> None:
        """Send it: it is claimed by this engine. `claimed`: the loop's time just before the claim, seconds."""
