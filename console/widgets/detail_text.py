"""What is told of one message, as lines: who, what, why, the calls to models, the rules, the figures."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell, foreign
from console.widgets.lines import Line, fit, heading
from console.words import BAD, GOOD, KEY, MUTED, STRONG, WARN, age, look, span, usd

if TYPE_CHECKING:
    from engine.observe.views import MessageDetail, Stored

TRACE_KEYS = ("schema_version", "task", "provider", "model", "usage", "context_prompt", "recorded_at")
"""The documented order; jsonb keeps none."""
VERDICTS = {"pass": ("✓", GOOD), "block": ("✗", BAD), "cut": ("✂", WARN)}


def header(detail: MessageDetail, clock: Clock) -> Content:
    """Which message this is, and its stored status, to the letter."""
    message = detail.message
    state = look(message.status, (detail.send or {}).get("outcome") if message is detail.outbound else None)
    row = message.row
    return Content.assemble(
        (f"#{message.id} ", STRONG),
        (f"{state.glyph} ", state.style),
        cell(message.status, state.style),
        ("  thread ", MUTED),
        str(message.thread_id or "–"),
        ("  ", MUTED),
        cell(f"{row['channel']}/{row['account']}", MUTED, 60),
        (f"  tenant {row['tenant_id']}", MUTED),
        "\n",
        cell(message.who, STRONG, 60),
        (f"  {clock.full(message.created_at)}", MUTED),
        cell(f"  {row['reason']}", WARN) if row.get("reason") else "",
    )


def said(detail: MessageDetail) -> Content:
    """The customer's words and the answer."""
    parts: list[Content] = []
    if detail.inbound is not None:
        parts.append(_words("→ ", "", detail.inbound))
    if detail.outbound is not None:
        ours = "← " if detail.outbound.row.get("author") == "ai" else "⇐ "
        parts.append(_words(ours, KEY, detail.outbound))
    return Content("\n").join(parts)


def _words(mark: str, style: str, message: Stored) -> Content:
    payload = message.row.get("raw_payload")
    kind = payload.get("kind") if isinstance(payload, dict) else None
    text = foreign(message.text) if message.text else cell(f"({kind or 'no text'})", MUTED)
    cut = f"  … of {message.bytes:,} bytes" if message.bytes and message.bytes > 80_000 else ""
    return Content.assemble((mark, style), text, (cut, MUTED))


def calls(detail: MessageDetail) -> list[Line]:
    """Every call to a model, won or lost, with its class, latency and tokens."""
    turn = detail.turn
    attempts = [a for a in _list(turn, "attempts") if isinstance(a, Mapping)]
    if not attempts:
        return []
    lines = [heading("Calls to models", f"{len(attempts)}")]
    for attempt in attempts:
        ok, skipped = attempt.get("ok") is True, attempt.get("skipped") is True
        glyph, style = ("✓", GOOD) if ok else ("↷", MUTED) if skipped else ("✗", BAD)
        usage = attempt.get("usage")
        usage = usage if isinstance(usage, Mapping) else {}
        tokens = (
            f"{usage.get('prompt_tokens', '?')}+{usage.get('completion_tokens', '?')} tokens" if usage else ""
        )
        why = "skipped" if skipped else str(attempt.get("failure") or "")
        status = f" {attempt['http_status']}" if attempt.get("http_status") else ""
        lines.append(
            Line(
                Content.assemble(
                    (f"{glyph} ", style),
                    fit(cell(f"{attempt.get('provider')} {attempt.get('model')}", limit=80), 32),
                    fit(Content.styled(_span(attempt.get("latency_ms")), MUTED), 9, right=True),
                    "  ",
                    cell(tokens if ok else f"{why}{status}", MUTED if ok or skipped else BAD, 40),
                    "  ",
                    cell(str(attempt.get("error") or attempt.get("finish_reason") or ""), MUTED),
                )
            )
        )
    return lines


def rules(detail: MessageDetail) -> list[Line]:
    """What each rule said; those that passed, which are stored by name, on one line."""
    verdicts = _list(detail.turn, "verdicts")
    told = [v for v in verdicts if isinstance(v, Mapping) and v.get("verdict") != "pass"]
    passed = [v for v in verdicts if isinstance(v, str)]
    passed += [str(v.get("rule")) for v in verdicts if isinstance(v, Mapping) and v.get("verdict") == "pass"]
    if not told and not passed:
        return []
    lines = [heading("Rules", f"{len(passed)} of {len(told) + len(passed)} passed")]
    for names in textwrap.wrap(" ".join(passed), 60):
        lines.append(Line(Content.assemble(("✓ ", GOOD), cell(names, MUTED))))
    for verdict in told:
        glyph, style = VERDICTS.get(str(verdict.get("verdict")), ("?", WARN))
        name = cell(f"{verdict.get('rule')} ({verdict.get('stage')} the call)", style, 60)
        lines.append(
            Line(Content.assemble((f"{glyph} ", style), name, "  ", cell(str(verdict.get("detail") or ""))))
        )
    return lines


def figures(detail: MessageDetail, clock: Clock) -> list[Line]:
    """Usage and cost, the agent, what of the history was cut, the send."""
    lines = [*_usage(detail.turn), *_context(detail.turn), *_sending(detail.send, clock)]
    return [heading("Figures"), *lines] if lines else []


