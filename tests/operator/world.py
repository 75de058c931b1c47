"""A small installation in a real database: customers write, an engine claims, completes and sends, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg.pq import ExecStatus
from psycopg.types.json import Jsonb

from engine.database.connection import Connection, Pool, connect, open_pool
from engine.inbound import claims
from engine.inbound.claims import Claim, Completed, Completion
from engine.model import TurnKind, TurnOutcome
from engine.operator.audit import Operator
from engine.outbound import queue
from engine.runtime.agent_runtime import TurnResult
from engine.sends import Send

ANNA = Operator("anna", "desk from 10.0.0.7")
GUEST = Operator("guest", "desk", read_only=True)
ENGINE = "engine-1"


class World:
    """The database, and every part of a trip as one call."""

    def __init__(self, dsn: str, pool: Pool, connection: Connection) -> None:
        self.dsn, self.pool, self.connection = dsn, pool, connection

    async def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        cursor = await self.connection.execute(sql.encode(), params)
        result = cursor.pgresult
        return await cursor.fetchall() if result and result.status == ExecStatus.TUPLES_OK else []

    async def one(self, sql: str, *params: Any) -> dict[str, Any]:
        rows = await self.query(sql, *params)
        assert len(rows) == 1, rows
        return rows[0]

    async def quiet(self, seconds: float) -> None:
        await self.query(
            """INSERT INTO et_platform_settings (key, value) VALUES ('quiet_window', %s)
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value""",
            Jsonb({"seconds": seconds, "max_seconds": 10}),
        )

    async def insert(self, text: str = "hello", sender: str = "bob", **columns: Any) -> int:
        """A message of a customer; returns its id."""
        row = {
            "tenant_id": 1,
            "channel": "simulator",
            "direction": "inbound",
            "text_content": text,
            "delivery_status": "received",
            "raw_payload": Jsonb({"from": sender}),
            **columns,
        }
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        query = f"INSERT INTO et_messages ({names}) VALUES ({marks}) RETURNING id"
        return int((await self.one(query, *row.values()))["id"])

    async def message(self, message_id: int) -> dict[str, Any]:
        return await self.one("SELECT * FROM et_messages WHERE id = %s", message_id)

    async def thread_of(self, message_id: int) -> int:
        return int((await self.message(message_id))["thread_id"])

    async def thread(self, thread_id: int) -> dict[str, Any]:
        return await self.one("SELECT * FROM et_threads WHERE id = %s", thread_id)

    async def send(self, queue_id: int) -> dict[str, Any]:
        return await self.one("SELECT * FROM et_outbound_queue WHERE id = %s", queue_id)

    async def status(self, message_id: int) -> str:
        return str((await self.message(message_id))["delivery_status"])

    async def audits(self, act: str | None = None) -> list[dict[str, Any]]:
        rows = await self.query("SELECT * FROM et_audit_log ORDER BY id")
        return [row for row in rows if act in (None, row["act"])]

    async def claim(self, *, burst: int = 20, connection: Connection | None = None) -> list[Claim]:
        return await claims.claim_turns(
            connection or self.connection, engine=ENGINE, threads=10, lease_seconds=60, burst=burst
        )

    async def claim_one(self) -> Claim:
        (claim,) = await self.claim()
        return claim

    async def complete(
        self,
        claim: Claim,
        outcome: TurnOutcome = TurnOutcome.REPLIED,
        *,
        connection: Connection | None = None,
        **result: Any,
    ) -> Completed | None:
        """End a turn; None when its thread was locked."""
        if outcome is TurnOutcome.REPLIED:
            result.setdefault("text", "Hello from the AI")
        completion = Completion(
            claim=claim,
            result=TurnResult(outcome, started_at=claim.claimed_at, **result),
            kind=TurnKind.LIVE,
            agent_id=1,
            agent_version=1,
            simulated=False,
            restartable=False,
            wasted=None,
            retry_seconds=0,
        )
        return (await claims.complete_turns(connection or self.connection, ENGINE, [completion]))[0]

    async def answered(self, text: str = "hello", sender: str = "bob") -> Completed:
        """A message that the AI has answered; its reply is queued."""
        await self.insert(text, sender)
        done = await self.complete(await self.claim_one())
        assert done is not None
        assert done.result is TurnOutcome.REPLIED
        return done

    async def failed(self, text: str = "hello", sender: str = "bob", reason: str = "llm.transient") -> int:
        """A message that ended with an error."""
        message_id = await self.insert(text, sender)
        await self.complete(await self.claim_one(), TurnOutcome.ERROR, reason=reason, error="no answer")
        assert await self.status(message_id) == "inbound_error"
        return message_id

    async def claim_send(self, connection: Connection | None = None) -> Send:
        (send,) = await queue.claim_sends(
            connection or self.connection, engine=ENGINE, sends=10, lease_seconds=60, paused=[]
        )
        return send

    async def start(self, send: Send, connection: Connection | None = None) -> bool:
        return (await queue.start_sends(connection or self.connection, ENGINE, [send]))[0]

    async def record(self, send: Send, status: Any, outcome: Any = None, **more: Any) -> bool:
        result = queue.SendResult(send.queue_id, send.token, status, outcome, **more)
        return (await queue.record_sends(self.connection, [result]))[0]

    async def promote(self) -> None:
        """Time passes, and retries are queued again."""
        await self.query(
            "UPDATE et_outbound_queue SET next_attempt_at = now() WHERE status = 'retry_scheduled'"
        )
        assert await queue.promote_retries(self.connection) == 1

    async def unknown_send(self, sender: str = "bob") -> int:
        """A reply whose send ended without a readable answer."""
        await self.answered(sender=sender)
        send = await self.claim_send()
        assert await self.start(send)
        assert await self.record(send, "failed", "unknown", error_class="unknown", error="timeout")
        return send.queue_id

    async def waits(self, task: asyncio.Task[Any]) -> None:
        """Returns once some session of this database waits for a lock; fails when `task` ends instead."""
        async with await connect(self.dsn) as watcher:
            for _ in range(500):
                cursor = await watcher.execute(
                    "SELECT count(*) AS n FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                row = await cursor.fetchone()
                if row and row["n"]:
                    return
                assert not task.done(), "it was to wait"
                await asyncio.sleep(0.01)
        raise AssertionError("nobody waits for a lock")


@asynccontextmanager
async def world(dsn: str) -> AsyncIterator[World]:
    """A world on a migrated database, without quiet window."""
    pool = open_pool(dsn, size=4)
    await pool.open(wait=True)
    try:
        async with await connect(dsn) as connection:
            made = World(dsn, pool, connection)
            await made.quiet(0)
            yield made
    finally:
        await pool.close()
