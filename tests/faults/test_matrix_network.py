"""Faults 14 and 17: an engine whose words are swallowed on the way to the database, or whose clock is wrong."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.apart import launch_apart
from tests.faults.ready import LATEST_SECONDS
from tests.faults.stage import Stage, stage
from tests.support.proxy import BlackHole

LEASE_SECONDS = 4.0
LIBFAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.fixture
def scene(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    with stage(dsn, tmp_path) as whole:
        yield whole


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/api/v1/ready", timeout=LATEST_SECONDS).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("end", ["forwards again", "breaks the connections"])
def test_an_engine_cut_off_from_its_database(scene: Stage, tmp_path: Path, end: str) -> None:
    """Fault 14: nothing is refused, nothing answers. Told within 5 s; another engine takes over; it comes back."""
    scene.world.llm.uniapi.latency_seconds = 0.5
    with BlackHole(scene.world.dsn) as proxy:
        scene.launch(
            dsn=proxy.dsn,
            lease_seconds=LEASE_SECONDS,
            http_enabled=True,
            http_port=0,
            data_dir=tmp_path / "cut",
        )
        address = scene.until(
            lambda: scene.world.query(
                "SELECT http_address AS at FROM et_engines WHERE http_address IS NOT NULL"
            ),
            "it serves HTTP",
        )[0]["at"]
        scene.until(lambda: is_ready(address), "it is ready")
        asked = [scene.world.insert("hello", sender=f"p{n}") for n in range(10)]
        scene.until(lambda: scene.world.llm.uniapi.total >= 5, "it is at work")
        proxy.swallow()
        began = time.monotonic()
        scene.until(lambda: not is_ready(address), "it says that it is not ready")
        assert time.monotonic() - began < LATEST_SECONDS + 1
        scene.launch(lease_seconds=LEASE_SECONDS)
        scene.until_rest()
        if end == "forwards again":
            proxy.forward()
        else:
            proxy.reset()
            proxy.forward()
        scene.until(lambda: is_ready(address), "it is ready again")
        assert {scene.world.message(message)["delivery_status"] for message in asked} == {
            "inbound_ai_replied"
        }
        scene.engines[1].signal(signal.SIGKILL)  # now the one that was cut off must do the work alone
        scene.world.until_sent(scene.world.insert("and now?", sender="late"))
    scene.until_rest()
    assert scene.violations() == {}


@pytest.mark.skipif(not LIBFAKETIME, reason="libfaketime is not installed (apt-get install libfaketime)")
@pytest.mark.parametrize("skew", ["+1h", "-1h"])
def test_a_clock_that_is_an_hour_wrong(scene: Stage, skew: str) -> None:
    """Fault 17: leases, retries and ages are the database's business; an engine's own clock decides nothing."""
    wrong = launch_apart(
        scene.orders(),
        LD_PRELOAD=str(LIBFAKETIME[0]),
        FAKETIME=skew,
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    scene.engines.append(wrong)
    alone = scene.world.insert("hello", sender="alone")
    scene.world.until_sent(alone)
    right = scene.launch()
    scene.world.llm.uniapi.latency_seconds = 0.2
    for n in range(60):
        scene.world.insert("hello", sender=f"p{n % 20}")
    time.sleep(0.5)
    right.signal(signal.SIGKILL)  # the wrong one rescues what this one held
    scene.until_rest()
    assert scene.violations() == {}
    rows = scene.world.query(
        "SELECT id FROM et_messages WHERE delivery_status NOT IN ('inbound_ai_replied', 'sent', 'failed')"
    )
    assert rows == []
    late = scene.world.query(
        "SELECT id FROM et_messages"
        " WHERE abs(extract(epoch FROM coalesce(sent_at, replied_at, created_at) - now())) > 600"
    )
    assert late == [], "times are the database's"
    assert wrong.alive
