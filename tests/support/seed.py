"""A small installation at one frozen moment: conversations in every state there is, always the same.

Rows are planted behind the triggers' back, since no row can be received at 14:02 of another day; what the
database counts itself (engines' heartbeats, today's usage) is of today.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from engine.model import (
    AITrace,
    ComponentHealth,
    DispatcherSnapshot,
    EngineSnapshot,
    FailureClass,
    LLMAttempt,
    Usage,
    WorkerSnapshot,
)

FROZEN = datetime(2026, 3, 14, 14, 30, 0, tzinfo=UTC)
"""The moment the console's clock stands at."""
PROMPT = "[system]\nYou answer for Harbour Dental.\n\n[user]\nDo you have time on Friday?"
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
        found = self.connection.execute(query, values).fetchone()
        assert found is not None
        return found[0] if isinstance(found, tuple) else found[returning]

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
        column = "last_inbound_at" if columns["direction"] == "inbound" else "last_message_at"
        self.connection.execute(
            sql.SQL("UPDATE et_threads SET {} = %s, last_message_at = %s WHERE id = %s").format(
                sql.Identifier(column)
            ),
            [ago(at), ago(at), columns["thread_id"]],
        )
        return self.seed.messages[name]

    def _get(self, table: str, row_id: int) -> dict[str, Any]:
        query = sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE id = %s").format(sql.Identifier(table))
        found = self.connection.execute(query, [row_id]).fetchone()
        assert found is not None
        return dict(found[0])


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


def verdicts(blocked: str | None = None, detail: str = "") -> list[dict[str, str]]:
    """Every rule's word, up to the one that blocked."""
    told = []
    for stage, rules in (("before", RULES), ("after", AFTER_RULES)):
        for rule in rules:
            block = rule == blocked
            told.append(
                {
                    "rule": rule,
                    "stage": stage,
                    "verdict": "block" if block else "pass",
                    "detail": detail if block else "",
                }
            )
            if block:
                return told
    return told


