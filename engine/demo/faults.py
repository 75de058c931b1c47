"""Faults on demand: each can be switched on and off while everything runs, and several at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from engine.demo.channel_far_end import ChannelFarEnd, Conduct
from engine.demo.far_end import FarEnd
from engine.model import EngineSnapshot, SwitchboardError
from engine.supervisor import migrate

SLOW_MODEL_SECONDS = 6.0
SLOW_CHANNEL_SECONDS = 4.0
LOCK_SECONDS = 3
DROPPED = ("et_messages", "llm_model")


@dataclass(slots=True)
class Fault:
    """Something that can go wrong."""

    key: str
    """Short and stable."""
    title: str
    tooltip: str
    """One sentence: what happens, and what to look at."""
    on: bool = False
    """Never of what happens once and is over."""
    once: bool = False
    """It happens when it is chosen."""


CATALOGUE = (
    ("uniapi-outage", "UniAPI outage", "UniAPI answers 503: replies come from Z.ai until it is back."),
    ("uniapi-slow", "UniAPI slow", "UniAPI takes six seconds for every answer: watch the latency."),
    (
        "uniapi-money",
        "UniAPI out of money",
        "UniAPI answers 403, the account is empty: no retries, Z.ai answers.",
    ),
    (
        "llm-down",
        "Both LLMs down",
        "Nobody can answer: a blocker; messages wait as received and are answered later.",
    ),
    (
        "llm-refuses",
        "Both LLMs refuse",
        "Both answer 400, wrong request: messages end as errors. When it is off again, r in Messages replays one.",
    ),
    ("channel-slow", "Channel slow", "The channel takes four seconds to accept each message."),
    (
        "channel-refuses",
        "Channel refuses",
        "The channel takes no connections: sends are retried, later and later.",
    ),
    (
        "channel-resets",
        "Channel resets",
        "The channel takes each message and breaks the connection: unknown outcomes, never sent twice. "
        "Receipts come, and settle them, when this is switched off.",
    ),
    ("burst", "Burst", "A dozen customers write thirty messages at once."),
    (
        "hostile",
        "Hostile text",
        "A customer writes terminal escapes, markup, invisible letters and orders to the model: look at "
        "Messages, nothing of it acts.",
    ),
    (
        "schema-column",
        "Column dropped",
        f"The column {'.'.join(DROPPED)} is dropped: nothing is claimed until the schema is migrated.",
    ),
)
ONCE = frozenset({"burst", "hostile"})
"""What happens when it is chosen, and is over."""


class Faults:
    """The faults of one demonstration, applied to its far ends and its database."""

    def __init__(
        self,
        llm: FarEnd,
        channel: ChannelFarEnd,
        *,
        hold_receipts: Callable[[bool], None],
        burst: Callable[[], None],
        hostile: Callable[[], None],
        dsn: str,
        snapshot: Callable[[], EngineSnapshot],
    ) -> None:
        self._all = [Fault(*words, once=words[0] in ONCE) for words in CATALOGUE]
        self._llm, self._channel = llm, channel
        self._hold_receipts, self._once = hold_receipts, {"burst": burst, "hostile": hostile}
        self._dsn, self._snapshot = dsn, snapshot
        self._blocked = False
        llm.uniapi.slow_seconds = SLOW_MODEL_SECONDS
        channel.slow_seconds = SLOW_CHANNEL_SECONDS

    def current(self) -> list[Fault]:
        """Every fault; a schema that was migrated meanwhile is no fault any more."""
        dropped = self._named("schema-column")
        if dropped.on:
            blocked = any(blocker.code.startswith("schema.") for blocker in self._snapshot().blockers)
            dropped.on = blocked or not self._blocked
            self._blocked = blocked
        return self._all

    def toggle(self, key: str) -> Fault:
        """Switch a fault on or off, or let happen what happens once. Raises SwitchboardError.

        That of the schema takes up to some seconds, the others no time.
        """
        self.current()
        fault = self._named(key)
        if key in ONCE:
            self._once[key]()
            return fault
        if key == "schema-column":
            self._break_schema(not fault.on)
        fault.on = not fault.on
        if key == "channel-refuses":
            (self._channel.refuse_connections if fault.on else self._channel.accept_connections)()
        self._apply()
        return fault

    def _named(self, key: str) -> Fault:
        for fault in self._all:
            if fault.key == key:
                return fault
        known = ", ".join(fault.key for fault in self._all)
        raise SwitchboardError(f"There is no fault {key!r}.", f"There are: {known}.")

    def _apply(self) -> None:
        on = {fault.key for fault in self._all if fault.on}
        self._llm.uniapi.mode = (
            "503"
            if on & {"llm-down", "uniapi-outage"}
            else "400"
            if "llm-refuses" in on
            else "403"
            if "uniapi-money" in on
            else "slow"
            if "uniapi-slow" in on
            else "ok"
        )
        self._llm.zai.mode = "503" if "llm-down" in on else "400" if "llm-refuses" in on else "ok"
        conduct = (
            Conduct.RESET if "channel-resets" in on else Conduct.SLOW if "channel-slow" in on else Conduct.OK
        )
        self._channel.mix({conduct: 1.0})
        self._hold_receipts("channel-resets" in on)

    def _break_schema(self, broken: bool) -> None:
        self._blocked = False
        if not broken:
            migrate(self._dsn, actor="demo")
            return
        table, column = DROPPED
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'".encode())
                connection.execute(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {column}".encode())
        except psycopg.Error as error:
            said = (error.diag.message_primary or str(error)).strip()
            raise SwitchboardError(f"The column could not be dropped: {said}.", "Try again.") from None
