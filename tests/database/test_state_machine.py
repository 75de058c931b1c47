"""Any order of steps of engines, zombies, providers and people keeps every promise.

Hypothesis makes up sequences of steps on a real database and, when one breaks a promise, shortens it.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.channels.base import ReceiptStatus
from engine.model import OutboundStatus, Outcome, TurnOutcome
from tests.faults import checks
from tests.faults.checks import Evidence
from tests.faults.journal import install
from tests.support.lab import Lab, Leaving
from tests.support.postgres import Server

ENGINES = st.sampled_from(["engine-1", "engine-2"])
CUSTOMERS = st.sampled_from(["anna", "bert"])
OUTCOMES = st.sampled_from(
    [TurnOutcome.REPLIED, TurnOutcome.REPLIED, TurnOutcome.TAKEOVER, TurnOutcome.ERROR, TurnOutcome.RETRY]
)
ANY = st.integers(0, 30)
"""Picks one of whatever there is."""
#: What an engine may say of a send, by whether it arrived.
ARRIVED = [
    (OutboundStatus.SENT, Outcome.CONFIRMED),
    (OutboundStatus.ACCEPTED, Outcome.CONFIRMED),
    (OutboundStatus.FAILED, Outcome.UNKNOWN),
]
NOT_ARRIVED = [
    (OutboundStatus.RETRY_SCHEDULED, None),
    (OutboundStatus.FAILED, Outcome.REJECTED),
    (OutboundStatus.FAILED, Outcome.UNKNOWN),
]
PATIENCE = 60
"""Rounds of rescue, claim and send after which everything has come to rest."""


class Installation(RuleBasedStateMachine):
    """Two engines, two customers, a person, and time."""

    server: Server
    template: str

    def __init__(self) -> None:
        super().__init__()
        self.name = f"t_{uuid4().hex[:12]}"
        self.server.admin("CREATE DATABASE {} TEMPLATE {}", self.name, self.template)
        self.lab = Lab(self.server.dsn(self.name))
        self.lab.quiet_window(0)

    # Customers and time

    @rule(customer=CUSTOMERS, number=st.integers(1, 6))
    def a_message_comes(self, customer: str, number: int) -> None:
        self.lab.bring(customer, number)

    @rule(seconds=st.sampled_from([0.0, 2.0]))
    def the_quiet_window_changes(self, seconds: float) -> None:
        self.lab.quiet_window(seconds)

    @rule(seconds=st.sampled_from([1.0, 10.0, 61.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.lab.pass_time(seconds)

    # Engines, some of which have lost their claims without knowing

    @rule(engine=ENGINES, burst=st.sampled_from([1, 3]))
    def turns_are_claimed(self, engine: str, burst: int) -> None:
        self.lab.claim(engine, burst=burst)

    @precondition(lambda self: self.lab.turns)
    @rule(which=ANY, outcome=OUTCOMES, hand_over=st.booleans(), restartable=st.booleans(), all_=st.booleans())
    def turns_end(
        self, which: int, outcome: TurnOutcome, hand_over: bool, restartable: bool, all_: bool
    ) -> None:
        turns = self.lab.turns
        first = len(turns) - 1 - which % len(turns)
        batch = [i for i, (engine, _) in enumerate(turns) if engine == turns[first][0]] if all_ else [first]
        self.lab.complete([(i, outcome, hand_over) for i in batch], restartable=restartable)

    @rule(engine=ENGINES)
    def a_heart_beats(self, engine: str) -> None:
        self.lab.renew(engine)

    @rule(engine=ENGINES)
    def an_engine_stops(self, engine: str) -> None:
        self.lab.give_back(engine)

    @rule()
    def what_was_held_is_rescued(self) -> None:
        self.lab.rescue()

    @rule()
    def mailboxes_are_swept(self) -> None:
        assert self.lab.sweep() == 0, "a mailbox did not know of its messages"

    @rule(engine=ENGINES)
    def sends_are_claimed(self, engine: str) -> None:
        self.lab.claim_sends(engine)

    @precondition(lambda self: self.lab.sends)
    @rule(which=ANY, arrives=st.booleans(), all_=st.booleans())
    def sends_start(self, which: int, arrives: bool, all_: bool) -> None:
        picked = self._send(which)
        others = [leaving for leaving in self.lab.sends if all_ and leaving is not picked]
        self.lab.start([picked, *others], arrives=arrives)

    @precondition(lambda self: self.lab.sends)
    @rule(which=ANY, said=st.integers(0, 2), told_id=st.booleans())
    def a_send_is_recorded(self, which: int, said: int, told_id: bool) -> None:
        leaving = self._send(which)
        if leaving.started:
            status, outcome = (ARRIVED if leaving.arrival else NOT_ARRIVED)[said]
            self.lab.record(leaving, status, outcome, told_id=told_id)

    @rule()
    def retries_are_due(self) -> None:
        self.lab.promote()

    @precondition(lambda self: self.lab.arrivals)
    @rule(which=ANY, status=st.sampled_from(["sent", "delivered", "read"]), ours=st.booleans())
    def a_receipt_comes(self, which: int, status: str, ours: bool) -> None:
        arrivals = self.lab.arrivals
        self.lab.receipt(arrivals[which % len(arrivals)], ReceiptStatus(status), ours=ours)

    # People

    @rule(which=ANY)
    def a_person_takes_over(self, which: int) -> None:
        for thread in self._pick("SELECT id FROM et_threads ORDER BY id", which):
            self.lab.take_over(thread)

    @rule(which=ANY, answer_waiting=st.booleans())
    def a_person_hands_back(self, which: int, answer_waiting: bool) -> None:
        for thread in self._pick("SELECT id FROM et_threads WHERE owner = 'human' ORDER BY id", which):
            self.lab.release(thread, answer_waiting=answer_waiting)

    @rule()
    def the_timer_hands_back(self) -> None:
        self.lab.release_due()

    @rule(which=ANY)
    def a_message_is_replayed(self, which: int) -> None:
        query = "SELECT id FROM et_messages WHERE direction = 'inbound' ORDER BY id DESC"
        for message in self._pick(query, which):
            self.lab.replay(message)

    @rule(which=ANY, act=st.sampled_from(["retry", "cancel"]))
    def a_person_acts_on_a_send(self, which: int, act: str) -> None:
        for send in self._pick("SELECT id FROM et_outbound_queue ORDER BY id DESC", which):
            (self.lab.retry_send if act == "retry" else self.lab.cancel_send)(send)

    @precondition(lambda self: self.lab.arrivals)
    @rule(which=ANY)
    def a_person_has_seen_that_it_arrived(self, which: int) -> None:
        message = self.lab.arrivals[which % len(self.lab.arrivals)].message_id
        for row in self.lab.query("SELECT id FROM et_outbound_queue WHERE message_id = %s", message):
            self.lab.mark_sent(row["id"])

    # Promises

    @invariant()
    def nothing_of_the_ai_starts_in_a_persons_thread(self) -> None:
        assert self.lab.ai_left_owned_thread == []

    @invariant()
    def nobody_gets_anything_twice(self) -> None:
        received = [arrival.message_id for arrival in self.lab.arrivals]
        assert len(received) == len(set(received))

    def teardown(self) -> None:
        """Left alone, everything comes to rest without the sweep's help, and every promise was kept."""
        try:
            self._settle()
            evidence = Evidence(self.lab.dsn, self.lab.arrivals, self.lab.brought)
            # People have sent again here, and replayed: order and repetition are theirs to decide.
            kept = [
                check
                for check in checks.AT_REST
                if check not in (checks.out_of_order, checks.resent_unknowns)
            ]
            found = checks.verdict(evidence, tuple(kept))
            assert {name: lines for name, lines in found.items() if lines} == {}
        finally:
            self.lab.close()
            self.server.drop(self.name)

    def _settle(self) -> None:
        lab = self.lab
        for _ in range(PATIENCE):
            lab.pass_time(100.0)
            lab.rescue()
            lab.promote()
            before = len(lab.turns)
            lab.claim("engine-3", burst=3)
            for index in range(before, len(lab.turns)):
                lab.complete([(index, TurnOutcome.REPLIED, False)], restartable=True)
            sent = len(lab.sends)
            lab.claim_sends("engine-3")
            for leaving in lab.sends[sent:]:
                lab.start([leaving], arrives=True)
                if leaving.arrival:
                    lab.record(leaving, OutboundStatus.SENT, Outcome.CONFIRMED, told_id=True)
            if len(lab.turns) == before and len(lab.sends) == sent and self._open() == 0:
                return
        raise AssertionError(f"{self._open()} messages and sends never came to rest")

    def _open(self) -> int:
        query = """SELECT (SELECT count(*) FROM et_messages WHERE direction = 'inbound'
                              AND delivery_status IN ('received', 'inbound_processing'))
                        + (SELECT count(*) FROM et_outbound_queue
                            WHERE status IN ('queued', 'processing', 'retry_scheduled')) AS n"""
        return int(self.lab.query(query)[0]["n"])

    def _send(self, which: int) -> Leaving:
        return self.lab.sends[-1 - which % len(self.lab.sends)]

    def _pick(self, query: str, which: int) -> list[int]:
        """One of the ids that a query gives, if any."""
        ids = [row["id"] for row in self.lab.query(query)]
        return [ids[which % len(ids)]] if ids else []


@pytest.fixture(scope="module")
def template(embedded: Server) -> Iterator[str]:
    name = embedded.migrated_database()
    install(embedded.dsn(name))
    yield name
    embedded.drop(name)


def explore(embedded: Server, template: str, examples: int, steps: int) -> None:
    machine = type("Machine", (Installation,), {"server": embedded, "template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.timeout(300)
def test_any_order_of_steps_keeps_every_promise(embedded: Server, template: str) -> None:
    explore(embedded, template, examples=25, steps=40)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_orders_of_many_steps(embedded: Server, template: str) -> None:
    explore(embedded, template, examples=1000, steps=100)
