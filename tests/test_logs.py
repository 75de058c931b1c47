"""Logs: one line an event, no secret, nothing foreign that could forge a line."""

from __future__ import annotations

import io
import json
import logging
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from engine.logs import MASK, OTHERS, LogRing, SecretMask, configure_logging, get_logger
from engine.settings import Settings

KEY = "sk-live-0123456789abcdef"
PASSWORD = "p@ss/word-77"
LOG = get_logger("engine.tests")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    logging.captureWarnings(False)
    for handler in root.handlers[:]:
        if handler not in before[0]:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(before[1])


def settings(**overrides: Any) -> Settings:
    known: dict[str, Any] = {
        "uniapi_api_key": SecretStr(KEY),
        "database_url": SecretStr("postgresql://me:p%40ss%2Fword-77@db/switchboard"),
        "log_level": "DEBUG",
    }
    return Settings(_env_file=None, **(known | overrides))


@pytest.fixture(params=["json", "text"])
def log_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "engine.log"
    configure_logging(settings(log_format=request.param), file=path)
    return path


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_json_event_carries_time_level_logger_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    configure_logging(settings(), file=path)
    LOG.info("message_sent", message_id=7, nested={"a": [1, "x"]}, nothing=None)
    (event,) = events(path)
    assert list(event)[:4] == ["timestamp", "level", "logger", "event"]
    assert event["timestamp"].endswith("+00:00")
    assert event["level"] == "info"
    assert event["logger"] == "engine.tests"
    assert event["message_id"] == 7
    assert event["nested"] == {"a": [1, "x"]}
    assert event["nothing"] is None


def test_secrets_are_absent_however_they_come_along(log_file: Path) -> None:
    class Opaque:
        def __str__(self) -> str:
            return f"client({KEY})"

    def fail() -> None:
        words = "-".join(["what", "a", "customer", "wrote"])  # a traceback with locals would show it
        raise ValueError(f"refused: {KEY} {len(words)}")

    LOG.info(
        f"event {KEY}", url=f"https://x/?k={KEY}", deep={"a": [{KEY: KEY}]}, thing=Opaque(), raw=KEY.encode()
    )
    LOG.warning("database", dsn=f"postgresql://me:p%40ss%2Fword-77@db password={PASSWORD}")
    try:
        fail()
    except ValueError:
        LOG.exception("failed")
        logging.getLogger("httpx").exception("also %s", KEY)
    text = log_file.read_text()
    for secret in (KEY, PASSWORD, "p%40ss", "what-a-customer-wrote"):
        assert secret not in text
    assert text.count(MASK) >= 8
    assert "ValueError: refused" in text


def test_a_long_value_is_masked_before_it_is_cut(log_file: Path) -> None:
    LOG.info("long", value="x" * 1990 + KEY)
    assert KEY[:8] not in log_file.read_text()


def test_foreign_text_cannot_forge_or_colour_a_line(log_file: Path) -> None:
    forged = '\n{"event": "forged"}\r\n2026-01-01 INFO forged\x1b[31m\x9b2J\u202e\u2028x\x00'
    LOG.info("inbound", text=forged, **{"key\nforged": 1})
    LOG.info(forged)
    logging.getLogger("engine.other").error("said %s", forged)
    logging.getLogger("name\nforged").error("x")
    raw = log_file.read_bytes()
    assert raw.count(b"\n") == 4
    text = raw.decode()
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    assert not set("\x9b\u202e\u2028\x7f") & set(text)
    assert not any(line.startswith(('{"event": "forged"', "forged")) for line in text.split("\n"))


def test_a_traceback_in_text_form_is_indented_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    configure_logging(settings(log_format="text"), file=path)
    try:
        raise ValueError("first\n2026-01-01T00:00:00 ERROR forged")
    except ValueError:
        LOG.exception("failed")
    head, *rest = path.read_text().splitlines()
    assert "failed" in head
    assert rest
    assert all(line.startswith("    | ") for line in rest)


def test_values_json_cannot_hold_do_not_lose_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own would raise on such a record

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    path = tmp_path / "engine.log"
    configure_logging(settings(), file=path)
    LOG.info("odd", big=10**5000, nan=float("nan"), broken=Broken(), lone="\ud83d", many=list(range(500)))
    logging.getLogger("engine.other").error("too %s few %s", "args")
    odd, bad = events(path)
    assert odd["big"] is None
    assert odd["nan"] is None
    assert odd["broken"] == "<Broken: RuntimeError>"
    assert odd["lone"] == "\ufffd"
    assert len(odd["many"]) == 50
    assert bad["event"] == "a log record could not be written: TypeError"


def test_other_libraries_speak_from_warning_up_and_ours_by_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    configure_logging(settings(log_level="INFO"), file=path)
    for name in (*OTHERS, "some.library"):
        logging.getLogger(name).info("quiet")
        logging.getLogger(name).warning("heard")
    LOG.debug("quiet")
    LOG.info("heard")
    warnings.warn("heard", UserWarning, stacklevel=1)
    assert len(events(path)) == len(OTHERS) + 3
    assert "quiet" not in path.read_text()


def test_the_file_is_private_and_routing_again_replaces_it(tmp_path: Path) -> None:
    first, second = tmp_path / "1.log", tmp_path / "2.log"
    configure_logging(settings(), file=first)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    configure_logging(settings(), file=second)
    LOG.info("once")
    assert first.read_text() == ""
    assert len(events(second)) == 1


def test_quiet_writes_nowhere_but_into_the_ring(capfd: pytest.CaptureFixture[str]) -> None:
    ring = configure_logging(settings(), quiet=True)
    LOG.warning("kept", key=KEY)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    (line,) = ring.since()
    assert (line.event, line.level, line.fields) == ("kept", "warning", {"key": MASK})
    assert line.at.utcoffset() is not None


def test_stderr_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings())
    LOG.info("told")
    out, err = capfd.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "told"


def test_a_broken_stream_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    ring = configure_logging(settings())
    stream.close()
    LOG.info("kept")
    monkeypatch.undo()
    assert [line.event for line in ring.since()] == ["kept"]
    assert capfd.readouterr().err == ""


def test_the_ring_is_bounded_and_numbers_its_lines() -> None:
    ring = LogRing(size=3)
    for number in range(5):
        ring.append({"event": str(number), "level": "info", "logger": "x", "timestamp": None})
    assert [line.event for line in ring.since()] == ["2", "3", "4"]
    assert [line.number for line in ring.since(4)] == [5]


def test_the_mask_knows_the_spellings_of_a_secret() -> None:
    mask = SecretMask(['tok"en/with:odd', "short"])
    assert mask('a tok"en/with:odd b') == f"a {MASK} b"
    assert mask("tok%22en%2Fwith%3Aodd tok%22en/with%3Aodd") == f"{MASK} {MASK}"
    assert mask(json.dumps('tok"en/with:odd')) == f'"{MASK}"'
    assert mask("short") == "short"
    assert SecretMask([])("anything") == "anything"
