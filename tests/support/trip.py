"""A whole trip in a test: a running engine, scripted far ends, and a provider that inserts rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from engine.database.handle import Database
from engine.demo.channel_far_end import ChannelFarEnd
from engine.demo.far_end import FarEnd
from engine.settings import Settings, load_settings
from engine.supervisor import Engine

PATIENCE = 40.0


class Trip:
    """One database, its engine (restartable), the LLM far end and the channel's."""

    def __init__(self, dsn: str, llm: FarEnd, channel: ChannelFarEnd, settings: Settings) -> None:
        self.dsn, self.llm, self.channel, self.settings = dsn, llm, channel, settings
        self.connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.connection.prepare_threshold = None  # its SELECT * outlives columns that come and go
        self.engine: Engine | None = None

    def start(self, **changes: Any) -> Engine:
        settings = self.settings.model_copy(update=changes)
        self.engine = Engine(settings, Database(self.dsn, "test", None), simulated=True, drain_seconds=2)
        self.engine.start()
        assert self.engine.wait_ready(PATIENCE)
        return self.engine

    def stop(self) -> None:
        if self.engine is not None:
            assert self.engine.stop()
            self.engine = None

    def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return self.connection.execute(sql.encode(), params).fetchall()

    def one(self, sql: str, *params: Any) -> dict[str, Any]:
        rows = self.query(sql, *params)
        assert len(rows) == 1, rows
        return rows[0]

    def setting(self, key: str, value: Any) -> None:
        self.connection.execute(
            "INSERT INTO et_platform_settings (key, value) VALUES (%s, %s)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, Jsonb(value)],
        )

    def quiet(self, seconds: float, most: float = 10.0) -> None:
        self.setting("quiet_window", {"seconds": seconds, "max_seconds": most})

    def insert(self, text: str | None, sender: str = "anna", **columns: Any) -> int:
        """What a provider writes; returns the message's id."""
        row = {
            "tenant_id": 1,
            "channel": "simulator",
            "direction": "inbound",
            "text_content": text,
            "delivery_status": "received",
            "raw_payload": Jsonb({"from": sender, **columns.pop("payload", {})}),
            **columns,
        }
        names = ", ".join(row)
        marks = ", ".join(["%s"] * len(row))
        query = f"INSERT INTO et_messages ({names}) VALUES ({marks}) RETURNING id"
        return int(self.query(query, *row.values())[0]["id"])

    def message(self, message_id: int) -> dict[str, Any]:
        return self.one("SELECT * FROM et_messages WHERE id = %s", message_id)

    def reply_to(self, message_id: int) -> dict[str, Any] | None:
        rows = self.query("SELECT * FROM et_messages WHERE in_reply_to = %s AND author = 'ai'", message_id)
        assert len(rows) <= 1
        return rows[0] if rows else None

    def turn(self, message_id: int) -> dict[str, Any]:
        return self.query(
            "SELECT * FROM et_turns WHERE message_id = %s ORDER BY id DESC LIMIT 1", message_id
        )[0]

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """The condition's value once it is true; fails after PATIENCE seconds."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        rows = self.query(
            "SELECT id, direction, delivery_status, reason, last_error FROM et_messages ORDER BY id"
        )
        raise AssertionError(f"not within {PATIENCE} s: {what or condition}: {rows[-10:]}")

    def until_status(self, message_id: int, *statuses: str) -> dict[str, Any]:
        row: dict[str, Any] = self.until(
            lambda: (m := self.message(message_id))["delivery_status"] in statuses and m,
            f"message {message_id} is {statuses}",
        )
        return row

    def until_sent(self, message_id: int) -> dict[str, Any]:
        """The reply to a message, once it is sent."""
        self.until_status(message_id, "inbound_ai_replied")
        head = self.message(message_id)["turn_head_id"] or message_id
        reply: dict[str, Any] = self.until(
            lambda: (r := self.reply_to(head)) and r["delivery_status"] in ("sent", "accepted") and r,
            f"the reply to {message_id} is sent",
        )
        return reply


@contextmanager
def trip(dsn: str, tmp_path: Path, **settings: Any) -> Iterator[Trip]:
    """A trip on `dsn` whose engine is not started yet; no quiet window."""
    with FarEnd() as llm, ChannelFarEnd() as channel:
        chosen = load_settings(
            **{
                "data_dir": tmp_path,
                "uniapi_base_url": llm.uniapi_url,
                "uniapi_api_key": "key-of-uniapi",
                "zai_base_url": llm.zai_url,
                "zai_api_key": "key-of-zai",
                "simulator_base_url": channel.base_url,
                "http_enabled": False,
                "poll_seconds": 0.5,
                "retry_base_seconds": 0.2,
                **settings,
            }
        )
        whole = Trip(dsn, llm, channel, chosen)
        whole.quiet(0)
        try:
            yield whole
        finally:
            whole.stop()
            whole.connection.close()
