"""“Why this route?”, “why so slow?”, “why so dear?” from real rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from engine.model import FailureClass, LLMAttempt, LLMResult, SwitchboardError, TurnOutcome, Usage
from engine.observe.explain import explanation
from engine.observe.explain_turn import ADVICE, why_slow
from engine.observe.timeline import Span, Timeline
from engine.operator.retention import retain
from engine.settings import load_settings
from tests.operator.world import ANNA, World, world


@pytest.fixture
async def w(dsn: str) -> AsyncIterator[World]:
    async with world(dsn) as made:
        yield made


def attempt(model: str, ok: bool = True, ms: int = 100, **more: Any) -> LLMAttempt:
    provider = "zai" if model.startswith("glm") else "uniapi"
    return LLMAttempt(
        provider=provider, model=model, started_at=datetime.now(UTC), latency_ms=ms, ok=ok, **more
    )


async def answered(w: World, attempts: list[LLMAttempt], tokens: int = 100, cost: str = "0.001") -> int:
    """A message that was answered by these calls."""
    message_id = await w.insert()
    usage = Usage(prompt_tokens=tokens, completion_tokens=tokens // 10, total_tokens=tokens + tokens // 10)
    won = attempts[-1]
    llm = LLMResult(
        text="Hi",
        provider=won.provider,
        model=won.model,
        usage=usage,
        cost_usd=Decimal(cost),
        attempts=attempts,
    )
    await w.complete(await w.claim_one(), llm=llm)
    return message_id


FLASH, GLM = "gemini-3-flash-preview", "glm-4.7-flash"


async def test_what_has_gone_by_retention_is_not_told_as_if_it_had_never_been(w: World) -> None:
    message_id = await answered(w, [attempt(FLASH, ok=False, failure=FailureClass.RATE), attempt(GLM)], 400)
    failed = await w.insert("again")
    await w.complete(await w.claim_one(), TurnOutcome.ERROR, reason="llm.transient")
    await w.query("UPDATE et_turns SET finished_at = now() - interval '2 years'")
    await w.query(
        "UPDATE et_turns SET answered_at = context_at + interval '700 ms' WHERE outcome = 'replied'"
    )
    await retain(w.pool, ANNA, load_settings(keep_traces_days=30))
    told = await explanation(w.pool, message_id)
    gone = "what was tried is past its retention and no longer on record."
    assert told.route.sentence == f"zai/{GLM} answered; {gone}"
    assert told.route.attempts == []
    assert "400 tokens of prompt and 40 of answer; most went to the prompt" in told.dear.sentence
    assert "between model calls" not in {share.name for share in told.slow.shares}
    told = await explanation(w.pool, failed)
    assert told.route.sentence == f"The turn ended without an answer (llm.transient); {gone}"


async def test_the_first_route_answered(w: World) -> None:
    told = (await explanation(w.pool, await answered(w, [attempt(FLASH)]))).route
    assert told.sentence == (
        f"The order is uniapi/{FLASH} → zai/{GLM} (the default); uniapi/{FLASH} answered."
    )
    assert (told.task, told.configured) == ("conversation", [f"uniapi/{FLASH}", f"zai/{GLM}"])


async def test_a_breaker_and_a_failure_before_the_answer(w: World) -> None:
    open_circuit = attempt(
        FLASH, False, 0, failure=FailureClass.MONEY, skipped=True, error="not called: no money"
    )
    slow_down = attempt(GLM, False, failure=FailureClass.RATE)
    told = await explanation(w.pool, await answered(w, [open_circuit, slow_down, attempt(GLM)]))
    assert (
        f"uniapi/{FLASH} was not called (money); zai/{GLM} was called and failed (rate); so zai/{GLM} answered"
        in (told.route.sentence)
    )
    assert [one.result for one in told.route.attempts] == ["skipped", "failed", "answered"]
    assert told.dear.wasted_calls == 1, "what was not called cost nothing"


async def test_the_routing_that_is_stored(w: World) -> None:
    routing = {"default": [{"provider": "zai", "model": "glm-9"}]}
    await w.query(
        "INSERT INTO et_platform_settings (key, value) VALUES ('llm_routing_config', %s)", Jsonb(routing)
    )
    told = (await explanation(w.pool, await answered(w, [attempt(FLASH)]))).route
    assert told.configured == ["zai/glm-9"]
    assert told.sentence.endswith(f"uniapi/{FLASH} answered, which is not in that order any more.")


async def test_nobody_was_asked(w: World) -> None:
    message_id = await w.insert()
    assert "no turn has run" in (await explanation(w.pool, message_id)).route.sentence
    claimed = await w.claim_one()
    assert "The first turn runs now" in (await explanation(w.pool, message_id)).route.sentence
    await w.complete(claimed, TurnOutcome.TAKEOVER, reason="policy.budget", error="used up")
    told = await explanation(w.pool, message_id)
    assert "the turn ended before (policy.budget)" in told.route.sentence
    assert (told.reason, told.meaning) == ("policy.budget", "Today's budget is used up.")
    assert told.remedy is not None
    assert told.dear.sentence == "No tokens are recorded of it."


async def test_dearer_than_usual(w: World) -> None:
    for _ in range(3):
        usual = await answered(w, [attempt(FLASH)])
    assert "about the median of 0.001000 USD over 2 turns" in (await explanation(w.pool, usual)).dear.sentence
    # The customer wrote on while the first answer was made: two answers, one of them of no use.
    dear = (
        await explanation(w.pool, await answered(w, [attempt(FLASH), attempt(FLASH)], 4000, "0.004"))
    ).dear
    assert (dear.wasted_calls, dear.usual_turns, dear.usual_cost_usd) == (1, 3, 0.001)
    assert "1 call gave nothing that was used; that is 4.0 times the median of 0.001000 USD" in dear.sentence
    assert "most went to the prompt without history (91 %)" in dear.sentence


async def test_a_hostile_provider_says_nothing_raw(w: World) -> None:
    bad = attempt(FLASH, False, failure=FailureClass.TRANSIENT, error="\x1b[2Jboo\n[red]")
    told = await explanation(w.pool, await answered(w, [bad, attempt("glm-\x1b]0;x\x07")]))
    assert "\x1b" not in told.model_dump_json()
    assert "\\u001b" not in told.model_dump_json()


async def test_a_message_that_is_not_there(w: World) -> None:
    with pytest.raises(SwitchboardError, match="no message 999"):
        await explanation(w.pool, 999)


def trip(*spans: tuple[str, float, float | None, bool]) -> Timeline:
    made = [
        Span.model_validate(dict(zip(("name", "start_ms", "end_ms", "ok"), s, strict=True))) for s in spans
    ]
    last = max((s.end_ms or 9000.0 for s in made), default=0.0)
    ended = all(s.end_ms is not None for s in made)
    began = datetime.now(UTC) - timedelta(minutes=1)
    return Timeline(message_id=1, began_at=began, total_ms=last, ended=ended, spans=made)


def test_the_shares_of_the_time() -> None:
    told = why_slow(
        trip(
            ("waiting", 0, 3000, True),
            ("context", 3000, 3100, True),
            ("llm", 3100, 4100, False),
            ("llm", 4600, 10600, True),
            ("policy", 10600, 10700, True),
            ("queued", 10700, 11000, True),
            ("sending", 11000, 11200, True),
            ("delivery", 11200, 99000, True),
        ),
        {"quiet_window": None, "burst_seconds": 0.5},
    )
    assert {share.name: share.ms for share in told.shares} == {
        "quiet window": 2500,
        "waiting for an engine": 500,
        "context": 100,
        "failed model calls": 1000,
        "between model calls": 500,
        "model's answer": 6000,
        "rules and record": 100,
        "queue and pacing": 300,
        "sending": 200,
    }
    assert told.biggest == "model's answer"
    assert told.shares[0].percent == 53.6


def test_a_wait_that_goes_on_and_one_for_a_retry() -> None:
    facts = {"quiet_window": {"seconds": 0}, "burst_seconds": None}
    told = why_slow(
        trip(("waiting", 0, 10, True), ("llm", 10, 20, False), ("waiting", 20, None, True)), facts
    )
    assert told.biggest == "waiting for a retry"
    assert told.sentence.startswith("So far it has taken 9.0 s")
    assert why_slow(trip(), facts).biggest is None
    assert all(share.name in ADVICE for share in told.shares)
