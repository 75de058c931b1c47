"""A small installation at one frozen moment: conversations in every state there is, always the same.

What the database counts by its own clock (an engine's heartbeat, today's usage) is of today.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg

from engine.model import ComponentHealth, DispatcherSnapshot, EngineSnapshot, FailureClass, WorkerSnapshot
from tests.support.seeder import FROZEN, Seed, Seeder, ago, attempt, verdicts

__all__ = ["FROZEN", "Seed", "plant"]

PROMPT = "[system]\nYou answer for Harbour Dental.\n\n[user]\nDo you have time on Friday?"


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
    s.turn("policy", "policy", 698, "takeover", reason="policy.human_requested",
           error="the customer asked for a person", provider=None, model=None, attempts=[], context={},
           context_at=None, answered_at=None, prompt_tokens=None, completion_tokens=None, total_tokens=None,
           cost_usd=None, verdicts=verdicts("human_requested", "the customer asked for a person"))  # fmt: skip

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
        kind = "transient" if error else None
        s.reply(f"{name}.reply", name, "We are closed on Sundays.", 296, status, outcome=outcome,
                send={"last_error": error, "error_class": kind}, last_error=error)  # fmt: skip
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
