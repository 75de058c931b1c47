"""Whatever the first provider does, the second answers inside the deadline, and the attempts say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from engine.demo.far_end import FarEnd
from engine.llm.router import Router, build_router
from engine.llm.routing import RoutingError
from engine.model import FailureClass, LLMMessage, LLMResult
from engine.settings import Settings
from tests.llm.conftest import ASK, UNIAPI_KEY, ZAI_KEY, HandClock, ask, until

MakeRouter = Callable[..., Router]
ZAI_FIRST = {"default": [{"provider": "zai", "model": "glm-4.7"}, {"provider": "uniapi", "model": "gpt-4o"}]}


def story(result: LLMResult) -> list[str]:
    """The attempts in a word each, e.g. "uniapi auth", "zai ok", "uniapi skipped"."""
    return [
        f"{a.provider} {'ok' if a.ok else 'skipped' if a.skipped else a.failure.value if a.failure else '?'}"
        for a in result.attempts
    ]


async def test_the_first_provider_answers(far: FarEnd, make_router: MakeRouter) -> None:
    result = await ask(make_router())
    assert result.text and result.failure is None and result.error is None
    assert (result.provider, result.model) == ("uniapi", "gemini-3-flash-preview")
    assert story(result) == ["uniapi ok"]
    attempt = result.attempts[0]
    assert attempt.usage is result.usage and result.usage is not None
    assert result.cost_usd is not None and result.usage.estimated_cost_usd == float(result.cost_usd) > 0
    assert attempt.request_id and attempt.finish_reason == "stop" and attempt.http_status == 200
    assert far.zai.total == 0


@pytest.mark.parametrize(
    ("mode", "tries"),
    [
        ("401", ["auth"]),
        ("403", ["money"]),
        ("429", ["rate"]),
        ("429-money", ["money"]),
        ("400", ["request"]),
        ("404", ["request"]),
        ("500", ["transient", "transient"]),
        ("503", ["transient", "transient"]),
        ("empty", ["empty"]),
        ("starved", ["starved", "starved"]),
        ("truncated", ["transient", "transient"]),
        ("html", ["transient", "transient"]),
        ("huge", ["transient", "transient"]),
        ("reset", ["transient", "transient"]),
        ("hang", ["transient"]),
    ],
)
async def test_the_fallback_answers_inside_the_deadline(
    far: FarEnd, make_router: MakeRouter, mode: str, tries: list[str]
) -> None:
    far.uniapi.mode = mode
    began = asyncio.get_running_loop().time()
    result = await ask(make_router(), seconds=2 if mode == "hang" else 10)
    assert asyncio.get_running_loop().time() - began < (2 if mode == "hang" else 10)
    assert result.text and result.provider == "zai"
    assert story(result) == [*(f"uniapi {kind}" for kind in tries), "zai ok"]


@pytest.mark.parametrize(
    ("mode", "tries"),
    [
        ("401", ["auth"]),
        ("429", ["rate"]),
        ("429-money", ["money"]),
        ("1302", ["rate"]),
        ("1308", ["quota"]),
        ("1261", ["request"]),
        ("404", ["request"]),
        ("503", ["transient", "transient"]),
    ],
)
async def test_zai_first_falls_over_to_uniapi(
    far: FarEnd, make_router: MakeRouter, mode: str, tries: list[str]
) -> None:
    router = make_router()
    router.configure(ZAI_FIRST)
    far.zai.mode = mode
    result = await ask(router)
    assert result.provider == "uniapi"
    assert story(result) == [*(f"zai {kind}" for kind in tries), "uniapi ok"]


async def test_content_is_for_a_person_not_for_another_model(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    router.configure(ZAI_FIRST)
    far.zai.mode = "1301"
    result = await ask(router)
    assert (result.text, result.failure) == (None, FailureClass.CONTENT)
    assert story(result) == ["zai content"]
    assert far.uniapi.total == 0


async def test_a_blip_is_tried_again_at_once(far: FarEnd, make_router: MakeRouter) -> None:
    far.uniapi.once("503")
    assert story(await ask(make_router())) == ["uniapi transient", "uniapi ok"]


async def test_a_starved_answer_is_asked_for_again_with_more_room(
    far: FarEnd, make_router: MakeRouter
) -> None:
    far.uniapi.once("starved")
    result = await ask(make_router())
    assert story(result) == ["uniapi starved", "uniapi ok"]
    assert [call.body["max_tokens"] for call in far.uniapi.calls] == [1024, 4096]
    costs = [attempt.usage.estimated_cost_usd for attempt in result.attempts if attempt.usage]
    assert len(costs) == 2 and None not in costs
    assert float(result.cost_usd or 0) == pytest.approx(sum(cost or 0 for cost in costs)), (
        "the lost call cost too"
    )


async def test_a_starved_answer_at_the_largest_size_is_not_asked_again(
    far: FarEnd, make_router: MakeRouter
) -> None:
    router = make_router()
    router.configure({"default": [{"provider": "uniapi", "model": "gpt-4o", "max_tokens": 32768}]})
    far.uniapi.mode = "starved"
    assert story(await ask(router)) == ["uniapi starved"]


async def test_a_model_that_must_think_is_asked_again_without_the_switch(
    far: FarEnd, make_router: MakeRouter
) -> None:
    far.uniapi.once("no-reasoning")
    assert story(await ask(make_router())) == ["uniapi request", "uniapi ok"]


async def test_a_prompt_that_is_too_long_is_trimmed_once(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    router.configure(ZAI_FIRST)
    far.zai.mode = "1261"
    asked: list[int] = []

    def trim() -> list[LLMMessage]:
        asked.append(1)
        return ASK[1:]

    result = await ask(router, trim=trim)
    assert story(result) == ["zai request", "zai request", "uniapi ok"]
    assert [len(call.body["messages"]) for call in (*far.zai.calls, *far.uniapi.calls)] == [2, 1, 1]
    assert asked == [1]


async def test_the_caller_is_asked_for_a_shorter_history_once_a_turn(
    far: FarEnd, make_router: MakeRouter
) -> None:
    router = make_router()
    router.configure(
        {"default": [{"provider": "zai", "model": "glm-5"}, {"provider": "zai", "model": "glm-4.7"}]}
    )
    far.zai.mode = "1261"
    asked: list[int] = []

    def trim() -> list[LLMMessage]:
        asked.append(1)
        return ASK[1:]

    result = await ask(router, trim=trim)
    assert (result.failure, asked) == (FailureClass.REQUEST, [1])
    assert [len(call.body["messages"]) for call in far.zai.calls] == [2, 1, 1]


@pytest.mark.parametrize("shorter", [None, []])
async def test_a_history_that_cannot_be_trimmed_falls_over(
    far: FarEnd, make_router: MakeRouter, shorter: object
) -> None:
    router = make_router()
    router.configure(ZAI_FIRST)
    far.zai.mode = "1261"
    assert story(await ask(router, trim=lambda: shorter)) == ["zai request", "uniapi ok"]


# When nobody answers


async def test_when_nobody_answers_the_result_says_why(far: FarEnd, make_router: MakeRouter) -> None:
    far.uniapi.mode, far.zai.mode = "401", "503"
    result = await ask(make_router())
    assert (result.text, result.failure) == (None, FailureClass.TRANSIENT), (
        "the failure that may pass stands for all"
    )
    assert story(result) == ["uniapi auth", "zai transient", "zai transient"]
    assert result.error is not None
    assert "HTTP 401" in result.error and "HTTP 503, code 1234" in result.error
    assert result.cost_usd is None


async def test_no_key_at_all_is_told_plainly(far: FarEnd, make_router: MakeRouter) -> None:
    result = await ask(make_router(uniapi_key=None, zai_key=None))
    assert result.failure is FailureClass.AUTH
    assert story(result) == ["uniapi skipped", "zai skipped"]
    assert "UNIAPI_API_KEY is not set" in (result.error or "")
    assert far.connections == 0


async def test_a_deadline_that_has_passed_calls_nobody(far: FarEnd, make_router: MakeRouter) -> None:
    result = await ask(make_router(), seconds=-1)
    assert result.failure is FailureClass.TRANSIENT
    assert story(result) == ["uniapi skipped", "zai skipped"]
    assert far.uniapi.total == far.zai.total == 0


async def test_both_hanging_ends_at_the_deadline(far: FarEnd, make_router: MakeRouter) -> None:
    far.uniapi.mode = far.zai.mode = "hang"
    began = asyncio.get_running_loop().time()
    result = await ask(make_router(), seconds=1.0)
    assert result.failure is FailureClass.TRANSIENT
    assert 0.9 < asyncio.get_running_loop().time() - began < 3
    assert far.uniapi.total == far.zai.total == 1


async def test_a_route_keeps_to_its_own_timeout(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    router.configure({"default": [{"provider": "uniapi", "model": "m", "timeout_seconds": 0.3}]})
    far.uniapi.mode = "hang"
    result = await ask(router, seconds=30)
    assert story(result) == ["uniapi transient", "uniapi transient"], (
        "with nobody behind it, it is tried twice"
    )
    assert all(250 <= attempt.latency_ms < 5000 for attempt in result.attempts)


async def test_after_a_timeout_the_time_goes_to_the_fallback(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    hasty = {"provider": "uniapi", "model": "m", "timeout_seconds": 0.3}
    router.configure({"default": [hasty, {"provider": "zai", "model": "glm-5"}]})
    far.uniapi.mode = "hang"
    assert story(await ask(router)) == ["uniapi transient", "zai ok"]


async def test_a_rate_limit_that_ends_before_the_deadline_is_waited_for(
    far: FarEnd, make_router: MakeRouter
) -> None:
    far.uniapi.retry_after = "0"
    far.uniapi.once("429")
    result = await ask(make_router(zai_key=None))
    assert result.text
    assert story(result) == ["uniapi rate", "zai skipped", "uniapi ok"]


@pytest.mark.parametrize(
    ("mode", "told"),
    [("400", ["uniapi request"]), ("starved", ["uniapi starved"] * 2), ("empty", ["uniapi empty"])],
)
async def test_who_did_its_work_and_gave_no_reply_is_not_asked_again_after_the_wait(
    far: FarEnd, make_router: MakeRouter, mode: str, told: list[str]
) -> None:
    far.uniapi.mode = mode
    far.zai.retry_after = "0"
    far.zai.once("429", "429")
    result = await ask(make_router())
    assert story(result) == [*told, "zai rate", "zai rate", "zai ok"]
    assert far.uniapi.total == len(told), "the same request is not paid for twice"


async def test_a_rate_limit_that_outlasts_the_deadline_is_not_waited_for(
    far: FarEnd, make_router: MakeRouter
) -> None:
    far.uniapi.retry_after = "60"
    far.uniapi.mode = "429"
    began = asyncio.get_running_loop().time()
    result = await ask(make_router(zai_key=None), seconds=20)
    assert result.failure is FailureClass.RATE
    assert asyncio.get_running_loop().time() - began < 10


async def test_no_secret_is_in_a_result_or_in_health(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    far.uniapi.mode = far.zai.mode = "401"
    result = await ask(router)
    seen = result.model_dump_json() + "".join(part.model_dump_json() for part in router.health())
    assert "***" in seen
    assert UNIAPI_KEY not in seen and ZAI_KEY not in seen


# The circuit


@pytest.mark.parametrize("mode", ["401", "403", "429", "429-money"])
async def test_a_provider_in_trouble_is_skipped_until_it_recovers(
    far: FarEnd, make_router: MakeRouter, hand_clock: HandClock, mode: str
) -> None:
    router = make_router(clock=hand_clock.clock)
    far.uniapi.mode = mode
    await ask(router)
    result = await ask(router)
    assert story(result) == ["uniapi skipped", "zai ok"]
    assert far.uniapi.total == 1
    far.uniapi.mode = "ok"
    hand_clock.advance(400)
    assert story(await ask(router)) == ["uniapi ok"]
    assert story(await ask(router)) == ["uniapi ok"]


async def test_transient_trouble_opens_after_several_in_a_row(
    far: FarEnd, make_router: MakeRouter, hand_clock: HandClock
) -> None:
    router = make_router(clock=hand_clock.clock)
    far.uniapi.mode = "503"
    for _ in range(3):
        assert (await ask(router)).provider == "zai"
    assert far.uniapi.total == 5
    assert story(await ask(router)) == ["uniapi skipped", "zai ok"]
    hand_clock.advance(10)
    assert story(await ask(router)) == ["uniapi transient", "zai ok"], "one trial, no retry"


async def test_only_one_turn_tries_a_provider_that_was_down(
    far: FarEnd, make_router: MakeRouter, hand_clock: HandClock
) -> None:
    router = make_router(clock=hand_clock.clock)
    far.uniapi.once("401")
    await ask(router)
    hand_clock.advance(400)
    far.uniapi.latency_seconds = 0.05
    results = await asyncio.gather(*(ask(router) for _ in range(8)))
    assert sorted(result.provider or "" for result in results) == ["uniapi", *["zai"] * 7]
    assert story(await ask(router)) == ["uniapi ok"]


async def test_a_cancelled_trial_does_not_keep_the_circuit_open(
    far: FarEnd, make_router: MakeRouter, hand_clock: HandClock
) -> None:
    router = make_router(clock=hand_clock.clock)
    far.uniapi.once("401", "hang")
    await ask(router)
    hand_clock.advance(400)
    trial = asyncio.create_task(ask(router))
    await until(lambda: far.uniapi.total == 2)
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    assert story(await ask(router)) == ["uniapi ok"]
    assert router.health()[0].figures["in_flight"] == 0


async def test_too_little_time_is_not_held_against_the_provider(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router(zai_key=None)
    far.uniapi.mode = "hang"
    await asyncio.gather(*(ask(router, seconds=0.5) for _ in range(10)))
    assert router.health()[0].figures["circuit"] == "closed"


async def test_many_turns_at_once_all_get_an_answer_while_the_first_provider_falls(
    far: FarEnd, make_router: MakeRouter
) -> None:
    router = make_router()
    far.uniapi.mode = "429"
    results = await asyncio.gather(*(ask(router, seconds=30) for _ in range(100)))
    assert all(result.provider == "zai" for result in results)
    figures = router.health()[0].figures
    assert figures["in_flight"] == 0
    assert figures["calls"] + figures["skipped"] == 100


# Configuration


async def test_a_routing_that_is_refused_leaves_the_last_good_one(
    far: FarEnd, make_router: MakeRouter
) -> None:
    router = make_router()
    good = router.configure({"conversation": {"provider": "zai", "model": "glm-4.7"}})
    for bad in ("{", {"default": []}, {"default": [{"provider": "openai", "model": "x"}]}):
        with pytest.raises(RoutingError):
            router.configure(bad)
    assert router.routing is good
    result = await ask(router)
    assert (result.provider, result.model) == ("zai", "glm-4.7")
    router.configure(None)
    assert (await ask(router)).provider == "uniapi"


async def test_a_turn_may_bring_its_own_routing(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    own = router.parse({"provider": "zai", "model": "glm-5"})
    assert (await ask(router, routing=own)).model == "glm-5"
    assert (await ask(router)).model == "gemini-3-flash-preview"


async def test_what_a_route_says_is_what_is_sent(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    route = {
        "provider": "zai",
        "model": "glm-5",
        "max_tokens": 77,
        "temperature": None,
        "params": {"top_p": 0.2},
    }
    router.configure({"tasks": {"conversation": [route]}})
    await ask(router)
    body = far.zai.calls[0].body
    assert (body["max_tokens"], body["top_p"], "temperature" in body) == (77, 0.2, False)


async def test_prices_follow_the_routing(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    list_price = (await ask(router)).cost_usd
    router.configure({"price_multiplier": {"uniapi": 0.5}})
    assert list_price is not None
    assert (await ask(router)).cost_usd == list_price / 2
    router.configure({"provider": "uniapi", "model": "a-model-nobody-knows"})
    unpriced = await ask(router)
    assert unpriced.text and unpriced.usage
    assert (unpriced.cost_usd, unpriced.usage.estimated_cost_usd) == (None, None)
    router.configure({"provider": "zai", "model": "glm-4.7-flash"})
    assert (await ask(router)).cost_usd == Decimal(0)


# Health


async def test_health_tells_how_each_provider_is(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router(zai_key=None)
    uniapi, zai = router.health()
    assert (uniapi.name, uniapi.kind, uniapi.state) == ("uniapi", "llm", "unknown")
    assert (zai.name, zai.state, zai.detail, zai.blocker) == (
        "zai",
        "unconfigured",
        "ZAI_API_KEY is not set",
        None,
    )
    await ask(router)
    uniapi = router.health()[0]
    assert (uniapi.state, uniapi.checked_at is not None) == ("up", True)
    assert (uniapi.figures["calls"], uniapi.figures["p50_ms"] >= 0, uniapi.figures["p95_ms"] >= 0) == (
        1,
        True,
        True,
    )
    far.uniapi.mode = "404"
    await ask(router)
    uniapi = router.health()[0]
    assert uniapi.state == "degraded" and "HTTP 404" in uniapi.detail
    assert uniapi.figures["failures"] == {"request": 1}
    far.uniapi.mode = "403"
    await ask(router)
    uniapi = router.health()[0]
    assert (uniapi.state, uniapi.figures["circuit"]) == ("down", "open")
    assert uniapi.figures["cooldown_until"] is not None
    assert uniapi.blocker is not None and uniapi.blocker.code == "llm.money"


async def test_a_lost_provider_blocks_for_good_only_without_a_fallback(
    far: FarEnd, make_router: MakeRouter
) -> None:
    far.uniapi.mode = "401"
    with_fallback, alone = make_router(), make_router(zai_key=None)
    for router, fatal in ((with_fallback, False), (alone, True)):
        await ask(router)
        [found] = router.blockers()
        assert (found.blocker.code, found.blocker.where, found.fatal) == ("llm.auth", "uniapi", fatal)
        assert "UNIAPI_API_KEY" in found.blocker.remedy
    far.zai.mode = "429-money"
    await ask(with_fallback)
    codes = [(found.blocker.code, found.fatal) for found in with_fallback.blockers()]
    assert codes == [("llm.auth", True), ("llm.money", True)]
    assert "api/coding/paas/v4" in with_fallback.blockers()[1].blocker.remedy


async def test_a_missing_key_blocks_only_for_the_first_route(make_router: MakeRouter) -> None:
    assert make_router(zai_key=None).blockers() == []
    [missing] = make_router(uniapi_key=None).blockers()
    assert (missing.blocker.code, missing.fatal) == ("llm.unconfigured", False)
    [nobody] = make_router(uniapi_key=None, zai_key=None).blockers()
    assert (nobody.blocker.code, nobody.fatal) == ("llm.unconfigured", True)


async def test_trouble_that_passes_blocks_only_when_nobody_can_answer(
    far: FarEnd, make_router: MakeRouter
) -> None:
    router, alone = make_router(), make_router(zai_key=None)
    far.uniapi.mode = "503"
    for _ in range(3):
        await ask(router)
        await ask(alone)
    assert router.health()[0].state == "down"
    assert router.blockers() == []
    [found] = alone.blockers()
    assert (found.blocker.code, found.fatal) == ("llm.down", True)


async def test_a_rate_limit_is_no_blocker(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router(zai_key=None)
    far.uniapi.mode = "429"
    await ask(router, seconds=1)
    assert router.health()[0].state == "degraded"
    assert router.blockers() == []


async def test_a_probe_finds_a_bad_key_before_the_first_message(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    far.uniapi.mode = "401"
    await router.probe()
    assert router.health()[0].state == "down"
    assert router.blockers()[0].blocker.code == "llm.auth"
    far.uniapi.mode = "ok"
    await router.probe()
    assert (router.health()[0].state, router.blockers()) == ("up", [])


async def test_a_probe_reopens_only_what_really_works_again(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    far.uniapi.mode, far.zai.mode = "403", "429-money"
    await ask(router)
    await router.probe()
    assert [part.state for part in router.health()] == ["down", "down"], (
        "an empty account still lists its models"
    )
    far.uniapi.mode = far.zai.mode = "ok"
    await router.probe()
    assert [part.state for part in router.health()] == ["up", "up"]
    assert story(await ask(router)) == ["uniapi ok"]


async def test_a_healthy_provider_is_not_probed(far: FarEnd, make_router: MakeRouter) -> None:
    router = make_router()
    await ask(router)
    far.uniapi.mode = "401"
    await router.probe()
    assert router.health()[0].state == "up"
    assert far.zai.total == 0


async def test_the_router_of_the_settings(far: FarEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        uniapi_base_url=far.uniapi_url, uniapi_api_key=UNIAPI_KEY, zai_base_url=far.zai_url, zai_api_key=None
    )
    router = build_router(settings, simulated=True)
    await router.warm()
    assert (await ask(router)).provider == "uniapi"
    assert [(part.state, part.simulated) for part in router.health()] == [
        ("up", True),
        ("unconfigured", True),
    ]
    await router.aclose()
