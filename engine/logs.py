"""Structured logs: one line an event, no secret, nothing foreign that could forge or colour a line.

Every record, ours through structlog and other libraries' through `logging`, takes one path: secrets
masked by value, foreign strings sanitised and cut, then a line to a stream or file, and a copy in a
bounded ring that the console's Journal reads.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO, cast
from urllib.parse import quote, unquote, urlsplit

import structlog

from engine.settings import Settings
from engine.text import CUT, MAX_DEPTH, clean_for_storage, clean_json, one_line, sanitise

MASK = "***"
SHORTEST_SECRET = 6
"""Characters; masking something shorter would blank out ordinary text."""
VALUE_LIMIT = 2_000
TRACEBACK_LIMIT = 16_000
RING_SIZE = 2_000
FILE_BYTES = 10_000_000
FILES_KEPT = 3
OURS = ("engine", "console")
"""Loggers that follow `settings.log_level`; everybody else speaks from WARNING up."""
OTHERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "apscheduler", "sqlalchemy")

HEAD = ("timestamp", "level", "logger", "event")
"""The keys every line begins with."""

EventDict = MutableMapping[str, Any]


class SecretMask:
    """Replaces every occurrence of the given secrets, as written, URL-quoted or JSON-escaped, by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        longest_first = sorted(spellings, key=lambda text: (-len(text), text))
        pattern = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(pattern) if pattern else None
        self._raw_pattern = re.compile(pattern.encode()) if pattern else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def raw(self, body: bytes) -> bytes:
        """The same for what a far end sent: one that quotes our key does not get it into any message or row."""
        return self._raw_pattern.sub(MASK.encode(), body) if self._raw_pattern else body

    def within(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """The same for what such a body parses to, where escapes are resolved; what is nested deeper is cut."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self(clean_for_storage(value))
        if isinstance(value, dict | list) and depth < 1:
            return CUT
        if isinstance(value, dict):
            return {self.within(name): self.within(item, depth - 1) for name, item in value.items()}
        return [self.within(item, depth - 1) for item in value] if isinstance(value, list) else value


def _spellings(secret: str) -> Iterable[str]:
    """The ways a secret turns up in text; of a URL also its password alone."""
    values = [secret]
    if "://" in secret:
        try:
            password = urlsplit(secret).password
        except ValueError:
            password = None
        if password:
            values += [password, unquote(password)]
    for value in values:
        if len(value) >= SHORTEST_SECRET:
            yield from (
                value,
                quote(value),
                quote(value, safe=""),
                json.dumps(value)[1:-1],
                repr(value)[1:-1],
            )


@dataclass(frozen=True, slots=True)
class LogLine:
    """One recent event, already masked and sanitised."""

    number: int
    """Counts up from 1; to ask for what is newer."""
    at: datetime
    level: str
    logger: str
    event: str
    fields: dict[str, Any]
    traceback: str | None


class LogRing:
    """The last events, oldest first. Safe to read from any thread."""

    def __init__(self, size: int = RING_SIZE) -> None:
        self._lines: deque[LogLine] = deque(maxlen=size)
        self._lock = threading.Lock()
        self._count = 0

    def append(self, event: EventDict) -> None:
        """Keeps one event that has passed the guard."""
        fields = dict(event)
        at, level, logger, what, trace = (fields.pop(key, None) for key in (*HEAD, "exception"))
        with self._lock:
            self._count += 1
            self._lines.append(
                LogLine(
                    number=self._count,
                    at=datetime.fromisoformat(at) if at else datetime.now(UTC),
                    level=str(level),
                    logger=str(logger),
                    event=str(what),
                    fields=fields,
                    traceback=trace,
                )
            )

    def since(self, number: int = 0) -> list[LogLine]:
        """Every kept line after that number."""
        with self._lock:
            if number <= 0:
                return list(self._lines)
            return [line for line in self._lines if line.number > number]


class Guard:
    """Makes an event safe to write: secrets masked, strings one line and cut, tracebacks without locals."""

    def __init__(self, mask: SecretMask) -> None:
        self._mask = mask

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        trace = self._traceback(event.pop("exc_info", None))
        event.pop("stack_info", None)
        ordered = {key: event.pop(key, None) for key in HEAD}
        ordered.update(event)
        safe = {self._line(str(key), 100): self._value(value) for key, value in ordered.items()}
        if trace:
            safe["exception"] = trace
        return safe

    def _line(self, text: str, limit: int = VALUE_LIMIT) -> str:
        return one_line(self._mask(text), limit)

    def _value(self, value: Any, depth: int = 3) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            number = clean_json(value)  # what JSON cannot hold becomes null
            return MASK if number is not None and self._mask(str(number)) != str(number) else number
        if isinstance(value, str):
            return self._line(value)
        if isinstance(value, dict) and depth:
            pairs = list(value.items())[:50]
            return {self._line(str(key), 100): self._value(item, depth - 1) for key, item in pairs}
        if isinstance(value, list | tuple | set | frozenset) and depth:
            return [self._value(item, depth - 1) for item in list(value)[:50]]
        try:
            return self._line(str(value))
        except Exception as error:  # a foreign object's own __str__
            return f"<{type(value).__name__}: {type(error).__name__}>"

    def _traceback(self, info: Any) -> str | None:
        error = info[1] if isinstance(info, tuple) else info
        if error is True:
            error = sys.exc_info()[1]
        if not isinstance(error, BaseException):
            return None
        told = traceback.TracebackException.from_exception(
            error, limit=-30, capture_locals=False, compact=True
        )
        return sanitise(self._mask("".join(told.format())).rstrip(), TRACEBACK_LIMIT)


def _as_json(_logger: Any, _method: str, event: EventDict) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


def _as_text(_logger: Any, _method: str, event: EventDict) -> str:
    """`time LEVEL logger event key=value …`; a traceback follows, indented: it cannot pass for a line."""
    trace = event.pop("exception", None)
    at, level, logger, what = (event.pop(key, "") for key in HEAD)
    words = [str(at), str(level).upper().ljust(7), str(logger), str(what)]
    words += [f"{key}={_plain(value)}" for key, value in event.items()]
    line = " ".join(words)
    return line if trace is None else line + "".join(f"\n    | {row}" for row in trace.split("\n"))


def _plain(value: Any) -> str:
    if isinstance(value, str) and value and not re.search(r"[\s=\"]", value):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _utc_timestamp(_logger: Any, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return event


class _Sink(logging.Handler):
    """Formats every record once, for the ring, and writes the line where there is somewhere to write."""

    def __init__(self, formatter: logging.Formatter, writer: logging.Handler | None) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(record)
        except Exception as error:  # a record that cannot be formatted must not take its caller down
            told = f"a log record could not be written: {type(error).__name__}"
            with contextlib.suppress(Exception):
                self._write(logging.LogRecord(record.name, record.levelno, "", 0, told, (), None))

    def _write(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if self._writer:
            self._writer.handle(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        super().close()


class _Stream(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk or a closed pipe loses the line; the ring has it. Nothing raw goes to the terminal."""


class _File(RotatingFileHandler):
    """A rotating file that only its owner can read."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        """As for a stream."""


def configure_logging(
    settings: Settings, *, file: Path | None = None, quiet: bool = False, ring: LogRing | None = None
) -> LogRing:
    """Routes all logging of this process; calling it again replaces the former routing.

    Lines go to stderr, or to `file` when one is given; with `quiet` and no file, nowhere (the console
    owns the terminal). The ring holds the last events in any case; an earlier one may be kept on.
    """
    ring = ring or LogRing()

    def keep(_logger: Any, _method: str, event: EventDict) -> EventDict:
        ring.append(event)
        return event

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level],
        processors=[
            _utc_timestamp,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            Guard(SecretMask(settings.secrets())),
            keep,
            _as_json if settings.log_format == "json" else _as_text,
        ],
    )
    writer: logging.Handler | None = None
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        writer = _File(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    elif not quiet:
        writer = _Stream(sys.stderr)
    _route(_Sink(formatter, writer), settings.log_level)
    return ring


def _route(sink: _Sink, level: str) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Sink)]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(sink)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in OTHERS:
        other = logging.getLogger(name)
        other.handlers.clear()
        other.propagate = True
        other.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module: `get_logger(__name__)`, then `log.info("what_happened", key=value)`."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        cache_logger_on_first_use=True,
    )
    return cast(structlog.stdlib.BoundLogger, logger)
