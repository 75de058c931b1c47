"""Who a message is from and who answers it: tenant, lead, workspace, agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial

import psycopg

from engine.database.connection import Pool, fetch
from engine.database.directory import Agent, Directory
from engine.inbound.claims import HISTORY_ROWS, Claim, reserve_budget
from engine.model import SwitchboardError
from engine.runtime.agent_runtime import TurnRequest
from engine.runtime.policy import CONSENT, Block


class UnresolvedMessage(SwitchboardError):
    """A message that cannot be attributed; `reason` is the stable code kept with it."""

    def __init__(self, reason: str, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.reason = reason


async def resolve_lead(pool: Pool, claim: Claim) -> Claim:
    """The claim with its lead, who is stored when new. Raises UnresolvedMessage.

    Costs nothing when the lead is known already, which it is from a thread's second message on.
    """
    if claim.lead_tenant_id is not None:
        if claim.lead_tenant_id != claim.tenant_id:
            raise UnresolvedMessage(
                "lead_of_other_tenant",
                f"Lead {claim.lead_id} belongs to tenant {claim.lead_tenant_id}, not {claim.tenant_id}.",
                "Correct tenant_id or lead_id at the program that wrote the message.",
            )
        return claim
    if claim.lead_id is None and not claim.sender:
        raise UnresolvedMessage(
            "no_sender",
            "The message has neither lead_id nor raw_payload.from.",
            "Have the program that writes it set one of them.",
        )
    lead_id = await _store_lead(pool, claim)
    return await _checked(pool, replace(claim, lead_id=lead_id, address=claim.address or claim.sender))


async def _store_lead(pool: Pool, claim: Claim) -> int:
    who = (claim.thread_id, claim.tenant_id, claim.lead_id, claim.channel, claim.sender, claim.sender_name)
    async with pool.connection() as connection:
        for _ in range(3):
            try:
                rows = await fetch(connection, "resolve_lead", *who, *CONSENT)
            except psycopg.errors.UniqueViolation:  # another engine stored it just now
                continue
            if rows and rows[0]["lead_id"] is not None:
                return int(rows[0]["lead_id"])
            # Leads stored under numbers of other programs' own have overtaken the sequence.
            await connection.execute(
                "SELECT setval(pg_get_serial_sequence('et_leads', 'id'), (SELECT max(id) FROM et_leads))"
            )
    raise UnresolvedMessage("lead_not_stored", "The lead could not be stored.", "Replay the message.")


async def _checked(pool: Pool, claim: Claim) -> Claim:
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT tenant_id, name, opted_out_at IS NOT NULL AS out FROM et_leads WHERE id = %s",
            [claim.lead_id],
        )
        row = await cursor.fetchone()
    if row is None:
        raise UnresolvedMessage(
            "lead_not_stored", f"Lead {claim.lead_id} is not stored.", "Replay the message."
        )
    known = replace(claim, lead_tenant_id=row["tenant_id"], lead_name=row["name"], opted_out=row["out"])
    return await resolve_lead(pool, known)


class Resolver:
    """Makes the request of a turn out of a claim and the directory."""

    def __init__(
        self,
        pool: Pool,
        directory: Callable[[], Directory],
        *,
        window_hours: Callable[[str], float | None],
        engine_cap_usd: float | None,
        turn_ceiling_usd: float,
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._window_hours = window_hours
        self._engine_cap_usd = engine_cap_usd
        self._ceiling = Decimal(str(turn_ceiling_usd))

    def agent_of(self, claim: Claim) -> Agent | None:
        """The agent that answers the claim's thread; None when there is none, or its tenant is paused."""
        directory = self._directory()
        if claim.tenant_id in directory.paused_tenants:
            return None
        return directory.agent_for(claim.tenant_id, claim.channel, claim.account)

    def request(
        self, claim: Claim, agent: Agent | None, *, reserve: bool = True, spent: Decimal = Decimal()
    ) -> TurnRequest:
        """The request of a turn. `reserve=False` for turns that are not sent, such as dry runs; `spent` is USD
        that the turn has cost already, which is set aside with what is to come."""
        settings = self._directory().settings
        if agent is not None and claim.mode is not None:
            agent = replace(agent, mode=claim.mode)
        return TurnRequest(
            now=claim.claimed_at,
            agent=agent,
            customer=claim.lead_name or claim.sender_name,
            opted_out=claim.opted_out,
            new=claim.messages,
            history=claim.history,
            human_until=claim.human_until,
            window_hours=self._window_hours(claim.channel),
            last_inbound_at=claim.last_inbound_at if claim.asked_for else None,
            max_age_hours=None if claim.asked_for else settings.max_message_age_hours,
            record_context_prompt=settings.record_context_prompt,
            reserve=self._reserve(claim, spent) if reserve else _free,
            replies_since=partial(self._replies_since, claim) if len(claim.history) >= HISTORY_ROWS else None,
        )

    async def _replies_since(self, claim: Claim, since: datetime, most: int) -> int:
        async with self._pool.connection() as connection:
            rows = await fetch(connection, "replies_since", claim.thread_id, claim.head_id, since, most)
        return int(rows[0]["replies"])

    def _reserve(self, claim: Claim, spent: Decimal) -> Callable[[], Awaitable[Block | None]]:
        cap = self._directory().daily_cap(claim.tenant_id, self._engine_cap_usd)
        if cap is None:
            return _free

        async def reserve() -> Block | None:
            granted, today = await reserve_budget(self._pool, claim, self._ceiling + spent, cap)
            if granted:
                return None
            return Block("policy.budget", f"today's budget of {cap} USD is used up ({today:.4f} USD spent)")

        return reserve


async def _free() -> Block | None:
    return None
