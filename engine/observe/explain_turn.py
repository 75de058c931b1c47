"""Why a message was slow, why it was dear, and why its answer came by this route: from what was recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from engine.model import PROVIDERS
from engine.observe.duration import duration
from engine.observe.timeline import Span, Timeline
from engine.text import one_line

if TYPE_CHECKING:
    from engine.llm.routing import RoutingConfig

Facts = dict[str, Any]
USUAL_DAYS = 7
DEAR_FACTOR = 1.5
"""More than this many times the median is worth a word."""
WORD_LIMIT = 200

QUIET, CLAIM, AGAIN = "quiet window", "waiting for an engine", "waiting for a retry"
CONTEXT, ANSWER, LOST, PAUSES = "context", "model's answer", "failed model calls", "between model calls"
CALLS = "calls to models"
"""Of which nothing more is on record."""
RULES, QUEUE, SENDING, PERSON = "rules and record", "queue and pacing", "sending", "with a person"
ADVICE = {
    QUIET: "lower quiet_window in Settings",
    CLAIM: "look for pauses and blockers on Overview, or run more engines",
    AGAIN: "see the failed calls",
    CONTEXT: "look at the database's load",
    ANSWER: "route to a faster model, or lower max_tokens",
    LOST: "put a healthier route first, or give it a shorter timeout",
    PAUSES: "add a fallback route",
    CALLS: "route to a faster model, or give the routes shorter timeouts",
    RULES: "look at the database's load",
    QUEUE: "look for quiet hours, pacing and held accounts in Outbound",
    SENDING: "look at the channel's health on Overview",
    PERSON: "hand conversations back sooner, or set an automatic release",
}


class Share(BaseModel):
    """A part of the time until a reply had left."""

    model_config = ConfigDict(frozen=True)

    name: str
    ms: float
    percent: float


class Slow(BaseModel):
    """Where the time went."""

    model_config = ConfigDict(frozen=True)

    sentence: str
    biggest: str | None
    """The name of the largest share; None when nothing has happened yet."""
    shares: list[Share]
    """The largest first; delivery and reading are outside our hands and left out."""


class Tried(BaseModel):
    """A call to a model, or one that was not made."""

    model_config = ConfigDict(frozen=True)

    route: str
    """`provider/model`."""
    result: str
    """answered, superseded (answered, but the customer had written on), failed, or skipped."""
    failure: str | None = None
    """Its class, such as `rate`."""
    ms: float = 0.0
    detail: str = ""
    """What the far end said, or why it was not called; safe to show."""


class Routed(BaseModel):
    """By which routes an answer was asked for."""

    model_config = ConfigDict(frozen=True)

    sentence: str
    task: str | None
    origin: str
    """Whose routing it is; the platform's as it is now, an agent version's never changes."""
    configured: list[str]
    attempts: list[Tried]


class Dear(BaseModel):
    """What the answer cost."""

    model_config = ConfigDict(frozen=True)

    sentence: str
    cost_usd: float | None
    """Of all turns, USD; None when unknown."""
    prompt_tokens: int
    history_tokens: int
    """Estimated; the part of the prompt that is earlier messages."""
    completion_tokens: int
    wasted_calls: int
    """Calls that failed, or whose answer the customer's next message made useless."""
    usual_cost_usd: float | None
    """The median of the replied turns before it, of the last days."""
    usual_tokens: float | None
    usual_turns: int


def why_slow(timeline: Timeline, facts: Facts) -> Slow:
    """The shares of a trip's time. The quiet window is judged by its present setting."""
    times: dict[str, float] = defaultdict(float)
    spans = [span for span in timeline.spans if span.name not in ("delivery", "reading")]
    turns = 0
    asked = facts.get("turns") or []
    between = CALLS if asked and all(turn["let_go"] for turn in asked) else PAUSES
    for index, span in enumerate(spans):
        took = max((timeline.total_ms if span.end_ms is None else span.end_ms) - span.start_ms, 0.0)
        if span.name == "waiting":
            quiet = min(took, _quiet_ms(facts)) if index == 0 else 0.0
            times[QUIET] += quiet
            times[AGAIN if turns else CLAIM] += took - quiet
            turns += 1
        else:
            times[_name(span)] += took
        if index and span.name in ("llm", "policy") and spans[index - 1].name in ("context", "llm"):
            times[between] += max(span.start_ms - (spans[index - 1].end_ms or span.start_ms), 0.0)
    total = sum(times.values())
    if total <= 0:
        return Slow(sentence="No time is recorded of it yet.", biggest=None, shares=[])
    shares = [
        Share(name=name, ms=round(ms, 3), percent=round(100 * ms / total, 1))
        for name, ms in sorted(times.items(), key=lambda item: -item[1])
        if ms > 0
    ]
    first = shares[0]
    so_far = "It took" if timeline.ended else "So far it has taken"
    sentence = (
        f"{so_far} {_span(total)}, and the largest part was {first.name}"
        f" ({_span(first.ms)}, {first.percent:.0f} %); to shorten it, {ADVICE[first.name]}."
    )
    return Slow(sentence=sentence, biggest=first.name, shares=shares)


