"""The demonstration without a console: a run that must be right, and one that is broken on purpose."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.demo.scenario import run_headless

MESSAGES = 20


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is left behind can be told from what others leave; the path is short, for the server's socket."""
    folder = tempfile.mkdtemp(prefix="d")
    monkeypatch.setattr(tempfile, "tempdir", folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def left_behind() -> list[Path]:
    assert tempfile.tempdir is not None
    return list(Path(tempfile.tempdir).glob("switchboard-demo-*"))


def test_every_message_of_a_run_is_where_it_belongs() -> None:
    out = io.StringIO()
    code = run_headless(MESSAGES, json=True, out=out)
    told = records(out.getvalue())
    *others, summary = told
    assert code == 0, summary["problems"]
    assert all(record["simulated"] for record in told)
    assert summary["type"] == "summary"
    assert summary["ok"]
    assert summary["messages"] == MESSAGES
    assert sum(summary["statuses"].values()) == MESSAGES
    assert summary["reasons"].keys() >= {"policy.human_requested", "policy.opt_out", "policy.loop_guard"}
    assert summary["fallbacks"] >= 1
    assert summary["prompt_tokens"] > 0

    trips = [record for record in others if record["type"] == "trip"]
    assert len({trip["id"] for trip in trips}) == len(trips) == MESSAGES
    assert {trip["persona"] for trip in trips} >= {"chatty", "human", "opt-out", "photo", "nasty", "bot"}
    bursts = Counter(trip["answered_with"] for trip in trips if trip["answered_with"])
    assert bursts, "a burst is answered once"
    for trip in trips:
        assert trip["statuses"][0] == "received"
        assert trip["problems"] == []
        if trip["statuses"][-1] == "inbound_ai_replied":
            assert trip["send_statuses"][-1] == "delivered"
            assert trip["provider"] in {"uniapi", "zai"}
    assert [record["what"] for record in others if record["type"] == "event"][-1] == "UniAPI is back"
    assert left_behind() == []


def test_a_channel_that_resets_makes_the_run_fail() -> None:
    out = io.StringIO()
    code = run_headless(6, json=False, out=out, faults=["channel-resets"])
    lines = out.getvalue().splitlines()
    assert code == 1
    assert all(line.startswith("[simulated] ") for line in lines)
    assert all(line.isprintable() for line in lines)
    assert any("unknown" in line and "✗" in line for line in lines)
    assert lines[-1].startswith("[simulated] verdict    ✗")
    assert left_behind() == []