def plant(connection: psycopg.Connection[Any]) -> Seed:
    """Fill a migrated, empty database. Needs a superuser."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE et_tenants SET name = 'Harbour Dental', daily_budget_usd = 5 WHERE id = 1")
        connection.execute("UPDATE et_agents SET name = 'Reception', active_version = 3 WHERE id = 1")
        seeder = Seeder(connection)
        seeder.row("et_tenants", name="Bike Atelier")
        _past(seeder)
        _conversations(seeder)
        _engine(seeder)
        _usage(seeder)
        connection.execute("SET LOCAL session_replication_role = DEFAULT")
    connection.execute("ANALYZE")
    return seeder.seed


def _past(s: Seeder) -> None:
    """Tens of plain conversations, in which everything went well."""
    names = (
        "Marta Kovács",
        "Jonas Weber",
        "Aiko Tanaka",
        "Émile Roux",
        "Priya Nair",
        "Tomáš Novák",
        "李小龙",
    )
    questions = (
        ("Do you have time on Friday?", "Yes: Friday at 10:20 or at 15:40. Which suits you?"),
        ("How much is a cleaning?", "A cleaning is 79 €; it takes about forty minutes."),
        ("Where are you?", "Harbour Street 4, right beside the ferry. Parking is behind the house."),
        ("Thank you! 🙏🏽", "You are welcome. See you soon!"),
    )
    for number in range(28):
        name = f"past{number % 7}"
        if name not in s.seed.threads:
            s.thread(name, names[number % 7], f"+4477009001{number:02d}", ("telegram", "waha")[number % 2])
        question, answer = questions[number % 4]
        s.answered(f"past{number}", name, question, answer, 7_200 - number * 200.0)


def _conversations(s: Seeder) -> None:
    """One of each state, the newest last."""
    s.thread("fallback", "Priya Raman", "+447700900210", "waha")
    s.answered("fallback", "fallback", "Is the x-ray included?", "It is, with every first visit.", 900, model="glm-4.7",
               provider="zai")  # fmt: skip
    down = attempt("uniapi", "gemini-3-flash-preview", 897.9, 210, FailureClass.TRANSIENT)
    s.connection.execute(
        "UPDATE et_turns SET provider = 'zai', model = 'glm-4.7', attempts = %s, context_prompt = %s WHERE id = %s",
        [json.dumps([down, attempt("zai", "glm-4.7", 897.6, 960)]), PROMPT, s.seed.turns["fallback"]],
    )

    s.thread("burst", "Tomáš Dvořák", "+447700900211")
    head = s.inbound("burst", "burst", "hello", 800, "inbound_ai_replied")
    for number, text in enumerate(("one question", "do you take walk-ins?"), 1):
        s.inbound(f"burst{number}", "burst", text, 800 - number, "inbound_ai_replied", turn_head_id=head)
    s.reply("burst.reply", "burst", "Hello! Walk-ins are welcome before noon.", 795, "accepted")
    s.turn("burst", "burst", 797, reply_message_id=s.seed.messages["burst.reply"], burst=3)

    s.thread("policy", "Lena Fischer", "+447700900212")
    s.inbound("policy", "policy", "I want to talk to a real person, please", 700, "inbound_human_takeover",
              reason="policy.human_requested")  # fmt: skip
    s.turn("policy", "policy", 698, "takeover", reason="policy.human_requested", error="the customer asked for a person",
           provider=None, model=None, attempts=[], context={}, context_at=None, answered_at=None, prompt_tokens=None,
           completion_tokens=None, total_tokens=None, cost_usd=None,
           verdicts=verdicts("human_requested", "the customer asked for a person"))  # fmt: skip

    s.thread(
        "owned", "Jonas Brandt", "+447700900213", owner="human", operator="sam", owner_since=ago(650), epoch=1
    )
    s.inbound(
        "owned",
        "owned",
        "My crown fell out 😬 what now?",
        640,
        "inbound_human_takeover",
        reason="takeover.owned",
    )

    for number in range(3):
        name = f"error{number}"
        s.thread(name, f"Olga {('Ivanova', 'Petrova', 'Sokolova')[number]}", f"+44770090022{number}")
        s.inbound(name, name, "Can I move my appointment to next week?", 600 - number * 10, "inbound_error",
                  reason="llm.rate", last_error="HTTP 429: too many requests", attempts=5)  # fmt: skip
        failed = [attempt(p, m, 597 - number * 10, 120, FailureClass.RATE)
                  for p, m in (("uniapi", "gemini-3-flash-preview"), ("zai", "glm-4.7"))]  # fmt: skip
        s.turn(name, name, 598 - number * 10, "error", reason="llm.rate", error="HTTP 429: too many requests",
               attempts=failed, cost_usd=None, total_tokens=None, prompt_tokens=None,
               completion_tokens=None)  # fmt: skip

    for status, outcome, error in (
        ("failed", "unknown", "connection reset after the request was sent"),
        ("failed", "rejected", "HTTP 403: bot was blocked by the user"),
        ("retry_scheduled", None, "HTTP 502: bad gateway"),
        ("queued", None, None),
        ("processing", None, None),
    ):
        name = outcome or status
        s.thread(name, f"Customer {name}", f"+4477009003{len(s.seed.threads):02d}")
        s.inbound(name, name, "Are you open on Sunday?", 300, "inbound_ai_replied")
        s.reply(f"{name}.reply", name, "We are closed on Sundays.", 296, status, outcome=outcome,
                send={"last_error": error, "error_class": "transient" if error else None}, last_error=error)  # fmt: skip
        s.turn(name, name, 298, reply_message_id=s.seed.messages[f"{name}.reply"])

    s.thread("other", "Bo Nilsson", "bo@example", "waha", tenant_id=2)
    s.inbound("other", "other", "Is my bike ready?", 120, "inbound_ai_replied")
    s.reply("other.reply", "other", "It is: come by until six.", 116)

    s.thread(
        "thinking",
        "Diego Ramos",
        "+447700900230",
        holder="engine-a",
        lease_until=datetime(2999, 1, 1, tzinfo=UTC),
    )
    s.inbound("thinking", "thinking", "¿Tienen cita para mañana?", 4, "inbound_processing")
    s.thread("waiting", None, "+447700900231", due_at=ago(0), burst_started_at=ago(1))
    s.inbound(
        "waiting", "waiting", "Hi, is this the dentist?", 1, "received", raw_payload={"from": "+447700900231"}
    )


def _engine(s: Seeder) -> None:
    """One engine that is alive by the database's own clock."""
    llm = [
        ComponentHealth(name="uniapi", kind="llm", state="up", figures={"p50_ms": 1180, "p95_ms": 2410}),
        ComponentHealth(name="zai", kind="llm", state="degraded", detail="HTTP 503 an hour ago"),
    ]
    channels = [
        ComponentHealth(name="telegram/default", kind="channel", state="up", detail="polling"),
        ComponentHealth(name="waha/default", kind="channel", state="up", detail="session WORKING"),
    ]
    snapshot = EngineSnapshot(
        name="engine-a",
        version="0.1.0",
        host="harbour",
        pid=4711,
        started_at=ago(86_000),
        inbound_worker=WorkerSnapshot(
            state="running",
            listening=True,
            in_flight=1,
            in_flight_max=64,
            claimed=61,
            replied=55,
            takeovers=2,
            errors=3,
        ),
        outbound_dispatcher=DispatcherSnapshot(
            state="running",
            in_flight=1,
            in_flight_max=32,
            sent=52,
            accepted=1,
            retried=2,
            failed=1,
            unknown=1,
        ),
        llm=llm,
        channels=channels,
    )
    s.row(
        "et_engines",
        name="engine-a",
        version="0.1.0",
        host="harbour",
        pid=4711,
        started_at=ago(86_000),
        heartbeat_at=datetime(2999, 1, 1, tzinfo=UTC),
        snapshot=snapshot.model_dump(mode="json"),
    )


