"""Messages both ways through a Bot API that we did not write: nothing here knows how our channel works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.far_ends.telegram_test_api import TelegramTestApi
from tests.support.trip import Trip, trip

TOKEN = "123456:AAF-token-of-another-server"


@pytest.fixture
def api() -> Iterator[TelegramTestApi]:
    with TelegramTestApi(TOKEN) as api:
        yield api


@pytest.fixture
def shop(dsn: str, tmp_path: Path, api: TelegramTestApi) -> Iterator[Trip]:
    account = {"bot_token": TOKEN, "api_base": api.base_url}
    with trip(dsn, tmp_path, channels={"telegram": [account]}) as whole:
        yield whole


def test_customers_are_answered_in_their_own_chats(shop: Trip, api: TelegramTestApi) -> None:
    api.write("Are you open?", 7001)  # while nobody polls yet
    engine = shop.start()
    api.write("Do you deliver?", 7002)

    def answered() -> list[dict[str, object]]:
        return [one["message"] for one in api.history() if "chat_id" in one["message"]]

    replies = shop.until(lambda: len(found := answered()) == 2 and found, "two answers")
    assert {str(one["chat_id"]) for one in replies} == {"7001", "7002"}
    assert all(one["text"] for one in replies)
    assert shop.query("SELECT FROM et_intake_quarantine") == []
    sends = shop.until(
        lambda: len(rows := shop.query("SELECT * FROM et_outbound_queue WHERE status = 'sent'")) == 2 and rows
    )
    assert all(row["provider_message_id"].startswith("123456:700") for row in sends)
    (health,) = shop.until(lambda: [c for c in engine.snapshot().channels if c.name == "telegram/default"])
    assert (health.state, health.detail) == ("up", "@TestNameBot")
    assert engine.snapshot().blockers == []


def test_a_long_answer_arrives_whole_in_parts(shop: Trip, api: TelegramTestApi) -> None:
    shop.start()
    api.write("Are you open?", 7001)
    shop.until(
        lambda: shop.query("SELECT FROM et_outbound_queue WHERE status = 'sent'"), "the answer is sent"
    )
    text = "A long story. " * 700
    row = shop.one(
        "INSERT INTO et_messages (tenant_id, thread_id, channel, account, direction, author, text_content,"
        " delivery_status) SELECT tenant_id, id, channel, account, 'outbound', 'human', %s, 'queued'"
        " FROM et_threads RETURNING id, thread_id",
        text,
    )
    shop.query(
        "INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel) VALUES (%s, 1, %s, 'telegram')"
        " RETURNING pg_notify('et_outbound', id::text)",
        row["id"],
        row["thread_id"],
    )
    shop.until(lambda: shop.message(row["id"])["delivery_status"] == "sent")
    parts = [one["message"]["text"] for one in api.history() if "chat_id" in one["message"]][1:]
    assert len(parts) == 3
    assert " ".join(parts) == text.strip()


def test_the_server_goes_away_and_comes_back(shop: Trip, api: TelegramTestApi) -> None:
    engine = shop.start(send_max_attempts=2, retry_base_seconds=0.05)
    api.write("Are you open?", 7001)
    shop.until(
        lambda: shop.query("SELECT FROM et_outbound_queue WHERE status = 'sent'"), "the answer is sent"
    )
    api.__exit__()
    waiting = shop.insert("And on Sunday?", sender="7001", channel="telegram")
    shop.until_status(waiting, "inbound_ai_replied")
    shop.until(
        lambda: [b for b in engine.snapshot().blockers if b.code == "channel.unreachable"], "a blocker"
    )
    with api:
        shop.until_sent(waiting)
        assert [one["message"]["text"] for one in api.history() if "chat_id" in one["message"]]
