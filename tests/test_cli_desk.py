"""Search, labels, assignment and snooze by command: real processes, judged by what they left in the database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.model import InboundStatus
from tests.support.addresses import url
from tests.support.conversations import HOSTILE
from tests.support.rows import Connection, Planter, connect, get
from tests.test_cli import Shell, assert_one_line


@pytest.fixture
def attached(tmp_path: Path, dsn: str) -> Shell:
    """A shell on a migrated database, of an operator with a name."""
    shell = Shell(tmp_path, DATABASE_URL=url(dsn))
    shell.environment["SWITCHBOARD_OPERATOR"] = "lena"
    return shell


@pytest.fixture
def plant(dsn: str) -> Planter:
    return Planter(connect(dsn))


@pytest.fixture
def thread(plant: Planter) -> int:
    lead = plant.plant("et_leads", tenant_id=1, name="Anna Berger")
    return plant.thread(lead_id=lead, address="+491705550101")


def acts(rows: Connection) -> list[tuple[str, str, Any]]:
    found = rows.execute("SELECT actor, act, after FROM et_audit_log ORDER BY id").fetchall()
    return [(row["actor"], row["act"], row["after"]) for row in found]


def test_search_finds_what_was_said_and_who_said_it(attached: Shell, plant: Planter, thread: int) -> None:
    said = plant.inbound(InboundStatus.AI_REPLIED, text_content="My refund, please", thread_id=thread)
    plant.inbound(InboundStatus.AI_REPLIED, text_content=f"{HOSTILE} refunds", thread_id=thread)
    done = attached("search", "refund")
    assert done.returncode == 0, done.stderr
    assert "My «refund», please" in done.stdout
    assert "«refund»s" in done.stdout
    assert not set("\x1b\x07\u202e\u200b") & set(done.stdout)
    found = json.loads(attached("search", "refund please", "--json").stdout)
    assert [message["message_id"] for message in found["messages"]] == [said]
    assert found["messages"][0]["hits"] == [[3, 9], [11, 17]]
    assert found["how"] == "words"
    named = json.loads(attached("search", "anna", "--json").stdout)
    assert [row["thread_id"] for row in named["conversations"]] == [thread]
    page = json.loads(attached("search", "refund", "--limit", "1", "--json").stdout)
    older = json.loads(attached("search", "refund", "--before", str(page["next_before"]), "--json").stdout)
    assert [message["message_id"] for message in older["messages"]] == [said]


def test_search_says_what_it_did_not_find_or_understand(attached: Shell, plant: Planter) -> None:
    nothing = attached("search", "nowhere")
    assert (nothing.returncode, nothing.stdout) == (1, "Nothing found for nowhere\n")
    wrong = attached("search", "colour:red")
    assert_one_line(wrong, 2)
    assert "known are status:" in wrong.stderr


def test_labels_are_added_removed_and_told(attached: Shell, plant: Planter, thread: int) -> None:
    assert attached("label", str(thread)).stdout == f"Thread {thread}: no labels\n"
    assert attached("label", str(thread), "VIP", "late").stdout == f"Thread {thread}: #vip #late\n"
    done = json.loads(attached("label", str(thread), "refund", "--remove", "late", "--json").stdout)
    assert (done["labels"], done["added"], done["removed"]) == (["vip", "refund"], ["refund"], ["late"])
    assert get(plant.connection, "et_threads", thread)["labels"] == ["vip", "refund"]
    assert acts(plant.connection)[-1] == ("lena", "label", {"labels": ["vip", "refund"]})
    refused = attached("label", str(thread), "a:b")
    assert_one_line(refused, 1)
    assert attached("label", "999", "x").returncode == attached("label", "999").returncode == 1


def test_conversations_are_assigned(attached: Shell, plant: Planter, thread: int) -> None:
    def whose() -> str | None:
        found: str | None = get(plant.connection, "et_threads", thread)["operator"]
        return found

    assert attached("assign", str(thread)).stdout == f"Thread {thread} is lena's; the AI answers it\n"
    assert whose() == "lena"
    assert "it was lena's" in attached("assign", str(thread), "otto").stdout
    assert whose() == "otto"
    assert json.loads(attached("assign", str(thread), "--nobody", "--json").stdout)["previous"] == "otto"
    assert whose() is None
    assert attached("assign", str(thread), "otto", "--nobody").returncode == 2
    assert [(actor, act) for actor, act, _ in acts(plant.connection)] == [("lena", "assign")] * 3


def test_conversations_are_snoozed_and_woken(attached: Shell, plant: Planter, thread: int) -> None:
    plant.connection.execute("UPDATE et_workspaces SET timezone = 'Asia/Tokyo'")
    done = attached("snooze", str(thread), "2h")
    assert done.returncode == 0, done.stderr
    assert "Asia/Tokyo, or until the customer writes" in done.stdout
    until = get(plant.connection, "et_threads", thread)["snoozed_until"]
    assert abs(until - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert attached("snooze", str(thread), "tomorrow", "9:00").returncode == 0
    until = get(plant.connection, "et_threads", thread)["snoozed_until"].astimezone(UTC)
    assert (until.hour, until.minute) == (0, 0), "nine in Tokyo"
    assert attached("snooze", str(thread), "--wake").stdout == f"Thread {thread} is awake\n"
    assert get(plant.connection, "et_threads", thread)["snoozed_until"] is None
    assert attached("snooze", str(thread), "--wake").stdout == f"Thread {thread} is awake already\n"
    wrong = attached("snooze", str(thread), "soon")
    assert wrong.returncode == 1
    assert "tomorrow 14:30" in wrong.stderr
    assert attached("snooze", str(thread)).returncode == 2
    assert [act for _, act, _ in acts(plant.connection)] == ["snooze", "snooze", "wake"]