def _name(span: Span) -> str:
    match span.name:
        case "llm":
            return ANSWER if span.ok else LOST
        case "claimed":
            return ANSWER
        case "policy":
            return RULES
        case "queued":
            return QUEUE
        case "context":
            return CONTEXT
        case "sending":
            return SENDING
    return PERSON


def _quiet_ms(facts: Facts) -> float:
    """How long the quiet window held the first turn back: it starts anew with every message of a burst."""
    window = facts["quiet_window"] if isinstance(facts["quiet_window"], Mapping) else {}
    seconds, most = (
        value if isinstance(value := window.get(key), int | float) else default
        for key, default in (("seconds", 2.0), ("max_seconds", 10.0))
    )
    return 1000.0 * min(seconds + (facts["burst_seconds"] or 0.0), most)


def why_this_route(facts: Facts, *, thinking: bool = False) -> Routed:
    """The routes in their order, what was tried, and what became of each; `thinking`: a turn runs now."""
    turns = [turn for turn in facts["turns"] if turn["attempts"]]
    turn = turns[-1] if turns else facts["turns"][-1] if facts["turns"] else None
    if turn is None:
        running = "The first turn runs now; what it asks is told when it has ended."
        return Routed(
            sentence=running if thinking else "No model was asked, because no turn has run.",
            task=None,
            origin="",
            configured=[],
            attempts=[],
        )
    origin, routing = _routing(turn["agent_routing"], facts["routing"])
    configured = [_line(f"{r.provider}/{r.model}") for r in routing.routes(turn["task"])] if routing else []
    tried = [one for each in turns for one in _tried(each)]
    sentence = _let_go(turn) or _route_sentence(tried, configured, origin, turn["reason"])
    return Routed(
        sentence=sentence, task=_line(turn["task"]), origin=origin, configured=configured, attempts=tried
    )


def _let_go(turn: Facts) -> str | None:
    """What is still known of a turn after its trace has gone by retention; None while there is one."""
    if not turn["let_go"] or turn["attempts"]:
        return None
    gone = "what was tried is past its retention and no longer on record"
    if turn["provider"]:
        return f"{_line(turn['provider'])}/{_line(turn['model'])} answered; {gone}."
    ended = f"The turn ended without an answer ({_line(turn['reason']) or 'no reason recorded'})"
    return f"{ended}; {gone}."


def _routing(of_agent: object, of_platform: object) -> tuple[str, RoutingConfig | None]:
    """As the engine chooses: an agent's own when it can be used, else the platform's, else the default."""
    from engine.llm.routing import RoutingError, parse_routing  # its price tables make it slow to import

    for origin, raw in (("the agent's version", of_agent), ("llm_routing_config as it is now", of_platform)):
        if raw:
            try:
                return origin, parse_routing(raw, PROVIDERS)
            except RoutingError:
                continue
    return "the default", parse_routing(None, PROVIDERS)


def _tried(turn: Facts) -> list[Tried]:
    attempts = [a for a in turn["attempts"] if isinstance(a, Mapping)]
    last_ok = max((index for index, a in enumerate(attempts) if a.get("ok")), default=-1)
    tried = []
    for index, attempt in enumerate(attempts):
        skipped, ok = bool(attempt.get("skipped")), bool(attempt.get("ok"))
        done = "answered" if index == last_ok else "superseded"
        tried.append(
            Tried(
                route=_line(f"{attempt.get('provider')}/{attempt.get('model')}"),
                result="skipped" if skipped else done if ok else "failed",
                failure=_line(attempt.get("failure")) or None,
                ms=float(attempt.get("latency_ms") or 0),
                detail=_line(attempt.get("error")),
            )
        )
    return tried


