"""What the Usage area says, as lines: figures, plots, budgets, providers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from console.sanitise import cell
from console.widgets.lines import Line, fit, heading
from console.words import BAD, BUSY, GOOD, KEY, MUTED, STRONG, WARN, count, gauge, short, span, usd

if TYPE_CHECKING:
    from engine.observe.spending import Calls, Outlook, Spending, Used

PERIODS = ((1, "today"), (7, "7 days"), (30, "30 days"))
MEASURES = ("cost", "tokens", "turns")
EIGHTHS = " ▁▂▃▄▅▆▇█"
TITLES = {"model": "Models", "agent": "Agents", "tenant": "Tenants", "task": "Tasks"}
MOST_ROWS = 12


def summary(view: Spending, period: int, measure: str) -> list[Line]:
    """The period's sum in a line, and what the keys change."""
    total = view.total
    first = Content.assemble(
        (f"{PERIODS[period][1].capitalize()}  ", STRONG),
        usd(total.cost_usd),
        (
            f" · {short(total.turns)} turns · {short(total.prompt_tokens)} + {short(total.completion_tokens)} tokens",
            MUTED,
        ),
        (f" · ! {count(total.unpriced)} unpriced", WARN) if total.unpriced else "",
        (" · days are UTC", MUTED),
    )
    choices = Content(" ").join(
        Content.styled(name, STRONG if at == period else MUTED) for at, (_, name) in enumerate(PERIODS)
    )
    plots = Content(" ").join(Content.styled(name, STRONG if name == measure else MUTED) for name in MEASURES)
    second = Content.assemble(("[ ] ", KEY), choices, ("   m ", KEY), plots)
    return [Line(first), Line(second)]


def amount(used: Used, measure: str) -> float:
    """What a plot shows of it."""
    return {"cost": used.cost_usd, "tokens": float(used.tokens)}.get(measure, float(used.turns))


def told(value: float, measure: str) -> str:
    """A plot's value in words."""
    return usd(value) if measure == "cost" else short(value)


def plot(
    title: str, used: Sequence[Used], ends: tuple[str, str], measure: str, width: int, height: int
) -> list[Line]:
    """Columns, `height` rows high; the last one is still growing."""
    values = [amount(part, measure) for part in used]
    top = max(values, default=0.0)
    wide = 2 if width >= 2 * len(values) else 1
    rows = [Line(Content.styled(row, BUSY)) for row in columns(values, height, wide)]
    across = max(len(ends[0]) + len(ends[1]) + 1, len(values) * wide)
    axis = f"{ends[0]}{ends[1]:>{across - len(ends[0])}}"
    note = f"{measure} · highest {told(top, measure)} · now {told(values[-1] if values else 0, measure)}"
    return [heading(title, note), *rows, Line(Content.styled(axis, MUTED))]


def columns(values: Sequence[float], height: int, wide: int = 1) -> Iterator[str]:
    """Bars from the top row down, in eighths of a row; anything above nothing shows."""
    top = max(values, default=0.0)
    eighths = [0 if v <= 0 else max(1, round(v / top * height * 8)) for v in values]
    for row in reversed(range(height)):
        bars = (EIGHTHS[min(8, max(0, high - row * 8))] for high in eighths)
        yield "".join((bar * (wide - 1) + " " if wide > 1 else bar) for bar in bars)


def tables(view: Spending, width: int) -> list[Line]:
    """By model, agent, tenant and task."""
    lines: list[Line] = []
    for way, title in TITLES.items():
        lines += table(title, view.ways.get(way, ()), width)
        lines.append(Line(Content("")))
    return lines


