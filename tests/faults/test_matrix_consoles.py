"""Faults 4, 6, 9 and 10: a console that is stopped, stalls or blocks beside its engine, and two of them at once."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from engine.demo.channel_far_end import ChannelFarEnd, Conduct
from engine.demo.far_end import FarEnd
from tests.faults import checks
from tests.faults.checks import Evidence
from tests.faults.journal import install
from tests.support.consoles import as_url
from tests.support.terminal import Terminal, assert_given_back

pytestmark = pytest.mark.timeout(300)
LEASE_SECONDS = 2
INSERT = (
    "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
    " VALUES (1, 'simulator', 'inbound', %s, 'received', jsonb_build_object('from', %s::text)) RETURNING id"
)
NAP_SECONDS = 3.0
BLOCKING = """
import console.app, time
def nap(*_):
    with open({naps!r}, "a", buffering=1) as naps:
        naps.write("asleep\\n")
        time.sleep({seconds})
        naps.write("awake\\n")
console.app.SwitchboardApp.act_help = nap
"""


class Desk:
    """A database with a journal, far ends, and consoles with an engine in real terminals."""

    def __init__(self, dsn: str, folder: Path, llm: FarEnd, channel: ChannelFarEnd) -> None:
        self.dsn, self.llm, self.channel, self._folder = dsn, llm, channel, folder
        self.rows: psycopg.Connection[DictRow] = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.rows.execute(
            "INSERT INTO et_platform_settings (key, value) VALUES ('quiet_window', %s)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [Jsonb({"seconds": 0, "max_seconds": 0})],
        )

    def console(self, environment: dict[str, str] | None = None, **more: Any) -> Terminal:
        variables = {
            "UNIAPI_BASE_URL": self.llm.uniapi_url,
            "UNIAPI_API_KEY": "key-of-uniapi",
            "SIMULATOR_BASE_URL": self.channel.base_url,
            "SWITCHBOARD_LEASE_SECONDS": str(LEASE_SECONDS),
            "SWITCHBOARD_SEND_TIMEOUT_SECONDS": "2",
            "SWITCHBOARD_THREAD_REPLIES_PER_HOUR": "1000000",
            "SWITCHBOARD_POLL_SECONDS": "0.5",
            **(environment or {}),
        }
        return Terminal(
            as_url(self.dsn).get_secret_value(),
            self._folder,
            engine=True,
            environment=variables,
            **more,
        )

    def all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self.rows.execute(query.encode(), values).fetchall()

    def count(self, query: str, *values: Any) -> int:
        return int(self.all(query, *values)[0]["n"])

    def insert(self, sender: str, text: str | None = "Are you open?") -> int:
        found = self.rows.execute(INSERT, [text, sender]).fetchone()
        assert found is not None
        return int(found["id"])

    def until(
        self, condition: Callable[[], Any], what: str | Callable[[], str], seconds: float = 30.0
    ) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what if isinstance(what, str) else what()}")
            time.sleep(0.02)
        return value

    def until_engines(self, number: int) -> None:
        query = "SELECT count(*) AS n FROM et_engines WHERE stopped_at IS NULL"
        self.until(lambda: self.count(query) == number, f"{number} engines")

    def until_rest(self) -> None:
        query = """SELECT (SELECT count(*) FROM et_messages WHERE direction = 'inbound'
                              AND delivery_status IN ('received', 'inbound_processing'))
                        + (SELECT count(*) FROM et_outbound_queue
                            WHERE status IN ('queued', 'processing', 'retry_scheduled')) AS n"""
        self.until(lambda: not self.count(query), "all is at rest")

    def waits(self, began: int) -> list[float]:
        """Seconds from each message to its reply being sent, of messages after that id."""
        found = self.all(
            """SELECT extract(epoch FROM coalesce(r.sent_at, now()) - m.created_at)::float AS s
                 FROM et_messages m LEFT JOIN et_messages r ON r.in_reply_to = m.id
                WHERE m.direction = 'inbound' AND m.id > %s ORDER BY m.id""",
            began,
        )
        return [row["s"] for row in found]

    def trickle(
        self, seconds: float, poured: Callable[[], object] = lambda: None, per_second: float = 20.0
    ) -> list[float]:
        """A customer after the other, evenly; how long each waited. `poured` is called after the last one."""
        began = self.count("SELECT coalesce(max(id), 0) AS n FROM et_messages")
        due = time.monotonic()
        for number in range(int(seconds * per_second)):
            self.insert(f"trickle {began} {number}")
            due += 1 / per_second
            time.sleep(max(0.0, due - time.monotonic()))
        poured()
        self.until_rest()
        return self.waits(began)

    def flood(self, messages: int = 400) -> float:
        """As many customers at once; replies a second."""
        began = time.monotonic()
        self.rows.execute(
            "INSERT INTO et_messages"
            " (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
            " SELECT 1, 'simulator', 'inbound', 'Are you open?', 'received',"
            " jsonb_build_object('from', 'flood ' || clock_timestamp() || n) FROM generate_series(1, %s) n",
            [messages],
        )
        self.until_rest()
        return messages / (time.monotonic() - began)

    def violations(self) -> dict[str, list[str]]:
        evidence = Evidence(self.dsn, self.channel.arrivals())
        return {name: found for name, found in checks.verdict(evidence).items() if found}


@pytest.fixture
def desk(dsn: str, tmp_path: Path) -> Iterator[Desk]:
    install(dsn)
    with FarEnd() as llm, ChannelFarEnd() as channel:
        made = Desk(dsn, tmp_path, llm, channel)
        try:
            yield made
        finally:
            made.rows.close()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def assert_full_pace(what: str, usual: list[float], faulty: list[list[float]]) -> None:
    """Nobody waits for the screen. Others' load comes and goes, so the best stretch counts: what the screen did
    to the engine it would do in all of them."""
    every = [second for stretch in faulty for second in stretch]
    for name, waits in (("usual", usual), (what, every)):
        p50, p99 = (1000 * percentile(waits, share) for share in (0.5, 0.99))
        sys.stdout.write(f"{name}: {len(waits)} answered, p50 {p50:.0f} ms, p99 {p99:.0f} ms\n")
    assert min(percentile(stretch, 0.5) for stretch in faulty) < 3 * percentile(usual, 0.5) + 0.2


def test_a_stopped_console_s_work_is_taken_over_and_it_wakes_to_no_harm(desk: Desk) -> None:
    """Fault 4, Ctrl-Z: the engine in it is frozen beyond its lease, with answers in hand."""
    desk.llm.uniapi.latency_seconds = 1.0
    with desk.console() as first:
        desk.until_engines(1)
        first.await_text("Overview")
        asked = [desk.insert(f"c{n}") for n in range(20)]
        desk.until(lambda: desk.llm.uniapi.total >= 10, "it is at work")
        first.send(signal.SIGTSTP)
        stat = Path(f"/proc/{first.process.pid}/stat")
        desk.until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
        assert_given_back(first)  # the shell that comes back has its terminal
        desk.llm.uniapi.latency_seconds = 0.05
        with desk.console() as second:
            desk.until_rest()
            assert {
                row["s"]
                for row in desk.all("SELECT delivery_status AS s FROM et_messages WHERE id = ANY(%s)", asked)
            } == {"inbound_ai_replied"}
            painted = len(first.output)
            first.send(signal.SIGCONT)
            desk.until(lambda: b"\x1b[?1049h" in first.output[painted:], "it paints again")
            late = [desk.insert(f"c{n}", "And now?") for n in range(20)]
            desk.until_rest()
            first.type("8")
            first.await_text("Journal")
            for screen in (first, second):
                screen.type("q")
                screen.await_text("Leave Switchboard?")
                screen.type("y")
                assert screen.wait(8) == 0
                assert_given_back(screen)
    assert desk.count("SELECT count(*) AS n FROM et_messages WHERE in_reply_to = ANY(%s)", asked + late) == 40
    assert desk.violations() == {}


@pytest.mark.parametrize("seconds", [8.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_a_stalled_terminal_does_not_slow_the_engine(desk: Desk, seconds: float) -> None:
    """Fault 6: nobody reads what the console writes, while it has much to write."""
    with desk.console() as screen:
        desk.until_engines(1)
        screen.await_text("Overview")
        usual, rate = desk.trickle(4.0), desk.flood()
        screen.draining.clear()
        for _ in range(60):  # more screens than the pty and the console's own queue hold
            screen.type("31")
        time.sleep(1.0)
        written = len(screen.output)
        stalled = [desk.trickle(2.0) for _ in range(int(seconds / 2))]
        stalled_rate = max(desk.flood() for _ in range(3))
        assert len(screen.output) == written, "the terminal did stall"
        screen.draining.set()
        desk.until(lambda: len(screen.output) > written, "the console goes on")
    sys.stdout.write(f"flat out: {rate:.0f} replies/s, while the terminal stalls {stalled_rate:.0f}\n")
    assert stalled_rate > rate / 3
    assert_full_pace("terminal stalled", usual, stalled)
    assert desk.violations() == {}


def test_a_handler_that_blocks_does_not_slow_the_engine(desk: Desk, tmp_path: Path) -> None:
    """Fault 9: a key of the console that takes three seconds of its loop, three times."""
    naps = tmp_path / "naps"
    naps.touch()

    def still_asleep() -> None:
        assert naps.read_text().splitlines()[-1] == "asleep"

    with desk.console(before=BLOCKING.format(naps=str(naps), seconds=NAP_SECONDS)) as screen:
        desk.until_engines(1)
        screen.await_text("Overview")
        usual = desk.trickle(4.0)
        blocked = []
        for lap in range(1, 4):
            screen.type("?")
            desk.until(lambda: naps.read_text().count("asleep") == lap, "it hangs")  # noqa: B023
            blocked.append(desk.trickle(NAP_SECONDS - 1, still_asleep))
            desk.until(lambda: naps.read_text().count("awake") == lap, "it goes on")  # noqa: B023
        screen.type("3")
        screen.await_text("following")
    assert_full_pace("handler blocks", usual, blocked)
    assert desk.violations() == {}


class Pair:
    """Two people at two consoles who press the same keys at the same moment."""

    def __init__(self, desk: Desk, *screens: Terminal) -> None:
        self.desk, self.screens = desk, screens

    def press(self, keys: str) -> None:
        for key in keys:
            for screen in self.screens:
                screen.type(key)

    def open(self, *where: str) -> None:
        """Go to an area, a thread or a message; a dialog that is open closes."""
        for keys in ("\x1b", "\x1b", *where):
            self.press(keys)
            time.sleep(0.7)  # Escape must not be taken for half of another key

    def act(self, where: tuple[str, ...], keys: str, act: str, subject: str) -> None:
        """Both go there and press the keys, once more when a slow screen was not there yet, until it is done."""
        query = "SELECT count(*) AS n FROM et_audit_log WHERE act = %s AND subject = %s"
        for _ in range(5):
            self.open(*where)
            for key in keys:
                self.press(key)
                time.sleep(0.3)
            deadline = time.monotonic() + 8
            while time.monotonic() < deadline:
                if self.desk.count(query, act, subject):
                    return
                time.sleep(0.05)
        raise AssertionError(f"no {act} of {subject}: {self.screens[0].written()[-2000:]}")


def send_of(desk: Desk, sender: str, conduct: Conduct) -> dict[str, Any]:
    """The queue row of a reply that the far end treated like that."""
    desk.channel.next(conduct)
    message = desk.insert(sender)
    query = (
        "SELECT q.* FROM et_outbound_queue q JOIN et_messages m ON m.id = q.message_id"
        " WHERE m.in_reply_to = %s AND q.status = 'failed'"
    )
    found: list[dict[str, Any]] = desk.until(lambda: desk.all(query, message), f"{conduct} has failed")
    return found[0]


def test_two_consoles_act_at_once(desk: Desk) -> None:
    """Fault 10: two people, each with an engine, at the same conversation, message and sends in the same moment."""
    anna, ben = ({"SWITCHBOARD_OPERATOR": name} for name in ("anna", "ben"))
    with desk.console(environment=anna) as first, desk.console(environment=ben) as second:
        desk.until_engines(2)
        pair = Pair(desk, first, second)
        for screen in pair.screens:
            screen.await_text("Overview")
        for lap in range(2):
            rejected = send_of(desk, f"rejected {lap}", Conduct.REJECT)
            unknown = send_of(desk, f"unknown {lap}", Conduct.RESET)
            broken = desk.insert(f"broken {lap}", None)
            desk.until(
                lambda: desk.count("SELECT count(*) AS n FROM et_messages WHERE reason = 'empty_message'"),
                "an error",
            )
            desk.rows.execute("UPDATE et_messages SET text_content = 'mended' WHERE id = %s", [broken])

            pair.act((f":m {broken}\r",), "r", "replay", f"message:{broken}")
            # j: from the heading to the send
            filtered = [("4", f"/thread:{send['thread_id']}\r") for send in (rejected, unknown)]
            pair.act(filtered[0], "jr", "send.retry", f"send:{rejected['id']}")
            pair.act(filtered[1], "jsy", "send.mark_sent", f"send:{unknown['id']}")

            desk.llm.uniapi.latency_seconds = 3.0  # so that the takeover comes amid a turn
            thread = desk.all(
                "SELECT thread_id FROM et_messages WHERE id = %s", desk.insert(f"wanted {lap}")
            )[0]["thread_id"]
            pair.act((f":t {thread}\r",), "t", "takeover", f"thread:{thread}")
            desk.llm.uniapi.latency_seconds = 0.0
            time.sleep(0.5)
            found = desk.all("SELECT * FROM et_threads WHERE id = %s", thread)[0]
            assert (found["owner"], found["epoch"]) == ("human", 1)
            taken = "SELECT count(*) AS n FROM et_audit_log WHERE act = 'takeover' AND subject = %s"
            assert desk.count(taken, f"thread:{thread}") == 1, "the other one is asked first"
        desk.until_rest()
        for screen in pair.screens:
            screen.send(signal.SIGTERM)
            code = screen.wait(8)
            assert code == 128 + signal.SIGTERM, screen.written()[-3000:]
    assert desk.count("SELECT count(*) AS n FROM et_outbound_queue WHERE status = 'failed'") == 0
    found = desk.violations()
    assert len(found.pop("resent_unknowns")) == 2, "the rejected ones, which people have tried again"
    assert found == {}
