"""Telegram by polling: rows and offset in one commit, one poller at a time, conflicts in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine import polling
from engine.database.handle import Database
from engine.supervisor import Engine
from tests.channels.world import World, settle, world
from tests.support.far_ends.telegram import failure


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "TRY_LOCK_SECONDS", 0.2)
    monkeypatch.setattr(polling, "AFTER_TROUBLE_SECONDS", 0.2)
    monkeypatch.setattr(polling, "AFTER_NOTHING_SECONDS", 0.05)


@pytest.fixture
def here(dsn: str, tmp_path: Path) -> Iterator[World]:
    with world("telegram", dsn, tmp_path) as running:
        yield running


def cursor(here: World) -> int | None:
    rows = here.trip.query("SELECT poll_cursor FROM et_channel_accounts WHERE channel = 'telegram'")
    return rows[0]["poll_cursor"] if rows else None


def polls(here: World) -> list[int | None]:
    """The offset of every poll."""
    asked = [one for one in here.far.requests if one.path.endswith("/getUpdates")]
    return [(one.json() or {}).get("offset") for one in asked]


def test_the_offset_is_committed_with_the_rows(here: World) -> None:
    here.trip.connection.execute("ALTER TABLE et_messages RENAME COLUMN provider_timestamp TO hidden")
    here.deliver(here.message("Are you open?"))
    settle(1.0)
    assert cursor(here) is None
    assert 870_002 not in polls(here)
    here.trip.connection.execute("ALTER TABLE et_messages RENAME COLUMN hidden TO provider_timestamp")
    here.trip.until(here.inbound)
    assert cursor(here) == 870_002
    here.trip.until(lambda: 870_002 in polls(here))
    assert len(here.inbound()) == 1


def test_an_engine_that_starts_again_goes_on_where_the_other_ended(here: World) -> None:
    here.converse()
    here.trip.stop()
    here.far.requests.clear()
    here.deliver(here.message("And tomorrow?", 2))
    here.trip.start()
    here.trip.until(lambda: len(here.inbound()) == 2)
    assert polls(here)[0] == 870_002


def test_after_a_week_of_silence_lower_numbers_are_not_thrown_away(here: World) -> None:
    here.converse(number=900)
    here.trip.connection.execute("UPDATE et_channel_accounts SET poll_cursor_at = now() - interval '7 days'")
    here.trip.until(lambda: polls(here)[-1] is None)
    here.deliver(here.message("Back from holiday", 3))
    here.trip.until(lambda: len(here.inbound()) == 2)
    assert cursor(here) == 870_004


@pytest.mark.parametrize(
    ("conflict", "remedy"),
    [("webhook", "deleteWebhook"), ("terminated by other getUpdates request", "Stop the other program")],
)
def test_a_conflict_is_a_blocker_in_plain_words_until_it_is_over(
    here: World, conflict: str, remedy: str
) -> None:
    here.far.poll_failure = failure(409, f"Conflict: {conflict}")
    (blocker,) = here.trip.until(lambda: here.blockers("channel.conflict"))
    assert blocker.where == "telegram/default"
    assert remedy in blocker.remedy
    here.far.poll_failure = None
    here.trip.until(lambda: not here.blockers("channel.conflict"))
    here.converse()


def test_only_one_engine_polls_and_the_other_takes_over(here: World) -> None:
    other = Engine(here.trip.settings, Database(here.trip.dsn, "test", None), drain_seconds=1)
    locks = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND granted"
    here.trip.until(lambda: here.trip.one(locks)["n"] == 1)
    other.start()
    try:
        assert other.wait_ready(20)
        here.deliver(here.message("Are you open?"))
        here.trip.until(here.inbound)
        settle(0.5)
        waiting = (
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'switchboard poll telegram/default'"
        )
        assert here.trip.one(locks)["n"] == 1
        here.far.poll_failure = failure(409, "Conflict: terminated by other getUpdates request")
        here.trip.until(lambda: here.blockers("channel.conflict"))
        assert not [one for one in other.snapshot().blockers if one.code == "channel.conflict"]
        here.far.poll_failure = None
        here.trip.stop()
        here.deliver(here.message("Still there?", 2))
        here.trip.until(lambda: len(here.inbound()) == 2)
        assert here.trip.one(waiting)["n"] == 1
    finally:
        assert other.stop()


def test_a_poller_that_lost_its_lock_polls_again(here: World) -> None:
    here.converse()
    with closing(here.trip.connection.cursor()) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'switchboard poll telegram/default' AND datname = current_database()"
        )
    here.converse("Still there?", 2)