def table(title: str, rows: Sequence[Used], width: int) -> list[Line]:
    """Names with turns, tokens, cost and how much of it is unpriced."""
    partly = any(0 < row.unpriced < row.turns for row in rows)
    name = max(10, width - (46 if partly else 32))
    head = Content.assemble(
        fit(Content.styled(title, STRONG), name),
        *(
            fit(Content.styled(word, MUTED), room, right=True)
            for word, room in (("turns", 7), ("tokens", 8), ("cost", 10))
        ),
        "  share" if width >= 60 else "",
    )
    lines = [Line(head)]
    if not rows:
        lines.append(Line(Content.styled("nothing used", MUTED)))
    whole = sum(row.cost_usd for row in rows)
    lines += [Line(_row(row, name, whole)) for row in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        lines.append(Line(Content.styled(f"… and {len(rows) - MOST_ROWS} more, in the export (e)", MUTED)))
    return lines


def _row(row: Used, name: int, whole: float) -> Content:
    all_unpriced = row.unpriced and row.unpriced == row.turns
    cost = Content.styled("unpriced", WARN) if all_unpriced else Content(usd(row.cost_usd))
    share = "" if not whole or all_unpriced else f" {row.cost_usd / whole:>4.0%}"
    some = f" ! {short(row.unpriced)} unpriced" if row.unpriced and not all_unpriced else ""
    return Content.assemble(
        fit(cell(row.name, limit=120), name),
        fit(Content.styled(short(row.turns), MUTED), 7, right=True),
        fit(Content.styled(short(row.tokens), MUTED), 8, right=True),
        fit(cost, 10, right=True),
        (share, MUTED),
        (some, WARN),
    )


def budgets(outlooks: Sequence[Outlook], width: int) -> list[Line]:
    """Each tenant's spend of today against its cap, what is set aside, and where the day will end."""
    lines = [heading("Budgets", "of today, UTC")]
    for outlook in outlooks[:8]:
        lines += _budget(outlook, width)
    if len(outlooks) > 8:
        lines.append(Line(Content.styled(f"… and {len(outlooks) - 8} more tenants", MUTED)))
    return lines


def _budget(outlook: Outlook, width: int) -> list[Line]:
    budget = outlook.budget
    room = max(10, width - 44)
    reserved = f" · {usd(outlook.reserved_usd)} set aside" if outlook.reserved_usd else ""
    if budget.cap_usd is None:
        spent = Content.assemble(usd(budget.spent_usd), (" · no cap", MUTED), (reserved, MUTED))
        ahead = Content.styled(f" · heading for {usd(outlook.forecast_usd)}", MUTED)
        return [Line(Content.assemble(fit(cell(budget.name, limit=60), room), " ", spent, ahead))]
    share, over = budget.share or 0.0, outlook.forecast_usd > budget.cap_usd
    style = BAD if share >= 1 else WARN if share >= 0.8 or over else GOOD
    glyph = "✗" if share >= 1 else "!" if over else "✓"
    first = Content.assemble(
        fit(cell(budget.name, limit=60), room),
        (f" {gauge(min(share, 1.0), 14)} ", style),
        f"{usd(budget.spent_usd)} of {usd(budget.cap_usd)}",
    )
    words = f"{glyph} heading for {usd(outlook.forecast_usd)} by the end of the day"
    if share >= 1:
        words = "✗ spent: its messages go to people until midnight UTC"
    return [
        Line(first),
        Line(Content.assemble("  ", (words, MUTED if style == GOOD else style), (reserved, MUTED))),
        Line(
            Content.styled(f"    {usd(outlook.month_usd)} by the end of the month at this week's pace", MUTED)
        ),
    ]


def providers(calls: Sequence[Calls], turns: int) -> list[Line]:
    """How fast each provider answers, and why it did not."""
    lines = [heading("Providers", f"calls of the newest {turns} turns")]
    if not calls:
        lines.append(Line(Content.styled("none called yet", MUTED)))
    for found in calls:
        failed = found.calls - found.answered
        skipped = f" · {count(found.skipped)} skipped" if found.skipped else ""
        lines.append(
            Line(
                Content.assemble(
                    fit(cell(found.provider, limit=40), 10),
                    (f"p50 {span(found.p50_ms) or '–'} · p95 {span(found.p95_ms) or '–'}", ""),
                    (f" · {count(found.calls)} calls{skipped}", MUTED),
                )
            )
        )
        if failed:
            classes = sorted(found.failures.items(), key=lambda item: -item[1])
            words = " · ".join(f"{name} {number}" for name, number in classes)
            lines.append(
                Line(Content.assemble(("  ✗ ", BAD), f"{count(failed)} failed: ", cell(words, MUTED)))
            )
    return lines
