"""The rules before and after the call."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis.strategies import from_regex

from engine.runtime import policy
from engine.runtime.context_builder import Said
from engine.runtime.policy import AgentPolicy, Situation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROMPT = (
    "You answer for Bistro Aurora. Book at https://aurora.example/book. "
    + "Keep the secret sauce secret. " * 8
)
CALM = Situation(
    now=NOW,
    has_agent=True,
    texts=["hello"],
    newest_new=NOW,
    history=(),
    opted_out=False,
    window_hours=None,
    max_age_hours=24,
    replies=0,
    replies_per_hour=30,
    human_phrases=[],
)


def said(author: str, text: str = "x" * 30, minutes_ago: float = 1) -> Said:
    return Said(1, author, text, NOW - timedelta(minutes=minutes_ago))  # type: ignore[arg-type]


def block_of(situation: Situation) -> str | None:
    block = policy.before(situation)[1]
    return block.reason if block else None


def test_a_calm_situation_passes_every_rule() -> None:
    verdicts, block = policy.before(CALM)
    assert block is None
    assert {verdict.verdict for verdict in verdicts} == {"pass"}
    assert len(verdicts) == 6


def test_a_rule_that_passed_is_stored_by_name_and_any_other_with_all_it_said() -> None:
    assert policy.stored(policy.Verdict("stale", "before", "pass")) == "stale"
    assert policy.stored(policy.Verdict("length", "after", "cut", "9 characters")) == {
        "rule": "length", "stage": "after", "verdict": "cut", "detail": "9 characters",
    }  # fmt: skip


@given(from_regex(policy.HUMAN_ASKED))
def test_whoever_asks_for_a_person_says_one_of_the_pieces_that_are_looked_for_first(text: str) -> None:
    assert any(piece in text.casefold() for piece in policy.PERSON)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"has_agent": False}, "policy.no_agent"),
        ({"opted_out": True}, "policy.opt_out"),
        ({"texts": ["Stop."]}, "policy.opt_out"),
        ({"texts": ["don't stop me now"]}, None),
        ({"opted_out": True, "texts": ["start"]}, None),
        ({"newest_new": NOW - timedelta(hours=25)}, "policy.stale"),
        ({"newest_new": NOW - timedelta(hours=23)}, None),
        ({"newest_new": NOW - timedelta(hours=7), "window_hours": 6.0}, "policy.window"),
        ({"newest_new": NOW - timedelta(hours=7), "last_inbound_at": NOW, "window_hours": 6.0}, None),
        ({"replies": 30}, "policy.loop_guard"),
        ({"replies": 29}, None),
        ({"texts": ["x" * 30], "history": [said("customer")] * 3}, "policy.loop_guard"),
        ({"texts": ["x" * 30], "history": [said("customer")] * 2}, None),
        ({"texts": ["ask for Bob"], "human_phrases": ["for bob"]}, "policy.human_requested"),
    ],
)
def test_before(change: dict[str, object], reason: str | None) -> None:
    assert block_of(replace(CALM, **change)) == reason  # type: ignore[arg-type]


def test_only_the_ais_words_of_the_last_hour_are_its_replies() -> None:
    history = [
        said("ai"),
        said("customer"),
        said("human"),
        said("ai", minutes_ago=59),
        said("ai", minutes_ago=61),
    ]
    assert policy.replies_in(history, NOW - policy.LOOP_WINDOW) == 2


@pytest.mark.parametrize(
    "text",
    [
        "human",
        "Agent!",
        "I want to talk to a human",
        "can I speak with a real person",
        "please transfer me to an operator",
        "I don't want a bot",
        "quiero hablar con una persona",
        "ich möchte mit einem Mitarbeiter sprechen",
        "chci mluvit s člověkem",
    ],
)
def test_asking_for_a_person_is_understood(text: str) -> None:
    block = policy.before(replace(CALM, texts=[text]))[1]
    assert block is not None
    assert block.reason == "policy.human_requested"
    assert block.hand_over


@pytest.mark.parametrize(
    "text",
    ["how many persons fit at a table?", "is it safe for human consumption?", "your agent was nice, thanks"],
)
def test_mentioning_people_is_not_asking_for_one(text: str) -> None:
    assert block_of(replace(CALM, texts=[text])) is None


def judge(text: str, **fields: object) -> tuple[str, str | None]:
    sent, _, block = policy.after(text, policy=AgentPolicy(**fields), canary="sb-c0ffee", prompt=PROMPT)  # type: ignore[arg-type]
    return sent, block.reason if block else None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("We open at nine.", None),
        ("   ", "policy.empty"),
        ("My reference is sb-c0ffee", "policy.canary"),
        ("Sure: " + PROMPT[70:190], "policy.canary"),
        ("Pay at http://evil.example/x", "policy.link"),
        ("See www.evil.example", "policy.link"),
        ("Book at https://www.aurora.example/book?x=1", None),
        ("See https://menu.aurora.example", None),
        ("See https://notaurora.example", "policy.link"),
    ],
)
def test_after(text: str, reason: str | None) -> None:
    assert judge(text)[1] == reason


def test_blocked_phrases_and_allowed_hosts_come_from_the_agent() -> None:
    assert judge("We give REFUNDS always", blocked_phrases=["refunds"])[1] == "policy.blocked_phrase"
    assert judge("https://shop.example/a", allowed_link_hosts=["shop.example"])[1] is None


def test_a_long_reply_is_cut_at_a_sentence() -> None:
    text, reason = judge(
        "First sentence is here. Second one is longer than allowed by far.", max_reply_chars=30
    )
    assert (text, reason) == ("First sentence is here.", None)
    assert len(policy.cut_at_sentence("word " * 50, 40)) <= 40
