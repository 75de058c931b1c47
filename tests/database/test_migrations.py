"""Start-up: six steps, from any earlier state, to a schema that passes its check."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from engine.database.migrations import STEP_NAMES, MigrationRun, migrate, plan

LEGACY = """
CREATE TABLE et_messages (
    id serial PRIMARY KEY, tenant_id integer NOT NULL, lead_id integer, thread_id integer,
    channel varchar NOT NULL, direction varchar NOT NULL, text_content varchar, raw_payload json,
    delivery_status varchar NOT NULL, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now(),
    campaign text);
INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, delivery_status)
SELECT 1, n, 'simulator', 'inbound', 'old ' || n, CASE WHEN n % 2 = 0 THEN 'received' ELSE 'inbound_ai_replied' END
  FROM generate_series(1, 20) n;
"""


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def statuses(run: MigrationRun) -> list[str]:
    return [step.status for step in run.steps]


def test_an_empty_database_becomes_compatible_and_stays_so(empty_dsn: str) -> None:
    heard: list[str] = []
    first = migrate(empty_dsn, on_step=lambda step: heard.append(f"{step.name} {step.status}"))
    assert first.ok
    assert first.blockers == []
    assert statuses(first) == ["done"] * 6
    assert [f"{name} done" for name in STEP_NAMES] == [line for line in heard if line.endswith("done")]
    assert all(step.ms > 0 for step in first.steps)
    second = migrate(empty_dsn)
    assert second.ok
    assert not second.changed
    assert statuses(second) == ["unchanged"] * 5 + ["done"]
    assert value(empty_dsn, "SELECT count(*) FROM et_schema_runs WHERE ok") == 2


def test_running_every_step_again_changes_nothing(empty_dsn: str) -> None:
    migrate(empty_dsn)
    execute(empty_dsn, "UPDATE et_schema_runs SET fingerprint = 'older'")
    planned = plan(empty_dsn)
    assert planned.steps[0].statements == []
    assert planned.steps[1].statements == []
    assert planned.drift == []
    again = migrate(empty_dsn)
    assert again.ok
    assert again.changed


def test_a_legacy_database_keeps_its_data_and_is_answered(empty_dsn: str) -> None:
    execute(empty_dsn, LEGACY)
    planned = plan(empty_dsn)
    assert any("ADD COLUMN llm_model" in text for text in planned.steps[1].statements)
    assert value(empty_dsn, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'et_%'") == 1, (
        "a plan changes nothing"
    )
    run = migrate(empty_dsn)
    assert run.ok, run.blockers
    assert any("campaign" in line for line in run.drift)
    assert any("raw_payload" in line for line in run.drift)
    assert value(empty_dsn, "SELECT count(*) FROM et_messages WHERE text_content LIKE 'old %'") == 20
    assert value(empty_dsn, "SELECT count(*) FROM et_threads WHERE due_at IS NOT NULL") == 10
    assert value(empty_dsn, "SELECT pg_typeof(tenant_id)::text FROM et_messages LIMIT 1") == "integer", (
        "left as it was"
    )


@pytest.mark.parametrize(
    ("damage", "code", "where"),
    [
        ("ALTER TABLE et_messages ALTER llm_model TYPE bytea USING ''", "schema.column_type", "llm_model"),
        ("ALTER TABLE et_messages ADD must text; ALTER TABLE et_messages ALTER must SET NOT NULL",
         "schema.extra_not_null", "must"),
        ("ALTER TABLE et_messages ALTER id DROP IDENTITY", "schema.no_default", "id"),
    ],
)  # fmt: skip
def test_what_start_up_must_not_alter_is_a_blocker_with_a_remedy(
    dsn: str, damage: str, code: str, where: str
) -> None:
    execute(dsn, damage)
    run = migrate(dsn)
    assert not run.ok
    blocker = next(b for b in run.blockers if b.code == code)
    assert where in blocker.where
    assert blocker.remedy


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE et_messages DROP COLUMN llm_total_tokens",
        "ALTER TABLE et_threads DROP COLUMN epoch",
        "DROP TRIGGER et_messages_mailbox ON et_messages",
        "ALTER TABLE et_messages DISABLE TRIGGER et_messages_status",
        "DROP TRIGGER et_messages_reply_exists ON et_messages",
        "DROP INDEX et_messages_one_reply",
        "ALTER TABLE et_messages DROP CONSTRAINT et_messages_lease",
        "DROP TABLE et_turns",
    ],
)
def test_what_is_missing_is_put_back(dsn: str, damage: str) -> None:
    execute(dsn, damage)
    assert not plan(dsn).ok
    assert migrate(dsn).ok


def test_messages_that_came_without_the_trigger_are_adopted(dsn: str) -> None:
    execute(
        dsn,
        "DROP TRIGGER et_messages_intake ON et_messages",
        "DROP TRIGGER et_messages_mailbox ON et_messages",
        "INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, delivery_status)"
        " VALUES (1, 7, 'simulator', 'inbound', 'anyone?', 'received')",
    )
    assert migrate(dsn).ok
    assert value(dsn, "SELECT count(*) FROM et_messages m JOIN et_threads t ON t.id = m.thread_id"
                      " WHERE t.due_at IS NOT NULL") == 1  # fmt: skip


def test_a_failing_file_leaves_the_earlier_schema_and_is_named(empty_dsn: str) -> None:
    execute(
        empty_dsn,
        LEGACY,
        "ALTER TABLE et_messages ADD provider_message_id text",
        "UPDATE et_messages SET provider_message_id = 'same'",
    )
    run = migrate(empty_dsn)
    assert not run.ok
    failed = next(b for b in run.blockers if b.code == "schema.step_failed")
    assert "a provider's message is stored once" in failed.what
    assert value(empty_dsn, "SELECT count(*) FROM pg_proc WHERE proname = 'et_thread_for'") == 0
    execute(empty_dsn, "UPDATE et_messages SET provider_message_id = NULL")
    assert migrate(empty_dsn).ok


def test_five_migrators_at_once(empty_dsn: str) -> None:
    runs: list[MigrationRun] = []
    threads = [threading.Thread(target=lambda: runs.append(migrate(empty_dsn))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.ok for run in runs] == [True] * 5
    assert sum(run.changed for run in runs) == 1


def test_a_long_transaction_is_given_way_to(dsn: str) -> None:
    execute(dsn, "DROP TRIGGER et_messages_status ON et_messages")
    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE et_messages IN ACCESS EXCLUSIVE MODE")
        runs: list[MigrationRun] = []
        thread = threading.Thread(target=lambda: runs.append(migrate(dsn)))
        thread.start()
        time.sleep(2.5)
        assert thread.is_alive()
        holder.rollback()
    thread.join(30)
    assert runs[0].ok
