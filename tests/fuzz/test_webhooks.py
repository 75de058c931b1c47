"""Webhook bodies, receipts, edits and statuses among them: recorded ones, broken in one to three places."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.channels.base import Channel
from tests.channels.cases import CASES, SECRET, Case, recorded
from tests.channels.test_conformance import check_storable
from tests.fuzz.far import written
from tests.fuzz.mutation import mutated
from tests.fuzz.profile import fuzz

RECORDED = recorded()


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def channel(case: Case) -> Channel:
    return case.build("http://127.0.0.1:9")  # it only parses


def test_a_recorded_body_broken_anywhere_is_read_ignored_or_kept_aside(case: Case, channel: Channel) -> None:
    bodies = [json.loads(body.raw) for body in RECORDED if body.channel == case.name]

    @given(mutated(st.sampled_from(bodies)), st.integers(0, 4000), st.booleans())
    @fuzz(150)
    def hold(body: object, cut: int, cut_off: bool) -> None:
        raw = written(body)
        raw = raw[:cut] if cut_off else raw
        check_storable(channel.parse_webhook("default", case.sign(raw, SECRET), raw))

    hold()
