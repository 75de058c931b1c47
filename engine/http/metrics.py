"""`GET /metrics` for Prometheus: the figures of system health, today's usage from the hourly rollup, and balances.

Each scrape costs what a look at system health does, whatever the size of history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.model import DispatcherSnapshot, EngineSnapshot, WorkerSnapshot
from engine.observe.accounts import STATES as TOLD
from engine.observe.accounts import Account
from engine.observe.health import SystemHealth
from engine.observe.usage import Today

CONTENT_TYPE = CONTENT_TYPE_LATEST
TURNS = ("claimed", "replied", "takeovers", "errors", "retried", "rescued", "lost_claims")
SENDS = ("sent", "accepted", "retried", "failed", "unknown", "cancelled")
STATES = ("up", "degraded", "down", "unconfigured", "unknown")
assert {*TURNS} <= {*WorkerSnapshot.model_fields}
assert {*SENDS} <= {*DispatcherSnapshot.model_fields}


def exposition(
    health: SystemHealth, today: Today | None, accounts: Sequence[Account], engine: EngineSnapshot
) -> bytes:
    """The text format. `today` is None when the database does not answer; its metrics are left out then.

    Counters are the answering engine's own, since its start; gauges are about the whole installation.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(health, today, accounts, engine))
    ProcessCollector(namespace="switchboard", registry=registry)
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(
        self, health: SystemHealth, today: Today | None, accounts: Sequence[Account], engine: EngineSnapshot
    ) -> None:
        self._health, self._today, self._accounts, self._engine = health, today, accounts, engine

    def collect(self) -> Iterator[Metric]:
        yield from _installation(self._health)
        yield from _queues(self._health)
        yield from _own(self._engine)
        if self._today is not None:
            yield from _usage(self._today)
        yield from _balances(self._accounts)


def _installation(health: SystemHealth) -> Iterator[Metric]:
    yield GaugeMetricFamily("switchboard_ready", "1: messages are answered.", value=health.ready)
    for name, found in (("blockers", health.blockers), ("warnings", health.warnings)):
        metric = GaugeMetricFamily(f"switchboard_{name}", f"{name.capitalize()} in force.", labels=["code"])
        codes = [one.code for one in found]
        for code in sorted(set(codes)):
            metric.add_metric([code], codes.count(code))
        yield metric
    incidents = GaugeMetricFamily("switchboard_incidents", "Open incidents of alerts.", labels=["rule"])
    rules = [incident.rule for incident in health.incidents]
    for rule in sorted(set(rules)):
        incidents.add_metric([rule], rules.count(rule))
    yield incidents
    alive = sum(engine.alive for engine in health.engines)
    yield GaugeMetricFamily("switchboard_engines", "Engines that give signs of life.", value=alive)
    components = GaugeMetricFamily(
        "switchboard_component_state",
        "1 for the state an LLM provider or a channel account is in.",
        labels=["kind", "name", "state"],
    )
    for component in (*health.llm_providers, *health.channels):
        for state in STATES:
            components.add_metric([component.kind, component.name, state], component.state == state)
    yield components
    if health.database.size_bytes is not None:
        yield GaugeMetricFamily(
            "switchboard_database_size_bytes", "Size of the database.", value=health.database.size_bytes
        )
    if health.database.connections is not None:
        yield GaugeMetricFamily(
            "switchboard_database_connections", "Connections in use.", value=health.database.connections
        )


def _queues(health: SystemHealth) -> Iterator[Metric]:
    labels = ["queue", "status", "outcome"]
    rows = GaugeMetricFamily(
        "switchboard_queue_rows", "Rows in a status, counted up to 10000.", labels=labels
    )
    oldest = GaugeMetricFamily(
        "switchboard_queue_oldest_age_seconds", "Age of the oldest row in a status; 0: none.", labels=labels
    )
    for queue in health.queues:
        values = [queue.queue, queue.status, queue.outcome or ""]
        rows.add_metric(values, queue.count)
        oldest.add_metric(values, queue.oldest_age_seconds or 0.0)
    yield rows
    yield oldest


def _own(engine: EngineSnapshot) -> Iterator[Metric]:
    worker, dispatcher = engine.inbound_worker, engine.outbound_dispatcher
    turns = CounterMetricFamily(
        "switchboard_turns", "Turns of this engine, by what became of them.", labels=["result"]
    )
    for name in TURNS:
        turns.add_metric([name], getattr(worker, name))
    yield turns
    sends = CounterMetricFamily(
        "switchboard_sends", "Sends of this engine, by what became of them.", labels=["result"]
    )
    for name in SENDS:
        sends.add_metric([name], getattr(dispatcher, name))
    yield sends
    flying = GaugeMetricFamily("switchboard_in_flight", "Turns and sends this engine is at.", labels=["task"])
    flying.add_metric(["turn"], worker.in_flight)
    flying.add_metric(["send"], dispatcher.in_flight)
    yield flying


def _usage(today: Today) -> Iterator[Metric]:
    """Gauges that begin again at midnight UTC. Labels are OpenTelemetry's attributes of generative AI."""
    labels = ["gen_ai_provider_name", "gen_ai_request_model"]
    turns = GaugeMetricFamily("switchboard_today_turns", "Turns of today (UTC).", labels=labels)
    tokens = GaugeMetricFamily(
        "switchboard_today_tokens", "Tokens of today (UTC).", labels=[*labels, "gen_ai_token_type"]
    )
    cost = GaugeMetricFamily(
        "switchboard_today_cost_usd", "Spend of today (UTC), of known prices.", labels=labels
    )
    for model in today.models:
        values = [model.provider, model.model]
        turns.add_metric(values, model.turns)
        tokens.add_metric([*values, "input"], model.prompt_tokens)
        tokens.add_metric([*values, "output"], model.completion_tokens)
        cost.add_metric(values, model.cost_usd)
    yield turns
    yield tokens
    yield cost
    budgets = GaugeMetricFamily(
        "switchboard_tenant_budget_usd", "Daily cap of a tenant.", labels=["tenant_id"]
    )
    spent = GaugeMetricFamily("switchboard_tenant_spent_usd", "Spend of today (UTC).", labels=["tenant_id"])
    for budget in today.budgets:
        spent.add_metric([str(budget.tenant_id)], budget.spent_usd)
        if budget.cap_usd is not None:
            budgets.add_metric([str(budget.tenant_id)], budget.cap_usd)
    yield budgets
    yield spent


def _balances(accounts: Sequence[Account]) -> Iterator[Metric]:
    """What is left on providers' accounts, for those that tell it; nothing is asked for a scrape."""
    labels = ["gen_ai_provider_name"]
    states = GaugeMetricFamily(
        "switchboard_provider_balance_state",
        "1 for what came of asking a provider for its balance.",
        labels=[*labels, "state"],
    )
    balance = GaugeMetricFamily("switchboard_provider_balance_usd", "Left on the account.", labels=labels)
    age = GaugeMetricFamily("switchboard_provider_balance_age_seconds", "Since it was told.", labels=labels)
    burn = GaugeMetricFamily(
        "switchboard_provider_burn_usd_per_day", "Spend a day, of the last 7 days.", labels=labels
    )
    left = GaugeMetricFamily("switchboard_provider_days_left", "Days it lasts at that pace.", labels=labels)
    for account in accounts:
        for state in TOLD:
            states.add_metric([account.provider, state], account.state == state)
        for metric, value in (
            (balance, account.balance_usd),
            (age, account.age_seconds),
            (burn, account.burn_usd),
            (left, account.days_left),
        ):
            if value is not None:
                metric.add_metric([account.provider], value)
    yield from (states, balance, age, burn, left)
