"""Receipts and the watch on them stay as quick as ever, however much has been sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.long_past import fill_history
from tests.support.plans import assert_bounded, plans
from tests.support.postgres import Server

PENDING = 3000
_STATEMENTS = (
    # All is delivered but the newest; every 100th text went out in parts.
    """UPDATE et_messages SET provider_message_id = 'wamid.' || id, send_started_at = created_at, sent_at = created_at,
              delivered_at = CASE WHEN created_at < now() - interval '2 h' THEN created_at END
        WHERE direction = 'outbound'""",
    """UPDATE et_outbound_queue SET other_provider_ids = jsonb_build_array('wamid.part.' || message_id)
        WHERE message_id % 100 = 1""",
    f"""INSERT INTO et_pending_receipts (channel, provider_message_id, status)
       SELECT 'telegram', 'wamid.of somebody else ' || n, 'sent' FROM generate_series(1, {PENDING}) n""",
)


@pytest.fixture(scope="module")
def past(embedded: Server) -> Iterator[str]:
    name = embedded.migrated_database()
    with psycopg.connect(embedded.dsn(name), autocommit=True) as connection:
        fill_history(connection, 100_000, 10_000)
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            for statement in _STATEMENTS:
                connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")
    yield embedded.dsn(name)
    embedded.drop(name)


def _receipts(*ids: str) -> str:
    return json.dumps(
        [
            {"channel": "telegram", "account": "default", "provider_message_id": one, "status": status}
            for one in ids
            for status in ("sent", "delivered", "failed")
        ]
    )


EDIT = json.dumps([{"account": "default", "provider_message_id": "1:7:5", "text": "new"}])
MANY = [f"wamid.{number}" for number in range(1001, 3001, 20)]


@pytest.mark.xdist_group("receipts")
@pytest.mark.parametrize(
    ("name", "values", "most"),
    [
        ("apply_receipts", [_receipts("wamid.1001")], 100),
        ("apply_receipts", [_receipts("wamid.part.2001")], 100),
        ("apply_receipts", [_receipts("wamid.nobody")], 100),
        ("apply_receipts", [_receipts(*MANY)], 3 * 3 * len(MANY)),
        ("take_pending_receipts", [], 2 * PENDING),
        ("apply_edits", [1, "telegram", EDIT], 10),
        ("sends_unconfirmed", [["telegram", "waha"], 120.0, 86_400.0, 1000], 1000),
        ("sends_unconfirmed", [["telegram"], 120.0, 3_600.0, 50], 50),
    ],
)
def test_no_statement_of_receipts_reads_history(past: str, name: str, values: list[Any], most: int) -> None:
    assert_bounded(plans(past, name, values), most)
