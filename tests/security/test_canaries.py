"""Planted secrets are found nowhere after a whole trip with refusals, forged webhooks and a crash."""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
import pytest
from psycopg import sql

from engine.demo.far_end import FarEnd
from tests.channels.cases import BY_NAME
from tests.support.addresses import url
from tests.support.far_ends import evolution as evolution_far_end
from tests.support.far_ends import telegram, waha, whatsapp_cloud
from tests.support.terminal import Terminal
from tests.test_cli import Shell

SECRETS = (
    "DATABASE_PASSWORD",
    "UNIAPI_API_KEY",
    "ZAI_API_KEY",
    "SWITCHBOARD_ADMIN_TOKEN",
    "SIMULATOR_WEBHOOK_SECRET",
    "SWITCHBOARD_ALERT_WEBHOOK_SECRET",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_WEBHOOK_SECRET",
    "WHATSAPP_TOKEN",
    "WHATSAPP_APP_SECRET",
    "WHATSAPP_VERIFY_TOKEN",
    "WAHA_API_KEY",
    "WAHA_HMAC_KEY",
    "EVOLUTION_API_KEY",
    "EVOLUTION_WEBHOOK_SECRET",
)
PATIENCE = 60.0
REPORTS = (
    ("doctor",),
    ("doctor", "--json"),
    ("status",),
    ("status", "--json"),
    ("migrate", "--plan"),
    ("service",),
    ("export", "messages"),
    ("export", "turns"),
    ("export", "audit"),
    ("export", "messages", "--format", "csv"),
)
SCREENS = "123456789"
"""Keys that open the console's areas."""


@pytest.fixture
def planted() -> dict[str, str]:
    """A secret of its own for every place that takes one."""
    made = {name: f"canary{number:02d}{secrets.token_hex(24)}" for number, name in enumerate(SECRETS)}
    return made | {"TELEGRAM_BOT_TOKEN": f"7001:{made['TELEGRAM_BOT_TOKEN']}"}


@pytest.fixture
def shell(
    tmp_path: Path, dsn: str, planted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Shell, FarEnd]]:
    """A shell whose engine has every secret, and far ends for each of them."""
    monkeypatch.setattr(telegram, "TOKEN", planted["TELEGRAM_BOT_TOKEN"])
    monkeypatch.setattr(whatsapp_cloud, "TOKEN", planted["WHATSAPP_TOKEN"])
    monkeypatch.setattr(waha, "API_KEY", planted["WAHA_API_KEY"])
    monkeypatch.setattr(evolution_far_end, "API_KEY", planted["EVOLUTION_API_KEY"])
    address = url(dsn).replace("@/", f":{quote(planted['DATABASE_PASSWORD'])}@/", 1)
    with ExitStack() as far_ends:
        llm = far_ends.enter_context(FarEnd())
        far = {name: far_ends.enter_context(case.service()).base_url for name, case in BY_NAME.items()}
        settings = {name: value for name, value in planted.items() if name != "DATABASE_PASSWORD"} | {
            "DATABASE_URL": address,
            "UNIAPI_BASE_URL": llm.uniapi_url,
            "ZAI_BASE_URL": llm.zai_url,
            "TELEGRAM_API_BASE": far["telegram"],
            "WHATSAPP_GRAPH_BASE": far["whatsapp_cloud"],
            "WHATSAPP_PHONE_NUMBER_ID": whatsapp_cloud.NUMBER_ID,
            "WAHA_BASE_URL": far["waha"],
            "EVOLUTION_BASE_URL": far["evolution"],
            "EVOLUTION_INSTANCE": evolution_far_end.INSTANCE,
            "SWITCHBOARD_LOG_LEVEL": "DEBUG",
            "SWITCHBOARD_MAX_ATTEMPTS": "1",
            "SWITCHBOARD_TURN_DEADLINE_SECONDS": "4",
            "SWITCHBOARD_LEASE_SECONDS": "3",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)  # the console in its terminal has them too
        yield Shell(tmp_path, **settings), llm


class Finds:
    """Looks for planted secrets in whatever the installation shows or keeps."""

    def __init__(self, planted: dict[str, str]) -> None:
        # Of a bot token the part after the colon is the secret, however the token is written.
        self.planted = {name: value.rpartition(":")[2] for name, value in planted.items()}
        self.looked_at: set[str] = set()
        self.found: list[str] = []

    def look(self, place: str, text: str) -> None:
        self.looked_at.add(place)
        bare = re.sub(r"\s+", "", text)  # a screen and a log may break a long word
        self.found += [f"{name} in {place}" for name, value in self.planted.items() if value in bare]


