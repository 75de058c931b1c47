"""`switchboard usage`: tokens and money, by whatever they went to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from console import usage_words as words
from console.command import Json, moment, settings_in_force, with_pool
from console.plain import say
from console.words import span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engine.observe.accounts import Account
    from engine.observe.spending import Calls, Report, Used

usages = typer.Typer(rich_markup_mode=None)


class By(StrEnum):
    DAY = "day"
    HOUR = "hour"
    MODEL = "model"
    PROVIDER = "provider"
    AGENT = "agent"
    TENANT = "tenant"
    TASK = "task"


@usages.command()
def usage(
    by: Annotated[By, typer.Option("--by", help="What it is added up by.")] = By.DAY,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="TIME", help="From then on: 2026-03-14, or an age like 7d; 30d by itself."
        ),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="TIME", help="Before then; now by itself.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
    detail: Annotated[
        bool,
        typer.Option(
            "--detail",
            help="With --csv: a row for each hour, tenant, agent, task and model, as the console exports.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Tell turns, tokens and cost, what is unpriced, where the budgets are heading, and how the providers do.

    Hours are whole, in UTC. Example: switchboard usage --by model --since 7d
    """
    from engine.observe.spending import report, report_csv, usage_csv
    from engine.supervisor import Database

    settings = settings_in_force()
    end = until or datetime.now(UTC) + timedelta(hours=1)
    begin = since or datetime.now(UTC) - timedelta(days=30)
    if begin >= end:
        raise typer.BadParameter("--since must be before --until.")
    if detail and not csv:
        raise typer.BadParameter("--detail goes with --csv.")
    with Database.open(settings) as database:
        if detail:
            table = with_pool(
                database.dsn,
                lambda pool: usage_csv(pool, begin.replace(minute=0, second=0, microsecond=0), end),
            )
            typer.echo(table, nl=False)
            return
        told = with_pool(
            database.dsn, lambda pool: report(pool, by.value, begin, end, settings.daily_budget_usd)
        )
    if csv:
        typer.echo(report_csv(told), nl=False)
    elif json:
        import dataclasses
        from json import dumps

        from engine.observe import safe_json

        typer.echo(safe_json(dumps(dataclasses.asdict(told), indent=2, default=str)))
    else:
        say(_lines(told))


def _lines(told: Report) -> Iterator[str]:
    yield f"{told.by:<40}{'turns':>8}{'tokens in':>12}{'out':>12}{'cost, USD':>14}"
    for used in (*told.used, told.total):
        yield _line(used)
    for outlook in told.outlooks:
        budget = outlook.budget
        cap = "no cap" if budget.cap_usd is None else f"of {budget.cap_usd:.2f}"
        yield (
            f"budget of {_name(budget.name)}: {budget.spent_usd:.4f} USD today, {cap}; heading for "
            f"{outlook.forecast_usd:.4f} by the end of the day, {outlook.month_usd:.2f} by the end of the month"
        )
    yield from _unpriced(told.unpriced)
    calls = {made.provider: made for made in told.calls}
    accounts = {account.provider: account for account in told.accounts}
    for provider in dict.fromkeys([*calls, *accounts]):
        yield _provider(provider, calls.get(provider), accounts.get(provider))


def _unpriced(models: Sequence[Used]) -> Iterator[str]:
    if not models:
        return
    named = ", ".join(f"{_name('/'.join(used.name.split(' ', 1)))} ({used.unpriced})" for used in models)
    yield (
        f"! {sum(used.unpriced for used in models)} turns have no price and are in no sum: {named}. Remedy: add to "
        f"price_overrides of {words.PRICE_PLACE} (switchboard routing set) {words.PRICE_SHAPE}, in USD per million "
        "tokens; it counts from the next turn on."
    )


def _provider(name: str, calls: Calls | None, account: Account | None) -> str:
    parts = ["not called"]
    if calls is not None:
        failures = ", ".join(f"{failure} {number}" for failure, number in sorted(calls.failures.items()))
        failed = f", {calls.calls - calls.answered} failed ({failures})" if failures else ""
        answered = f"p50 {span(calls.p50_ms) or '–'}, p95 {span(calls.p95_ms) or '–'}"
        parts = [f"{answered}, {calls.calls} calls in the newest turns{failed}"]
    why = words.why_unknown(account)
    if account is None or why is not None:
        parts.append(f"balance unknown: {why}")
    elif account.balance_usd is None:
        parts.append(words.left(account))
    else:
        parts += [f"{words.left(account)}, {words.told_ago(account)}", words.pace(account)]
    from engine.observe import one_line

    return one_line(f"provider {name}: {'; '.join(parts)}", 400)


def _line(used: Used) -> str:
    cost = "unpriced" if used.unpriced and used.unpriced == used.turns else f"{used.cost_usd:.6f}"
    some = f"  ! {used.unpriced} unpriced" if 0 < used.unpriced < used.turns else ""
    return f"{_name(used.name):<40}{used.turns:>8}{used.prompt_tokens:>12}{used.completion_tokens:>12}{cost:>14}{some}"


def _name(text: str) -> str:
    from engine.observe import one_line

    return one_line(text, 38)
