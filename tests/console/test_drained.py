"""What the database holds after a console with an engine has ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow

from engine.demo.far_end import FarEnd
from tests.support.consoles import as_url
from tests.support.terminal import Terminal, engine_of, stopped_at

Rows = psycopg.Connection[DictRow]
Opener = Callable[[], Terminal]
INSERT = (
    "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
    " SELECT 1, 'simulator', 'inbound', 'Are you open?', 'received', jsonb_build_object('from', %s || n)"
    " FROM generate_series(1, %s) n"
)
UNSENT = """
SELECT count(*) AS n FROM et_messages m WHERE direction = 'inbound' AND (delivery_status <> 'inbound_ai_replied'
    OR NOT EXISTS (SELECT FROM et_messages r JOIN et_outbound_queue q ON q.message_id = r.id
        WHERE r.in_reply_to = m.id AND q.status IN ('sent', 'accepted')))"""


@pytest.fixture
def llm() -> Iterator[FarEnd]:
    with FarEnd() as far:
        yield far


@pytest.fixture
def terminal(dsn: str, tmp_path: Path, llm: FarEnd) -> Opener:
    environment = {
        "UNIAPI_BASE_URL": llm.uniapi_url,
        "UNIAPI_API_KEY": "key-of-uniapi",
    }
    url = as_url(dsn).get_secret_value()
    return lambda: Terminal(url, tmp_path, engine=True, environment=environment)


def count(rows: Rows, query: str) -> int:
    found = rows.execute(query.encode()).fetchone()
    assert found is not None
    return int(found["n"])


def until_sent(rows: Rows, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while left := count(rows, UNSENT):
        assert time.monotonic() < deadline, f"{left} not answered"
        time.sleep(0.02)


@pytest.mark.parametrize("end", ["SIGTERM", "lost"])
def test_nothing_is_held_or_lost_and_the_next_one_answers_the_rest(
    terminal: Opener, rows: Rows, llm: FarEnd, end: str
) -> None:
    with terminal() as screen:
        name = engine_of(rows)
        llm.uniapi.latency_seconds = 6.0  # longer than a drain waits
        rows.execute(INSERT, ["early", 20])
        deadline = time.monotonic() + 20
        busy = "SELECT count(*) AS n FROM et_messages WHERE delivery_status = 'inbound_processing'"
        while not count(rows, busy):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        rows.execute(INSERT, ["late", 1])
        if end == "lost":
            screen.hang_up()
        else:
            screen.send(signal.SIGTERM)
        screen.wait(6)
    assert stopped_at(rows, name) is not None
    assert count(rows, busy) == 0
    assert count(rows, "SELECT count(*) AS n FROM et_outbound_queue WHERE status = 'processing'") == 0
    assert count(rows, "SELECT count(*) AS n FROM et_threads WHERE holder IS NOT NULL") == 0
    assert count(rows, "SELECT count(*) AS n FROM et_messages WHERE delivery_status = 'received'") == 21
    llm.uniapi.latency_seconds = 0.0
    with terminal():
        until_sent(rows)
    replies = "SELECT count(*) AS n FROM et_messages WHERE direction = 'outbound'"
    assert count(rows, replies) == 21