def _usage(s: Seeder) -> None:
    for provider, model, turns, cost in (
        ("uniapi", "gemini-3-flash-preview", 48, 0.9216),
        ("zai", "glm-4.7", 7, 0.0412),
    ):
        s.connection.execute(
            """INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, unpriced,
                                            prompt_tokens, completion_tokens, cost_usd)
               VALUES (date_trunc('hour', now()), 1, 1, 'conversation', %s, %s, %s, 0, %s, %s, %s)""",
            [provider, model, turns, turns * 412, turns * 38, cost],
        )


def fill_history(connection: psycopg.Connection[Any], messages: int, threads: int = 2_000) -> None:
    """A long past of plain rows, by SQL alone: for plans and timings, not for reading."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            """INSERT INTO et_threads (tenant_id, channel, address, last_inbound_at, last_message_at, created_at)
               SELECT 1, 'telegram', 'a' || n, now() - n * interval '1 minute', now() - n * interval '1 minute',
                      now() - interval '300 days' FROM generate_series(1, %s) n""",
            [threads],
        )
        connection.execute(
            """INSERT INTO et_messages (tenant_id, thread_id, channel, direction, author, text_content,
                       delivery_status, created_at, updated_at, llm_provider, llm_model, llm_total_tokens,
                       llm_estimated_cost_usd, in_reply_to)
               SELECT 1, 1 + n %% %s, 'telegram', CASE n %% 2 WHEN 0 THEN 'inbound' ELSE 'outbound' END,
                      CASE n %% 2 WHEN 0 THEN 'customer' ELSE 'ai' END, 'message number ' || n,
                      CASE n %% 2 WHEN 0 THEN CASE n %% 5000 WHEN 0 THEN 'inbound_error' ELSE 'inbound_ai_replied' END
                                  ELSE 'sent' END,
                      now() - (%s - n) * interval '20 seconds', now(),
                      CASE n %% 2 WHEN 1 THEN 'uniapi' END, CASE n %% 2 WHEN 1 THEN 'gemini-3-flash-preview' END,
                      CASE n %% 2 WHEN 1 THEN 400 END, CASE n %% 2 WHEN 1 THEN 0.0001 END, NULL
                 FROM generate_series(1, %s) n""",
            [threads, messages, messages],
        )
        connection.execute(
            """INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, author, status, outcome,
                       attempts, finished_at, created_at)
               SELECT id, tenant_id, thread_id, channel, 'ai', CASE id %% 997 WHEN 0 THEN 'failed' ELSE 'sent' END,
                      CASE id %% 997 WHEN 0 THEN 'rejected' ELSE 'confirmed' END, 1, created_at, created_at
                 FROM et_messages WHERE direction = 'outbound' ORDER BY id""",
            [],
        )
        connection.execute(
            """INSERT INTO et_turns (tenant_id, thread_id, message_id, kind, outcome, started_at, finished_at)
               SELECT tenant_id, thread_id, id, 'live',
                      CASE delivery_status WHEN 'inbound_error' THEN 'error' ELSE 'replied' END, created_at, created_at
                 FROM et_messages WHERE direction = 'inbound' ORDER BY id"""
        )
    connection.execute("ANALYZE")
