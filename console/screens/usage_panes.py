"""What the Usage area says, as lines: figures, budgets, what has no price, providers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from console import usage_words as words
from console.sanitise import cell
from console.screens.usage_plots import MEASURES
from console.widgets.lines import Line, fit, heading
from console.words import BAD, GOOD, KEY, MUTED, STRONG, WARN, count, gauge, short, span, usd

if TYPE_CHECKING:
    from engine.observe.accounts import Account
    from engine.observe.spending import Calls, Outlook, Spending, Used

PERIODS = ((1, "today"), (7, "7 days"), (30, "30 days"))
VIEWS = ("all", "day", "hour", "model", "provider", "agent", "tenant", "task")
TITLES = {
    "day": "Days",
    "hour": "Hours",
    "model": "Models",
    "provider": "Providers",
    "agent": "Agents",
    "tenant": "Tenants",
    "task": "Tasks",
}
MOST_ROWS, ALL_ROWS = 12, 200


def summary(view: Spending, period: int, measure: str, by: str, width: int) -> list[Line]:
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
        (" · times are UTC" if width >= 100 else " · UTC", MUTED),
    )
    views = VIEWS if width >= 110 else (by,)
    second = Content.assemble(
        ("[ ] ", KEY),
        _choice([name for _, name in PERIODS], PERIODS[period][1]),
        ("   v ", KEY),
        _choice(views, by),
        ("   m ", KEY),
        _choice(MEASURES, measure),
    )
    return [Line(first), Line(second)]


def _choice(names: Iterable[str], chosen: str) -> Content:
    return Content(" ").join(Content.styled(name, STRONG if name == chosen else MUTED) for name in names)


def tables(view: Spending, width: int) -> list[Line]:
    """What was asked for, in full; else by model, provider, agent, tenant and task."""
    if view.by is not None:
        return table(TITLES[view.by], _in_order(view), width, ALL_ROWS)
    lines: list[Line] = []
    for way, title in TITLES.items():
        if way in ("day", "hour"):
            continue
        lines += table(title, view.ways.get(way, ()), width)
        lines.append(Line(Content("")))
    return lines


def _in_order(view: Spending) -> Sequence[Used]:
    """The dearest first; days and hours the newest first."""
    return view.used[::-1] if view.by in ("day", "hour") else view.used


def table(title: str, rows: Sequence[Used], width: int, most: int = MOST_ROWS) -> list[Line]:
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
    lines += [Line(_row(row, name, whole)) for row in rows[:most]]
    if len(rows) > most:
        lines.append(Line(Content.styled(f"… and {len(rows) - most} more, in the export (e)", MUTED)))
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
        first = Content.assemble(fit(cell(budget.name, limit=60), room), " ", spent, ahead)
        return [Line(first), _month(outlook)]
    share, over = budget.share or 0.0, outlook.forecast_usd > budget.cap_usd
    style = BAD if share >= 1 else WARN if share >= 0.8 or over else GOOD
    glyph = "✗" if share >= 1 else "!" if over else "✓"
    first = Content.assemble(
        fit(cell(budget.name, limit=60), room),
        (f" {gauge(min(share, 1.0), 14)} ", style),
        f"{usd(budget.spent_usd)} of {usd(budget.cap_usd)}",
    )
    forecast = f"{glyph} heading for {usd(outlook.forecast_usd)} by the end of the day"
    if share >= 1:
        forecast = "✗ spent: its messages go to people until midnight UTC"
    return [
        Line(first),
        Line(Content.assemble("  ", (forecast, MUTED if style == GOOD else style), (reserved, MUTED))),
        _month(outlook),
    ]


def _month(outlook: Outlook) -> Line:
    pace = f"    {usd(outlook.month_usd)} by the end of the month at this week's pace"
    return Line(Content.styled(pace, MUTED))


def unpriced(models: Sequence[Used], settings_key: str) -> list[Line]:
    """Models whose turns have no price, and where to put one; nothing when every turn has one."""
    if not models:
        return []
    lines = [heading("Unpriced", f"{count(sum(used.unpriced for used in models))} turns, in no sum above")]
    for used in models[:MOST_ROWS]:
        name = cell("/".join(used.name.split(" ", 1)), limit=80)
        lines.append(Line(Content.assemble(("! ", WARN), name, (f" · {count(used.unpriced)} turns", MUTED))))
    if len(models) > MOST_ROWS:
        lines.append(Line(Content.styled(f"… and {len(models) - MOST_ROWS} more models", MUTED)))
    remedy = (
        f"→ Settings ({settings_key}), {words.PRICE_PLACE}: add to price_overrides",
        f"  {words.PRICE_SHAPE}",
        "  in USD per million tokens; it counts from the next turn on",
    )
    return lines + [Line(Content.styled(line, MUTED)) for line in remedy]


def providers(calls: Sequence[Calls], accounts: Sequence[Account], turns: int, width: int) -> list[Line]:
    """How fast each provider answers, why it did not, and for how long its money lasts."""
    lines = [heading("Latency, failures, balance", f"calls of the newest {turns} turns")]
    found = {made.provider: made for made in calls}
    held = {account.provider: account for account in accounts}
    if not found and not held:
        lines.append(Line(Content.styled("none called yet", MUTED)))
    for name in dict.fromkeys([*found, *held]):
        lines += _calls(name, found.get(name), width)
        lines.append(_account(held.get(name)))
    return lines


def _calls(name: str, made: Calls | None, width: int) -> list[Line]:
    title = fit(cell(name, limit=40), 10)
    if made is None:
        return [Line(Content.assemble(title, ("not called", MUTED)))]
    skipped = f" · {count(made.skipped)} skipped" if made.skipped else ""
    lines = [
        Line(
            Content.assemble(
                title,
                f"p50 {span(made.p50_ms) or '–'} · p95 {span(made.p95_ms) or '–'}",
                (f" · {count(made.calls)} calls{skipped}", MUTED),
            )
        )
    ]
    if failed := made.calls - made.answered:
        classes = sorted(made.failures.items(), key=lambda item: -item[1])
        told = [f"{failure} {number}" for failure, number in classes]
        first, *more = _wrapped(told, width - len(f"  ✗ {count(failed)} failed: "))
        lines.append(Line(Content.assemble(("  ✗ ", BAD), f"{count(failed)} failed: ", cell(first, MUTED))))
        lines += [Line(Content.assemble("    ", cell(part, MUTED))) for part in more]
    return lines


def _wrapped(parts: Sequence[str], width: int) -> list[str]:
    """Joined by dots, in as many lines as it takes."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(longer) > width and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines


def _account(account: Account | None) -> Line:
    """What is left, since when that is known, how fast it goes and how long it lasts; or why that is not known."""
    why = words.why_unknown(account)
    if account is None or why is not None:
        return Line(Content.assemble(("  ? balance unknown: ", MUTED), cell(why, MUTED, limit=160)))
    if account.balance_usd is None:
        return Line(Content.assemble(("  ✓ ", GOOD), words.left(account)))
    glyph, style = {"good": ("✓", GOOD), "warn": ("!", WARN), "bad": ("✗", BAD)}[words.verdict(account)]
    return Line(
        Content.assemble(
            (f"  {glyph} ", style),
            (words.left(account), "" if style == GOOD else style),
            (f", {words.told_ago(account)}", WARN if words.is_old(account) else MUTED),
            (f" · {words.pace(account)}", MUTED),
        )
    )
