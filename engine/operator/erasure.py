"""Erasure of one customer's data on request: contents go, the bare records that order and dedupe stay.

Of each message its number, times, status, tokens and cost stay. Texts, media, names, addresses, raw payloads,
drafts, prompts, notes, quarantined bodies and errors go; a provider's ids become digests, so that a redelivery
is still recognised. Backups and logs written before are not reached.
"""

from __future__ import annotations

import re

from pydantic import BaseModel

from engine.database.connection import Connection, Pool, fetch
from engine.operator.audit import BadInput, Busy, NotFound, Operator, acting, audit, rows
from engine.operator.takeover import hear_consent

RUNNING_SECONDS = 120
"""A turn that was begun this recently may still write what the customer said."""
SHORTEST_NEEDLE = 5
"""Addresses shorter than this are not looked for inside other texts: they would be found everywhere."""
FEWEST_DIGITS = 6


class Erasure(BaseModel):
    """What is kept of a customer, or was until it was erased: counts only."""

    lead_ids: list[int]
    thread_ids: list[int]
    addresses: int = 0
    messages: int = 0
    turns: int = 0
    sends: int = 0
    notes: int = 0
    receipts: int = 0
    quarantined: int = 0
    audit_entries: int = 0
    """Entries of the audit log whose details name the customer; who did what stays."""


class _Found(BaseModel):
    lead_ids: list[int]
    thread_ids: list[int]
    addresses: list[str]

    @property
    def needles(self) -> list[str]:
        """What names the customer inside other texts: whole addresses, and the part before an @."""
        names = {*self.addresses, *(address.partition("@")[0] for address in self.addresses)}
        return sorted(name for name in names if len(name) >= SHORTEST_NEEDLE)

    @property
    def params(self) -> tuple[list[int], list[int], list[str], list[str]]:
        """Of the two statements: threads, leads, texts that name the customer, subjects."""
        subjects = [f"thread:{thread}" for thread in self.thread_ids]
        return self.thread_ids, self.lead_ids, self.needles, subjects


async def preview(
    pool: Pool,
    *,
    lead_id: int | None = None,
    address: str | None = None,
    thread_id: int | None = None,
    tenant_id: int | None = None,
) -> Erasure:
    """What an erasure would take. Raises NotFound, BadInput."""
    async with pool.connection() as connection:
        return await _count(connection, await _find(connection, lead_id, address, thread_id, tenant_id))


async def erase(
    pool: Pool,
    operator: Operator,
    *,
    lead_id: int | None = None,
    address: str | None = None,
    thread_id: int | None = None,
    tenant_id: int | None = None,
) -> Erasure:
    """Erase a customer in one commit: by the lead's number, an address (a phone number in any spelling), or one
    of the customer's conversations.

    Several leads of one number go together, unless `tenant_id` says whose. Waiting messages are parked and
    sends that wait are cancelled. The audit log tells the counts. Raises NotFound, BadInput, ReadOnly; Busy
    while the AI is at one of the conversations or a send is on its way.
    """
    async with acting(pool, operator) as connection:
        found = await _find(connection, lead_id, address, thread_id, tenant_id)
        await rows(
            connection,
            "SELECT id FROM et_threads WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
            found.thread_ids,
        )
        await _check_idle(connection, found.thread_ids)
        erased = await _count(connection, found)
        await _stop(connection, operator, found.thread_ids)
        await _blank(connection, found)
        await audit(connection, operator, "erase", _subject(found), None, erased.model_dump())
    return erased


async def _find(
    connection: Connection,
    lead_id: int | None,
    address: str | None,
    thread_id: int | None,
    tenant_id: int | None,
) -> _Found:
    if [lead_id, address, thread_id].count(None) != 2:
        raise BadInput("A customer is named by a lead's number, an address or a thread.", "Give one of them.")
    if lead_id is not None:
        leads, strangers = [lead_id], list[int]()
    elif thread_id is not None:
        of = await rows(connection, "SELECT lead_id FROM et_threads WHERE id = %s", thread_id)
        leads, strangers = [row["lead_id"] for row in of if row["lead_id"] is not None], [thread_id]
    else:
        assert address is not None
        leads, strangers = await _by_address(connection, address.strip(), tenant_id)
    threads = await rows(
        connection,
        "SELECT id, address FROM et_threads WHERE lead_id = ANY(%s) OR id = ANY(%s) ORDER BY id",
        leads,
        strangers,
    )
    known = await rows(connection, "SELECT address FROM et_lead_addresses WHERE lead_id = ANY(%s)", leads)
    there = await rows(connection, "SELECT id FROM et_leads WHERE id = ANY(%s)", leads)
    addresses = {row["address"] for row in (*threads, *known) if row["address"]}
    if not there and not threads:
        raise NotFound(
            "Nobody of that number or address is known.", "Look the customer up in the console's Inbox."
        )
    return _Found(
        lead_ids=sorted(leads),
        thread_ids=[row["id"] for row in threads],
        addresses=sorted(name for name in addresses if not name.startswith("erased:")),
    )