def _usage(turn: Mapping[str, Any] | None) -> list[Line]:
    if turn is None:
        return []
    cost = turn["cost_usd"]
    tokens = f"{_n(turn['prompt_tokens'])} in + {_n(turn['completion_tokens'])} out = {_n(turn['total_tokens'])} tokens"
    price = usd(float(cost)) if cost is not None else "no price known"
    lines = []
    if turn["model"]:
        lines.append(_pair("model", cell(f"{turn['provider']} {turn['model']}", limit=80)))
        lines.append(_pair("usage", Content.assemble(f"{tokens}  ", (price, STRONG))))
    if turn["agent_id"]:
        agent = f"{turn.get('agent_name') or turn['agent_id']} v{turn['agent_version']}"
        burst = f"  answers {turn['burst']} messages at once" if (turn["burst"] or 0) > 1 else ""
        simulated = "  SIMULATED" if turn["simulated"] else ""
        lines.append(
            _pair("agent", Content.assemble(cell(agent, limit=80), (burst, MUTED), (simulated, WARN)))
        )
    return lines


def _context(turn: Mapping[str, Any] | None) -> list[Line]:
    stats = turn["context"] if turn else None
    if not isinstance(stats, Mapping) or "history_kept" not in stats:
        return []
    kept, available = stats.get("history_kept"), stats.get("history_available")
    cut = stats.get("history_cut") or 0
    told = f"{kept} of {available} earlier messages, about {stats.get('prompt_tokens_estimated')} tokens"
    lost = f"  {cut} cut ({stats.get('history_cut_tokens')} tokens)" if cut else "  nothing cut"
    human = "  after a person's stretch" if stats.get("human_stretch_ended") else ""
    return [
        _pair("context", Content.assemble(cell(told), cell(lost, WARN if cut else MUTED), (human, MUTED)))
    ]


def _sending(send: Mapping[str, Any] | None, clock: Clock) -> list[Line]:
    if send is None:
        return []
    state = look(send["status"], send["outcome"])
    outcome = f" ({send['outcome']})" if send["outcome"] else ""
    told = Content.assemble(
        (f"{state.glyph} {send['status']}{outcome}", state.style),
        (f"  attempt {send['attempts']}", MUTED),
        cell(f"  {send['error_class'] or ''} {send['last_error']}", BAD) if send["last_error"] else "",
        cell(f"  id {send['provider_message_id']}", MUTED, 60) if send["provider_message_id"] else "",
    )
    lines = [_pair("send", told)]
    if send["status"] in ("queued", "retry_scheduled"):
        wait = (send["next_attempt_at"] - clock.now()).total_seconds()
        lines.append(_pair("next try", Content(f"in {age(wait)}" if wait > 0 else "now")))
    return lines


def history(detail: MessageDetail, clock: Clock) -> list[Line]:
    """Every turn that was run for the message, when there was more than one."""
    if len(detail.turns) < 2:
        return []
    lines = [heading("Turns", f"{len(detail.turns)}, the oldest first")]
    for turn in detail.turns:
        took = ""
        if turn["answered_at"] and turn["started_at"]:
            took = span((turn["answered_at"] - turn["started_at"]).total_seconds() * 1000)
        lines.append(
            Line(
                Content.assemble(
                    (f"{clock.time(turn['finished_at'])} ", MUTED),
                    fit(cell(f"#{turn['id']} {turn['kind']}", limit=40), 16),
                    fit(cell(turn["outcome"], limit=40), 12),
                    fit(cell(turn["model"] or "", MUTED, 40), 26),
                    (f"{took:>9}  ", MUTED),
                    cell(str(turn["reason"] or turn["error"] or ""), MUTED),
                )
            )
        )
    return lines


def records(detail: MessageDetail) -> dict[str, Any]:
    """Everything recorded, by name, for the tree: the strict trace first."""
    found: dict[str, Any] = {}
    if detail.outbound is not None and detail.outbound.trace is not None:
        found["ai_trace"] = _in_order(detail.outbound.trace)
    for turn in reversed(detail.turns):
        found[f"turn {turn['id']} ({turn['kind']})"] = {k: v for k, v in turn.items() if v is not None}
    if detail.send is not None:
        found["send"] = {k: v for k, v in detail.send.items() if v is not None}
    for name, message in (("reply", detail.outbound), ("message", detail.inbound)):
        if message is not None:
            found[f"{name} {message.id}"] = {"text_content": message.text, **message.row}
    return found


def raw_json(detail: MessageDetail) -> str:
    """The strict trace as it is stored; of a message without one, its payload."""
    outbound = detail.outbound
    value = _in_order(outbound.trace) if outbound is not None and outbound.trace is not None else None
    if value is None:
        value = detail.message.row.get("raw_payload")
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _in_order(trace: dict[str, Any]) -> dict[str, Any]:
    """A strict trace with its keys in the documented order, whatever else it holds after them."""
    return {key: trace[key] for key in TRACE_KEYS if key in trace} | trace


def prompt(detail: MessageDetail) -> str | None:
    """The prompt the model was given, when it was recorded."""
    for turn in reversed(detail.turns):
        if turn["context_prompt"]:
            return str(turn["context_prompt"])
    trace = detail.outbound.trace if detail.outbound else None
    recorded = trace.get("context_prompt") if trace else None
    return str(recorded) if recorded else None


def _pair(name: str, value: Content) -> Line:
    return Line(Content.assemble((f"{name:<9}", MUTED), value))


def _list(turn: Mapping[str, Any] | None, key: str) -> list[Any]:
    value = turn[key] if turn else None
    return value if isinstance(value, list) else []


def _n(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _span(ms: object) -> str:
    return span(float(ms)) if isinstance(ms, int | float) else ""
