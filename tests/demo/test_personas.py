"""What simulated customers write, and what the stand-in answers, against the rules they will meet."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from engine.demo import bistro
from engine.demo.personas import ECHO_ROUNDS, PERSONAS, REPLIED, Persona, Town, spoken
from engine.runtime import policy
from engine.runtime.context_builder import readable
from engine.runtime.policy import SAME_TEXT_LIMIT, AgentPolicy, Situation

NOW = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)
POLICY = AgentPolicy.model_validate(bistro.POLICY)


def situation(text: str) -> Situation:
    return Situation(
        now=NOW,
        has_agent=True,
        texts=[text] if text else [],
        newest_new=NOW,
        history=[],
        opted_out=False,
        window_hours=None,
        max_age_hours=24.0,
        replies=0,
        replies_per_hour=20,
        human_phrases=POLICY.human_phrases,
    )


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
def test_every_line_meets_the_fate_it_expects(persona: Persona) -> None:
    """Seen alone: what depends on earlier messages is for the whole run to show."""
    for seed in range(60):
        for saying in Town(random.Random(seed)).conversation(persona).sayings:
            for line in saying:
                if line.text is None or "takeover.owned" in line.fate:
                    continue
                _, block = policy.before(situation(readable(line.text, line.kind)))
                assert {block.reason if block else "replied"} == line.fate, line


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
def test_the_stand_ins_answers_pass_the_bistros_rules(persona: Persona) -> None:
    for seed in range(60):
        for saying in Town(random.Random(seed)).conversation(persona).sayings:
            asked = "\n".join(readable(line.text or "Hello!", line.kind) for line in saying)
            text, _, block = policy.after(
                bistro.answer_to(asked), policy=POLICY, canary="sb-canary", prompt=bistro.PROMPT
            )
            assert block is None
            assert text == bistro.answer_to(asked)


def test_an_echo_comes_as_often_as_the_loop_guard_needs() -> None:
    assert ECHO_ROUNDS == SAME_TEXT_LIMIT + 1


@pytest.mark.parametrize("messages", [0, 1, 5, 20, 50, 137])
def test_a_plan_has_as_many_messages_as_asked_for(messages: int) -> None:
    plan = Town(random.Random(messages)).plan(messages)
    assert spoken(plan) == messages
    assert len({conversation.customer.address for conversation in plan}) == len(plan)


def test_a_plan_of_fifty_has_every_persona_and_a_burst() -> None:
    plan = Town(random.Random(1)).plan(50)
    assert {conversation.persona for conversation in plan} == {persona.name for persona in PERSONAS}
    assert any(len(saying) > 1 for conversation in plan for saying in conversation.sayings)
    assert any(line.fate != REPLIED for c in plan for saying in c.sayings for line in saying)


def test_the_same_seed_writes_the_same() -> None:
    assert Town(random.Random(3)).plan(40) == Town(random.Random(3)).plan(40)