def _route_sentence(tried: list[Tried], configured: list[str], origin: str, reason: str | None) -> str:
    order = f"The order is {' → '.join(configured)} ({origin})"
    if not tried:
        return f"No model was asked, because the turn ended before ({_line(reason) or 'no reason recorded'})."
    missed = "; ".join(
        f"{one.route} was {'not called' if one.result == 'skipped' else 'called and failed'}"
        f" ({one.failure or 'no class recorded'})"
        for one in tried
        if one.result in ("failed", "skipped")
    )
    won = next((one for one in reversed(tried) if one.result == "answered"), None)
    if won is None:
        return f"{order}; {missed or 'nothing answered'}; no route was left."
    if won.route not in configured:
        changed = ", which is not in that order any more"
    elif not missed and won.route != configured[0]:
        changed = ", which was the first when it was asked"
    else:
        changed = ""
    first = f"{missed}; so " if missed else ""
    return f"{order}; {first}{won.route} answered{changed}."


def why_dear(facts: Facts) -> Dear:
    """Tokens and money of every turn of a message, beside what is usual."""
    turns, usual = facts["turns"], facts["usual"]
    prompt = sum(turn["prompt_tokens"] or 0 for turn in turns)
    completion = sum(turn["completion_tokens"] or 0 for turn in turns)
    asked = [turn for turn in turns if turn["prompt_tokens"]]
    history = min(prompt, sum(int((turn["context"] or {}).get("history_tokens") or 0) for turn in asked))
    gone = bool(asked) and all(turn["let_go"] for turn in asked)
    costs = [turn["cost_usd"] for turn in turns if turn["cost_usd"] is not None]
    cost = sum(costs) if costs else None
    tried = [one for turn in turns for one in _tried(turn)]
    answered = [one for one in tried if one.result == "answered"]
    wasted = sum(one.result in ("failed", "superseded") for one in tried) + max(len(answered) - 1, 0)
    return Dear(
        sentence=_dear_sentence(cost, prompt, None if gone else history, completion, wasted, usual),
        cost_usd=cost,
        prompt_tokens=prompt,
        history_tokens=history,
        completion_tokens=completion,
        wasted_calls=wasted,
        usual_cost_usd=usual["cost_usd"],
        usual_tokens=usual["total_tokens"],
        usual_turns=usual["turns"],
    )


def _dear_sentence(
    cost: float | None, prompt: int, history: int | None, completion: int, wasted: int, usual: Facts
) -> str:
    """`history` is None when it is not on record how much of the prompt it was."""
    calls = f"; {wasted} call{'' if wasted == 1 else 's'} gave nothing that was used" if wasted else ""
    if not prompt and not completion:
        return f"No tokens are recorded of it{calls}." if cost is None else f"It cost {_usd(cost)}{calls}."
    told = f"It cost {_usd(cost)}" if cost is not None else "Its price is unknown"
    parts = {"prompt": prompt, "answer": completion}
    if history is not None:
        parts = {"history": history, "prompt without history": prompt - history, "answer": completion}
    biggest = max(parts, key=lambda name: parts[name])
    share = 100 * parts[biggest] / (prompt + completion)
    of_history = "" if history is None else f", about {history} of them history,"
    tokens = (
        f"{prompt} tokens of prompt{of_history} and {completion} of answer;"
        f" most went to the {biggest} ({share:.0f} %)"
    )
    return f"{told}: {tokens}{calls}{_compared(cost, prompt + completion, usual)}."


def _compared(cost: float | None, tokens: int, usual: Facts) -> str:
    if cost is not None and usual["cost_usd"]:
        times, what = cost / usual["cost_usd"], f"the median of {_usd(usual['cost_usd'])}"
    elif usual["total_tokens"]:
        times, what = tokens / usual["total_tokens"], f"the median of {usual['total_tokens']:.0f} tokens"
    else:
        return ""
    over = f" over {usual['turns']} turns of the last {USUAL_DAYS} days"
    if 1 / DEAR_FACTOR <= times <= DEAR_FACTOR:
        return f"; that is about {what}{over}"
    return f"; that is {times:.1f} times {what}{over}"


def _line(text: object) -> str:
    return one_line(str(text or ""), WORD_LIMIT).strip()


def _usd(amount: float) -> str:
    return f"{amount:.6f} USD"


def _span(ms: float) -> str:
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 90_000 else duration(ms / 1000)
