"""One customer under several addresses: whatever is learned when, it ends in one conversation."""

from __future__ import annotations

import pytest

from engine.channels.base import Inbound
from engine.database.connection import Connection
from engine.inbound.intake import store_inbound

LID, PHONE = "998877@lid", "4915199@c.us"


class Writer:
    """Brings messages of one customer, numbered as they come."""

    def __init__(self, db: Connection) -> None:
        self.db, self.number = db, 0

    async def write(self, address: str, *aliases: str) -> int:
        """Store a message; returns its thread."""
        self.number += 1
        message = Inbound(
            account="default",
            address=address,
            provider_message_id=f"M{self.number}",
            text="hello",
            aliases=aliases,
            raw={"from": address},
        )
        async with self.db.transaction():
            assert await store_inbound(self.db, tenant_id=1, channel="waha", messages=[message]) == 1
        return int(
            (await self.row("SELECT thread_id FROM et_messages ORDER BY id DESC LIMIT 1"))["thread_id"]
        )

    async def row(self, sql: str) -> dict[str, object]:
        found = await (await self.db.execute(sql.encode())).fetchone()
        assert found is not None
        return found

    async def leads_of_their_own(self) -> None:
        """The worker has made a lead of each stranger."""
        await self.db.execute(
            "WITH l AS (INSERT INTO et_leads (tenant_id, name) SELECT 1, address FROM et_threads ORDER BY id"
            "           RETURNING id, name),"
            " a AS (INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id)"
            "       SELECT 1, 'waha', name, id FROM l)"
            " UPDATE et_threads t SET lead_id = l.id FROM l WHERE l.name = t.address"
        )


@pytest.fixture
def writer(db: Connection) -> Writer:
    return Writer(db)


async def test_two_strangers_who_turn_out_to_be_one_person_lose_no_message(writer: Writer) -> None:
    by_lid, by_phone = await writer.write(LID), await writer.write(PHONE)
    assert by_lid != by_phone, "nobody knew"
    threads = [await writer.write(PHONE, LID), await writer.write(LID), await writer.write(PHONE)]
    assert threads == [by_phone] * 3, "the conversation heard of last"
    assert (await writer.row("SELECT count(*) AS n FROM et_leads"))["n"] == 1


async def test_two_leads_who_turn_out_to_be_one_person_are_one_conversation_from_then_on(
    writer: Writer,
) -> None:
    await writer.write(LID), await writer.write(PHONE)
    await writer.leads_of_their_own()
    threads = [await writer.write(PHONE, LID), await writer.write(LID), await writer.write(PHONE)]
    assert len({*threads}) == 1


async def test_a_conversation_that_a_person_has_keeps_the_customer(writer: Writer) -> None:
    by_lid, _ = await writer.write(LID), await writer.write(PHONE)
    await writer.leads_of_their_own()
    await writer.db.execute("UPDATE et_threads SET owner = 'human' WHERE id = %s", [by_lid])
    threads = [await writer.write(PHONE, LID), await writer.write(PHONE), await writer.write(LID)]
    assert threads == [by_lid] * 3, "else the AI would answer beside the person"


async def test_who_opted_out_under_one_address_has_under_all(writer: Writer) -> None:
    await writer.write(LID), await writer.write(PHONE)
    await writer.leads_of_their_own()
    await writer.db.execute("UPDATE et_leads SET opted_out_at = now() WHERE name = %s", [LID])
    thread = await writer.write(PHONE, LID)
    lead = await writer.row(
        f"SELECT l.name, l.opted_out_at FROM et_leads l JOIN et_threads t ON t.lead_id = l.id WHERE t.id = {thread}"
    )
    assert lead["name"] == PHONE
    assert lead["opted_out_at"] is not None
