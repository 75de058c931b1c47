"""The journal's entries: one line in the list, all of it beside, and what goes into a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell, foreign
from console.widgets.arranged_list import ArrangedList
from console.widgets.lines import fit
from console.words import BAD, BUSY, GOOD, KEY, MUTED, STRONG, UNSEEN, WARN, Look, span
from engine.observe import csv_cell, sanitise

if TYPE_CHECKING:
    from engine.observe.journal import Entry

LEVELS = {
    "debug": Look("·", "debug", MUTED),
    "info": Look("·", "info", MUTED),
    "warning": Look("!", "warning", WARN),
    "error": Look("✗", "error", BAD),
    "critical": Look("✗", "critical", BAD),
}
SOURCES = {"log": MUTED, "act": KEY, "llm": BUSY, "schema": GOOD, "alert": WARN}
COLUMNS = ("at", "source", "level", "who", "what", "about", "detail")
VALUE = 400
"""Characters of a value in a diff."""


class EntryList(ArrangedList["Entry"]):
    """Entries, the newest last."""

    TAIL = True

    def __init__(self, clock: Clock) -> None:
        super().__init__(lambda entry: entry.key, id="entries")
        self._clock = clock

    def draw(self, row: Entry, width: int) -> Sequence[Content]:
        level = LEVELS.get(row.level, UNSEEN)
        who, what = (20, 22) if width >= 110 else (12, 18)
        return [
            Content.assemble(
                (f"{self._clock.time(row.at)} ", MUTED),
                (f"{level.glyph} ", level.style),
                (f"{row.source:<7}", SOURCES.get(row.source, "")),
                fit(cell(row.who, MUTED), who),
                " ",
                fit(cell(row.what, level.style if level.style != MUTED else ""), what),
                " ",
                cell(row.about, MUTED),
            )
        ]


def told(entry: Entry, clock: Clock) -> Content:
    """The detail pane."""
    level = LEVELS.get(entry.level, UNSEEN)
    lines = [
        Content.assemble((f"{level.glyph} ", level.style), cell(entry.what, STRONG)),
        Content.assemble((f"{clock.full(entry.at)}  {entry.source} · ", MUTED), cell(entry.who, MUTED)),
        Content(""),
    ]
    match entry.source:
        case "act":
            lines += _act(entry.detail)
        case "log":
            lines += _log(entry.detail)
        case "llm":
            lines += _failures(entry.detail)
        case "alert":
            lines += _alert(entry.detail)
        case _:
            lines += _run(entry.detail)
    return Content("\n").join(lines)


def _act(act: Any) -> list[Content]:
    lines = [
        Content.assemble(("subject  ", MUTED), cell(act.subject)),
        Content.assemble(("from     ", MUTED), cell(act.origin or "–")),
    ]
    if act.note:
        lines.append(Content.assemble(("note     ", MUTED), cell(act.note, "", 500)))
    return [*lines, Content(""), *diff(act.before, act.after)]


def diff(before: Any, after: Any) -> list[Content]:
    """What an act changed: gone with `-`, new with `+`, the same without a sign."""
    old, new = _flat(before), _flat(after)
    lines = []
    for name in dict.fromkeys([*old, *new]):
        if name in old and name in new and old[name] == new[name]:
            lines.append(Content.assemble("  ", cell(f"{name}: {old[name]}", MUTED, VALUE)))
            continue
        if name in old:
            lines.append(Content.assemble(("- ", BAD), cell(f"{name}: {old[name]}", BAD, VALUE)))
        if name in new:
            lines.append(Content.assemble(("+ ", GOOD), cell(f"{name}: {new[name]}", GOOD, VALUE)))
    return lines or [Content.styled("It changed no values.", MUTED)]


def _flat(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return {"value": _json(value)}
    return {str(name): item if isinstance(item, str) else _json(item) for name, item in value.items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _log(line: Any) -> list[Content]:
    lines = [
        Content.assemble(cell(f"{name}  ", MUTED, 40), cell(str(value), "", 2000))
        for name, value in line.fields.items()
    ]
    return [*lines, Content(""), foreign(line.traceback, BAD)] if line.traceback else lines


def _alert(incident: Mapping[str, Any]) -> list[Content]:
    lines = [
        cell(incident["what"], "", 600),
        Content.assemble(("since    ", MUTED), cell(incident["opened_at"])),
        Content.assemble(("over     ", MUTED), cell(incident["resolved_at"] or "not yet")),
    ]
    return lines + [Content.assemble(("told     ", MUTED), cell(line, "", 300)) for line in incident["told"]]


def _failures(row: Mapping[str, Any]) -> list[Content]:
    ended = " · ".join(filter(None, (row["outcome"], row["reason"])))
    lines = [Content.assemble(("turn     ", MUTED), cell(f"{row['id']} · {row['kind']} · {ended}"))]
    lines.append(Content.assemble(("message  ", MUTED), f"{row['message_id']} in thread {row['thread_id']}"))
    lines.append(Content.assemble(("engine   ", MUTED), cell(row["engine"] or "–")))
    for number, attempt in enumerate((a for a in row["attempts"] if isinstance(a, dict)), 1):
        lines += [Content(""), *_attempt(number, attempt)]
    return lines


def _attempt(number: int, attempt: Mapping[str, Any]) -> list[Content]:
    ok, skipped = attempt.get("ok"), attempt.get("skipped")
    unsuccessful = Look("·", "not called", MUTED) if skipped else Look("✗", "failed", BAD)
    look = Look("✓", "answered", GOOD) if ok else unsuccessful
    why = " ".join(str(attempt[key]) for key in ("failure", "http_status") if attempt.get(key))
    latency = attempt.get("latency_ms")
    head = Content.assemble(
        (f"{number} {look.glyph} ", look.style),
        cell(f"{attempt.get('provider')} {attempt.get('model')}", "", 60),
        (f"  {look.word} ", look.style),
        cell(why, look.style, 60),
        (f"  {span(latency)}" if isinstance(latency, int | float) else "", MUTED),
    )
    if not attempt.get("error"):
        return [head]
    return [head, Content.assemble("    ", cell(str(attempt["error"]), MUTED, 500))]


def _run(row: Mapping[str, Any]) -> list[Content]:
    lines = [cell(f"✗ {what}", BAD) for what in row["blockers"]]
    lines += [cell(f"+ {step}", GOOD) for step in row["changed"]]
    if row["drift"]:
        lines.append(Content.styled(f"{row['drift']} differences that are left alone", MUTED))
    return [*(lines or [Content.styled("Nothing was to be changed.", MUTED)]), Content(""),
            Content.styled("Schema (6) shows its SQL.", MUTED)]  # fmt: skip


# Files


def as_jsonl(entries: Iterable[Entry]) -> str:
    """One JSON object a line, every text in it made safe to print."""
    return "".join(f"{json.dumps(_safe(_record(e)), ensure_ascii=False, default=str)}\n" for e in entries)


def as_csv(entries: Iterable[Entry]) -> str:
    """A table; no cell is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for entry in entries:
        record = _record(entry)
        record["detail"] = _json(record["detail"])
        writer.writerow([csv_cell(str(record[name])) for name in COLUMNS])
    return out.getvalue()


def _record(entry: Entry) -> dict[str, Any]:
    detail = entry.detail
    if is_dataclass(detail) and not isinstance(detail, type):
        detail = asdict(detail)
    found = {name: getattr(entry, name) for name in COLUMNS if name != "detail"}
    return {**found, "at": entry.at.isoformat(), "detail": detail}


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return sanitise(value)
    if isinstance(value, Mapping):
        return {sanitise(str(key)): _safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(item) for item in value]
    return value