async def _by_address(
    connection: Connection, address: str, tenant_id: int | None
) -> tuple[list[int], list[int]]:
    """Leads, and threads that have none yet. A phone number is compared by its digits."""
    digits = re.sub(r"\D", "", address)
    is_phone = re.fullmatch(r"\+?[\d\s()./-]+", address) is not None and len(digits) >= FEWEST_DIGITS
    condition = (address, digits if is_phone else None, tenant_id, tenant_id)
    leads = await rows(
        connection,
        """SELECT DISTINCT lead_id FROM et_lead_addresses
            WHERE (address = %s OR regexp_replace(split_part(address, '@', 1), '\\D', '', 'g') = %s)
              AND (%s::bigint IS NULL OR tenant_id = %s)""",
        *condition,
    )
    strangers = await rows(
        connection,
        """SELECT id FROM et_threads
            WHERE (address = %s OR regexp_replace(split_part(address, '@', 1), '\\D', '', 'g') = %s)
              AND (%s::bigint IS NULL OR tenant_id = %s) AND lead_id IS NULL""",
        *condition,
    )
    owners = await rows(
        connection,
        """SELECT DISTINCT lead_id FROM et_threads
            WHERE (address = %s OR regexp_replace(split_part(address, '@', 1), '\\D', '', 'g') = %s)
              AND (%s::bigint IS NULL OR tenant_id = %s) AND lead_id IS NOT NULL""",
        *condition,
    )
    return sorted({row["lead_id"] for row in (*leads, *owners)}), [row["id"] for row in strangers]


async def _check_idle(connection: Connection, threads: list[int]) -> None:
    sending = await rows(
        connection,
        "SELECT 1 FROM et_outbound_queue WHERE thread_id = ANY(%s) AND status = 'processing' LIMIT 1",
        threads,
    )
    if sending:
        raise Busy("A message to this customer is on its way just now.", "Try again in a minute.")
    running = await rows(
        connection,
        """SELECT 1 FROM et_threads WHERE id = ANY(%s) AND holder IS NOT NULL
            UNION ALL
           SELECT 1 FROM et_messages m
            WHERE thread_id = ANY(%s) AND direction = 'inbound' AND delivery_status <> 'inbound_ai_replied'
              AND claimed_at > now() - make_interval(secs => %s)
              AND NOT EXISTS (SELECT FROM et_turns t WHERE t.message_id = coalesce(m.turn_head_id, m.id)
                                 AND t.finished_at >= m.claimed_at)
            LIMIT 1""",
        threads,
        threads,
        RUNNING_SECONDS,
    )
    if running:
        raise Busy(
            "The AI is at a message of this customer; what it writes would come after.",
            f"Take the conversation over and try again in {RUNNING_SECONDS} s.",
        )


async def _count(connection: Connection, found: _Found) -> Erasure:
    (counts,) = await fetch(connection, "erasure_counts", *found.params)
    return Erasure(
        lead_ids=found.lead_ids, thread_ids=found.thread_ids, addresses=len(found.addresses), **counts
    )


async def _stop(connection: Connection, operator: Operator, threads: list[int]) -> None:
    """Nothing that waits is answered or sent any more."""
    for thread in threads:
        (done,) = await fetch(connection, "take_over", thread, operator.name, None, "erased")
        await hear_consent(connection, done["parked"])
    waiting = await rows(
        connection,
        """SELECT id FROM et_outbound_queue
            WHERE thread_id = ANY(%s) AND status IN ('queued', 'retry_scheduled') ORDER BY id""",
        threads,
    )
    await fetch(connection, "cancel_sends", [row["id"] for row in waiting])


async def _blank(connection: Connection, found: _Found) -> None:
    await rows(connection, "SET LOCAL switchboard.erasure = 'on'")
    await fetch(connection, "erase", *found.params)
    await rows(connection, "SET LOCAL switchboard.erasure = 'off'")


def _subject(found: _Found) -> str:
    if found.lead_ids:
        return ",".join(f"lead:{lead}" for lead in found.lead_ids)
    return ",".join(f"thread:{thread}" for thread in found.thread_ids)
