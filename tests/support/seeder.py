"""Plants rows behind the triggers' back: messages, turns and sends of one frozen moment, in any state."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from engine.model import AITrace, FailureClass, LLMAttempt, Usage

FROZEN = datetime(2026, 3, 14, 14, 30, 0, tzinfo=UTC)
"""The moment the console's clock stands at."""
RULES = ("opt_out", "no_agent", "human_requested", "stale", "window", "loop_guard")
AFTER_RULES = ("empty", "canary", "blocked_phrase", "links", "length")


@dataclass
class Seed:
    """What was planted, by name."""

    messages: dict[str, int] = field(default_factory=dict)
    threads: dict[str, int] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)


class Seeder:
    """Plants rows; times are seconds before `FROZEN`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.seed = Seed()

    def row(self, table: str, **columns: Any) -> int:
        names = list(columns)
        values = [json.dumps(v, default=str) if isinstance(v, dict | list) else v for v in columns.values()]
        returning = "name" if table == "et_engines" else "key" if table == "et_platform_settings" else "id"
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(sql.Placeholder() * len(names)),
            sql.Identifier(returning),
        )
        return self._first(query, values)

    def thread(self, name: str, who: str | None, address: str, channel: str = "telegram", **more: Any) -> int:
        lead_id = None
        if who is not None:
            lead_id = self.row(
                "et_leads", tenant_id=more.get("tenant_id", 1), name=who, created_at=ago(90_000)
            )
            self.connection.execute(
                "INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id) VALUES (%s, %s, %s, %s)",
                [more.get("tenant_id", 1), channel, address, lead_id],
            )
        given = {"tenant_id": 1, "lead_id": lead_id, "channel": channel, "address": address}
        self.seed.threads[name] = self.row("et_threads", **given | {"created_at": ago(90_000)} | more)
        return self.seed.threads[name]

    def inbound(self, name: str, thread: str, text: str | None, at: float, status: str, **more: Any) -> int:
        given = self._of_thread(thread) | {
            "direction": "inbound",
            "author": "customer",
            "text_content": text,
            "delivery_status": status,
            "created_at": ago(at),
            "updated_at": ago(at - 1),
            "lease_until": datetime(2999, 1, 1, tzinfo=UTC) if status == "inbound_processing" else None,
        }
        if status != "received":
            given |= {"claimed_at": ago(at - 2), "attempts": 1, "claimed_by": "engine-a", "claim_token": 1}
        return self._message(name, given | more, at)

    def reply(
        self,
        name: str,
        to: str,
        text: str,
        at: float,
        status: str = "sent",
        *,
        outcome: str | None = None,
        provider: str = "uniapi",
        model: str = "gemini-3-flash-preview",
        send: dict[str, Any] | None = None,
        **more: Any,
    ) -> int:
        """The AI's reply with its queue row and strict trace."""
        head = self._get("et_messages", self.seed.messages[to])
        usage = Usage(prompt_tokens=412, completion_tokens=38, total_tokens=450, estimated_cost_usd=0.000151)
        trace = AITrace(task="conversation", provider=provider, model=model, usage=usage, recorded_at=ago(at))
        given = {
            **{k: head[k] for k in ("tenant_id", "lead_id", "thread_id", "channel")},
            "direction": "outbound",
            "author": "ai",
            "text_content": text,
            "delivery_status": status,
            "in_reply_to": head["id"],
            "raw_payload": {"ai_trace": trace.model_dump(mode="json")},
            "llm_provider": provider,
            "llm_model": model,
            "llm_prompt_tokens": 412,
            "llm_completion_tokens": 38,
            "llm_total_tokens": 450,
            "llm_estimated_cost_usd": 0.000151,
            "created_at": ago(at),
            "updated_at": ago(at),
        }
        if status in ("sent", "accepted"):
            given |= {"send_started_at": ago(at - 0.02), "sent_at": ago(at - 0.21)}
            outcome = outcome or ("confirmed" if status == "sent" else None)
        reply_id = self._message(name, given | more, at)
        self.connection.execute(
            "UPDATE et_messages SET replied_at = %s WHERE id = %s", [ago(at), self.seed.messages[to]]
        )
        self.send(reply_id, status, outcome, at, **(send or {}))
        return reply_id

    def send(self, message_id: int, status: str, outcome: str | None, at: float, **more: Any) -> int:
        message = self._get("et_messages", message_id)
        ended = status in ("sent", "accepted", "failed")
        given = {
            **{k: message[k] for k in ("tenant_id", "thread_id", "channel", "author")},
            "message_id": message_id,
            "status": status,
            "outcome": outcome,
            "attempts": 0 if status == "queued" else 1,
            "created_at": ago(at),
            "updated_at": ago(at - 0.3),
            "next_attempt_at": ago(at),
            "finished_at": ago(at - 0.21) if ended else None,
            "lease_until": datetime(2999, 1, 1, tzinfo=UTC) if status == "processing" else None,
        }
        return self.row("et_outbound_queue", **given | more)

    def turn(self, name: str, message: str, at: float, outcome: str = "replied", **more: Any) -> int:
        """A turn that took 1.2 s, won at the first call unless told otherwise."""
        head = self._get("et_messages", self.seed.messages[message])
        given = {
            "tenant_id": head["tenant_id"],
            "thread_id": head["thread_id"],
            "message_id": head["id"],
            "outcome": outcome,
            "agent_id": 1,
            "agent_version": 3,
            "provider": "uniapi",
            "model": "gemini-3-flash-preview",
            "attempts": [attempt("uniapi", "gemini-3-flash-preview", at - 0.01, 1_180)],
            "verdicts": verdicts(),
            "context": CONTEXT,
            "prompt_tokens": 412,
            "completion_tokens": 38,
            "total_tokens": 450,
            "cost_usd": 0.000151,
            "burst": 1,
            "engine": "engine-a",
            "started_at": ago(at),
            "context_at": ago(at - 0.01),
            "answered_at": ago(at - 1.19),
            "finished_at": ago(at - 1.2),
        }
        self.seed.turns[name] = self.row("et_turns", **given | more)
        return self.seed.turns[name]

    def answered(self, name: str, thread: str, text: str, answer: str, at: float, **reply: Any) -> int:
        """A message, its turn, and its reply as it came to the customer."""
        message_id = self.inbound(name, thread, text, at, "inbound_ai_replied")
        given = {"delivered_at": ago(at - 3.9), "read_at": ago(at - 9)} | reply
        reply_id = self.reply(f"{name}.reply", name, answer, at - 3.2, **given)
        self.turn(name, name, at - 2, reply_message_id=reply_id)
        return message_id

    def _of_thread(self, name: str) -> dict[str, Any]:
        thread = self._get("et_threads", self.seed.threads[name])
        return {k: thread[k] for k in ("tenant_id", "lead_id", "channel")} | {"thread_id": thread["id"]}

    def _message(self, name: str, columns: dict[str, Any], at: float) -> int:
        self.seed.messages[name] = self.row("et_messages", **columns)
        inbound = columns["direction"] == "inbound"
        self.connection.execute(
            """UPDATE et_threads SET last_message_at = %s, last_inbound_at = coalesce(%s, last_inbound_at)
                WHERE id = %s""",
            [ago(at), ago(at) if inbound else None, columns["thread_id"]],
        )
        return self.seed.messages[name]

    def _get(self, table: str, row_id: int) -> dict[str, Any]:
        query = sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE id = %s").format(sql.Identifier(table))
        return dict(self._first(query, [row_id]))

    def _first(self, query: sql.Composed, values: list[Any]) -> Any:
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            found = cursor.execute(query, values).fetchone()
        assert found is not None
        return found[0]


