"""Faults 21 and 27: rows and texts that make no sense end as an error of their own, and others flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.postgres import Server
from tests.support.trip import Trip, trip

ENDED = ("inbound_ai_replied", "inbound_human_takeover", "inbound_error")
MEGABYTE = 1_000_000


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[Trip]:
    with trip(dsn, tmp_path, lease_seconds=2.0) as whole:
        yield whole


@pytest.fixture(scope="module")
def running(embedded: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trip]:
    """One engine that must outlive every row of this module."""
    name = embedded.migrated_database()
    with trip(embedded.dsn(name), tmp_path_factory.mktemp("rows"), lease_seconds=2.0) as whole:
        whole.start()
        yield whole
    embedded.drop(name)


def insert(world: Trip, **columns: Any) -> int:
    """A row as a careless program writes it: only what is given is set, beside what is NOT NULL."""
    row = {"tenant_id": 1, "channel": "simulator", "direction": "inbound", "delivery_status": "received"}
    row |= {"text_content": "hello", **columns}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    query = f"INSERT INTO et_messages ({names}) VALUES ({marks}) RETURNING id"
    return int(world.query(query, *row.values())[0]["id"])


CORRUPT: dict[str, dict[str, Any]] = {
    "no sender at all": {},
    "payload is a list": {"raw_payload": Jsonb([1, 2])},
    "payload is a string": {"raw_payload": Jsonb("hello")},
    "payload is null": {"raw_payload": Jsonb(None)},
    "sender is an object": {"raw_payload": Jsonb({"from": {"id": [1]}})},
    "sender is empty": {"raw_payload": Jsonb({"from": ""})},
    "name and kind are objects": {"raw_payload": Jsonb({"from": "a", "name": {}, "kind": {"x": 1}})},
    "no text": {"raw_payload": Jsonb({"from": "b"}), "text_content": None},
    "blank text": {"raw_payload": Jsonb({"from": "c"}), "text_content": " \n "},
    "a megabyte of text": {"raw_payload": Jsonb({"from": "d"}), "text_content": "x" * MEGABYTE},
    "deep payload": {"raw_payload": Jsonb({"from": "e", "x": eval("[" * 90 + "]" * 90)})},
    "unknown tenant": {"raw_payload": Jsonb({"from": "f"}), "tenant_id": 4242},
    "negative lead": {"lead_id": -5},
    "unknown channel": {"raw_payload": Jsonb({"from": "g"}), "channel": "carrier pigeon"},
    "unknown account": {"raw_payload": Jsonb({"from": "h"}), "account": "nobody's"},
    "thread that is not stored": {"raw_payload": Jsonb({"from": "i"}), "thread_id": 424242},
    "created in infinity": {"raw_payload": Jsonb({"from": "j"}), "created_at": "infinity"},
    "created before time began": {"raw_payload": Jsonb({"from": "k"}), "created_at": "-infinity"},
    "created before Christ": {"raw_payload": Jsonb({"from": "l"}), "created_at": "0044-03-15 BC"},
    "created in the year 20000": {"raw_payload": Jsonb({"from": "m"}), "created_at": "20000-01-01"},
    "created in the year 1": {"raw_payload": Jsonb({"from": "n"}), "created_at": "0001-01-01"},
    "claimed by nobody, many times": {"raw_payload": Jsonb({"from": "o"}), "attempts": 99, "claim_token": 9},
    "already a reply": {"raw_payload": Jsonb({"from": "p"}), "in_reply_to": 1, "turn_head_id": 1},
    "controls and markup": {
        "raw_payload": Jsonb({"from": "q\x1b[2J"}),
        "text_content": "\x1b]0;x\x07[/b]\u202e",
    },
}


@pytest.mark.parametrize("what", CORRUPT)
def test_a_corrupt_row_ends_and_others_flow(running: Trip, what: str) -> None:
    before = insert(running, raw_payload=Jsonb({"from": f"before {what}"}))
    corrupt = insert(running, **CORRUPT[what])
    after = insert(running, raw_payload=Jsonb({"from": f"after {what}"}))
    for message in (before, after):
        running.until_sent(message)
    row = running.until_status(corrupt, *ENDED)
    assert row["delivery_status"] == "inbound_ai_replied" or row["reason"]
    assert row["attempts"] <= running.settings.max_attempts


def test_a_row_of_another_tenants_thread_is_not_answered_there(world: Trip) -> None:
    """A wrong thread_id must not carry a customer's words into a stranger's conversation."""
    world.start()
    first = insert(world, raw_payload=Jsonb({"from": "anna"}))
    world.until_sent(first)
    theirs = world.message(first)["thread_id"]
    stray = insert(world, tenant_id=2, raw_payload=Jsonb({"from": "bert"}), thread_id=theirs)
    world.until_status(stray, *ENDED)
    assert world.message(stray)["thread_id"] != theirs
    assert world.reply_to(stray) is None


def test_a_tick_of_corrupt_rows_does_not_hold_up_the_others(world: Trip) -> None:
    """All of them at once, in the same claim as sane ones."""
    world.start()
    sane = [insert(world, raw_payload=Jsonb({"from": f"sane-{n}"})) for n in range(10)]
    corrupt = [insert(world, **columns) for columns in CORRUPT.values()]
    sane += [insert(world, raw_payload=Jsonb({"from": f"sane-{n}"})) for n in range(10, 20)]
    for message in sane:
        world.until_sent(message)
    for message in corrupt:
        world.until_status(message, *ENDED)


@pytest.mark.parametrize("column", ["text_content", "raw_payload"])
def test_nul_cannot_be_stored_and_stores_nothing(world: Trip, column: str) -> None:
    value = "a\x00b" if column == "text_content" else Jsonb({"from": "a\x00b"})
    with pytest.raises(psycopg.DataError):
        insert(world, **{"raw_payload": Jsonb({"from": "r"}), column: value})
    assert world.query("SELECT FROM et_messages") == []


@pytest.mark.parametrize(
    "said",
    [
        "nul \x00 inside",
        "lone \ud83d surrogate",
        "\ufffe\uffff",
        "\x1b[2J\x07 escape",
        "🙂" * 300,
        "\u202eevil",
    ],
    ids=["nul", "surrogate", "noncharacters", "escape", "astral", "bidi"],
)
def test_what_the_model_says_is_always_storable(world: Trip, said: str) -> None:
    """An answer that PostgreSQL cannot hold is cleaned, answered once, and never retried in a storm."""
    world.llm.uniapi.reply = lambda _: said
    world.start()
    message = world.insert("hello")
    reply = world.until_sent(message)
    assert "\x00" not in reply["text_content"]
    assert world.llm.uniapi.total == 1
    assert world.message(message)["attempts"] == 1
    assert len(world.channel.arrivals()) == 1