def running(process: subprocess.Popen[str], finds: Finds) -> None:
    """What other users of the machine see of a process and its children."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            finds.look("/proc/*/cmdline", path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    finds.look("ps", subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout)
    assert process.poll() is None


def tables(dsn: str, finds: Finds) -> None:
    """Every row of every table."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (name,) in names:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
            for (row,) in connection.execute(query):
                finds.look("tables", row)
        assert len(names) > 5


def files(folder: Path, finds: Finds, *but: str) -> None:
    """Every file the installation left behind, less those that are made to hold a secret."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in but:
            finds.look("files", path.read_bytes().decode("utf-8", "replace"))


def webhooks(address: str, planted: dict[str, str], finds: Finds) -> None:
    """Forged, broken and right requests, with secrets where far ends put them."""
    base = f"http://{address}/webhooks"
    secret = planted["EVOLUTION_WEBHOOK_SECRET"]
    token = planted["WHATSAPP_VERIFY_TOKEN"]
    challenge = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": "77"}
    headers = {"X-Telegram-Bot-Api-Secret-Token": planted["TELEGRAM_WEBHOOK_SECRET"]}
    answers = [
        httpx.get(f"{base}/whatsapp", params=challenge),
        httpx.get(f"{base}/whatsapp/nobody", params=challenge),
        httpx.post(f"{base}/evolution/default/{secret}", content=b"{]"),
        httpx.post(f"{base}/evolution/default/{secret}", json={"event": "messages.upsert", "data": [7]}),
        httpx.post(f"{base}/evolution/nobody/{secret}", content=b"{]"),
        httpx.post(f"{base}/telegram", headers=headers, content=b"{]"),
        httpx.post(f"{base}/telegram", headers=headers, json={"update_id": 1, "message": {"chat": []}}),
        httpx.post(f"{base}/waha", headers={"X-Webhook-Hmac": "00"}, json={}),
        httpx.post(f"{base}/simulator", headers={"X-Simulator-Signature": "00"}, json={}),
        httpx.get(f"http://{address}/api/v1/ready"),
        httpx.get(
            f"http://{address}/api/v1/platform/system-health",
            headers={"Authorization": f"Bearer {planted['SWITCHBOARD_ADMIN_TOKEN']}"},
        ),
    ]
    assert answers[0].text == "77", "the verify token is in force"
    assert answers[-1].status_code == 200, "the admin token is in force"
    assert all(answer.status_code != 500 for answer in answers)
    for answer in answers:
        finds.look("http", f"{answer.headers} {answer.text}")


def until_ready(shell: Shell, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while (done := shell("status")).returncode != 0:
        assert time.monotonic() < deadline, done.stdout
        assert process.poll() is None


def http_address(dsn: str) -> str:
    """Where the engine that started last listens."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT http_address FROM et_engines ORDER BY started_at DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.timeout(240)
def test_no_planted_secret_is_found_anywhere(
    shell: tuple[Shell, FarEnd], planted: dict[str, str], dsn: str, tmp_path: Path
) -> None:
    run, llm = shell
    finds = Finds(planted)

    def told(*command: str) -> None:
        done = run(*command)
        finds.look(" ".join(command[:2]), done.stdout + done.stderr)
        assert "Traceback" not in done.stderr

    with run.running("engine") as engine:
        until_ready(run, engine)
        running(engine, finds)
        llm.uniapi.mode = llm.zai.mode = "401"  # both quote the key they were called with
        told("inject", "Are you open?", "--from", "anna", "--follow")
        llm.uniapi.mode = llm.zai.mode = "ok"
        webhooks(http_address(dsn), planted, finds)
        llm.uniapi.mode = "hang"
        told("inject", "And on Sunday?", "--from", "ben")
        time.sleep(1)
        engine.send_signal(signal.SIGKILL)
        finds.look("log", "".join(engine.communicate(timeout=30)))
    llm.uniapi.mode = "ok"
    with run.running("engine") as engine:
        until_ready(run, engine)
        told("inject", "Hello?", "--from", "carl", "--follow")
        for command in REPORTS:
            told(*command)
        with psycopg.connect(dsn) as connection:
            rows = connection.execute("SELECT id FROM et_messages WHERE direction = 'inbound'").fetchall()
        for (message,) in rows:
            told("explain", str(message))
        with Terminal(run.environment["DATABASE_URL"], tmp_path) as console:
            console.await_text("carl")
            for key in SCREENS:
                console.type(key)
                time.sleep(0.5)
            running(engine, finds)
            finds.look("console", console.written())
        engine.send_signal(signal.SIGTERM)
        finds.look("log", "".join(engine.communicate(timeout=30)))
    tables(dsn, finds)
    files(tmp_path, finds, "admin-token")
    assert len(llm.uniapi.calls) + len(llm.zai.calls) > 0, "the keys were used"
    assert finds.found == []
    assert {"log", "tables", "ps", "/proc/*/cmdline", "console", "http", "doctor"} <= finds.looked_at