CONTEXT = {
    "history_available": 14,
    "history_kept": 12,
    "history_cut": 2,
    "history_cut_tokens": 188,
    "cut_message_ids": [1, 2],
    "history_tokens": 340,
    "history_budget": 6000,
    "prompt_tokens_estimated": 402,
    "estimate": "ascii/4 + other/1.5 + 4 a message",
    "burst": 1,
    "human_stretch_ended": False,
}


def ago(seconds: float) -> datetime:
    """A moment before `FROZEN`."""
    return FROZEN - timedelta(seconds=seconds)


def attempt(
    provider: str, model: str, at: float, ms: int, failure: FailureClass | None = None
) -> dict[str, Any]:
    """A call to a provider as it is stored."""
    won = failure is None
    usage = Usage(prompt_tokens=412, completion_tokens=38, total_tokens=450) if won else None
    return LLMAttempt(
        provider=provider,
        model=model,
        started_at=ago(at),
        latency_ms=ms,
        ok=won,
        failure=failure,
        http_status=200 if won else 503,
        error=None if won else "HTTP 503: The service is temporarily unavailable.",
        finish_reason="stop" if won else None,
        usage=usage,
    ).model_dump(mode="json")


def verdicts(blocked: str | None = None, detail: str = "") -> list[str | dict[str, str]]:
    """Every rule's word, up to the one that blocked."""
    told: list[str | dict[str, str]] = []
    for stage, rules in (("before", RULES), ("after", AFTER_RULES)):
        for rule in rules:
            if rule == blocked:
                return [*told, {"rule": rule, "stage": stage, "verdict": "block", "detail": detail}]
            told.append(rule)
    return told
