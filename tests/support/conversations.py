"""A few conversations in telling states, planted at given times: what tests and pictures of the inbox show."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from engine.model import InboundStatus, OutboundStatus, Outcome
from tests.support.rows import Planter
from tests.support.seeder import FROZEN

ME = "lena"
HOSTILE = (
    "\x1b[31mred\x1b]0;owned\x07 [b]bold[/b] [@click=app.quit]x[/] \u202eesrever\u202c \x9b2J \u200bzero"
)


class Planted:
    """Rows as they would have come to be at `now`."""

    def __init__(self, connection: psycopg.Connection[Any], now: datetime = FROZEN) -> None:
        self.plant = Planter(connection)
        self.now = now

    def ago(self, minutes: float) -> datetime:
        return self.now - timedelta(minutes=minutes)

    def thread(
        self, name: str, address: str, last: float, *, inbound: float | None = None, **columns: Any
    ) -> int:
        """A conversation whose last message came `last` minutes ago, the customer's last one `inbound` ago."""
        lead = self.plant.plant("et_leads", tenant_id=1, name=name)
        came = self.ago(last if inbound is None else inbound)
        times = {
            "last_message_at": self.ago(last),
            "last_inbound_at": came,
            "created_at": self.ago(last + 600),
        }
        return self.plant.thread(**{"lead_id": lead, "address": address, **times, **columns})

    def said(
        self, thread: int, text: str, minutes: float, status: InboundStatus | None = None, **columns: Any
    ) -> int:
        """What the customer wrote."""
        at = self.ago(minutes)
        given = {
            "thread_id": thread,
            "text_content": text,
            "created_at": at,
            "updated_at": at,
            "author": "customer",
        }
        return self.plant.inbound(status or InboundStatus.AI_REPLIED, **given | columns)

    def answered(
        self,
        thread: int,
        text: str,
        minutes: float,
        status: OutboundStatus = OutboundStatus.SENT,
        author: str = "ai",
        outcome: Outcome | None = Outcome.CONFIRMED,
        **columns: Any,
    ) -> int:
        """A message to the customer with its queue row; returns the queue row's id."""
        at = self.ago(minutes)
        model = {"llm_provider": "uniapi", "llm_model": "gpt-4.1-mini"} if author == "ai" else {}
        queue = {key: columns.pop(key) for key in ("error_class", "last_error", "attempts") if key in columns}
        sent = at if status in (OutboundStatus.SENT, OutboundStatus.ACCEPTED) else None
        given = {
            "thread_id": thread,
            "text_content": text,
            "created_at": at,
            "author": author,
            "sent_at": sent,
        }
        given |= {"last_error": queue.get("last_error"), "updated_at": at}
        message = self.plant.reply(None, status.value, **model | given | columns)
        ended = at if status in (OutboundStatus.SENT, OutboundStatus.FAILED) else None
        held = {
            "thread_id": thread,
            "author": author,
            "created_at": at,
            "updated_at": at,
            "finished_at": ended,
        }
        channel = {key: columns[key] for key in ("channel",) if key in columns}
        return self.plant.send(message, status, **held | {"outcome": outcome} | queue | channel)

    def draft(self, thread: int, message: int, text: str, minutes: float, reason: str = "suggested") -> int:
        """A text of the AI that was not sent; returns the turn's id."""
        return self.plant.plant(
            "et_turns", tenant_id=1, thread_id=thread, message_id=message, outcome="takeover", reason=reason,
            draft=text, model="gpt-4.1-mini", finished_at=self.ago(minutes),
        )  # fmt: skip


def plant_inbox(connection: psycopg.Connection[Any], now: datetime = FROZEN) -> dict[str, int]:
    """Conversations by a word each: anna (mine, waits), ben (nobody's, waits), carla (a colleague's), dora (the AI's,
    given up), emil (a suggestion waits), frida (answered by the AI), gus (hostile)."""
    p = Planted(connection, now)
    human, parked = {"owner": "human", "epoch": 1}, InboundStatus.HUMAN_TAKEOVER
    threads = {}

    anna = threads["anna"] = p.thread(
        "Anna Berger", "+49 170 5550101", 12, channel="whatsapp_cloud", operator=ME, owner_since=p.ago(34),
        auto_release_at=p.ago(-18), **human,
    )  # fmt: skip
    wa = {"channel": "whatsapp_cloud"}
    p.said(anna, "Hi, I ordered two boxes last week and only one came.", 61, **wa)
    p.answered(
        anna, "I am sorry to hear that! Could you tell me your order number?", 60, read_at=p.ago(59), **wa
    )
    p.said(anna, "4711. I would rather talk to somebody.", 35, parked, reason="policy.human_requested", **wa)
    p.answered(anna, "Hello Anna, this is Lena. I am looking into it.", 30, author="human",
               raw_payload=Jsonb({"operator": ME}), delivered_at=p.ago(30), **wa)  # fmt: skip
    p.plant.plant("et_notes", thread_id=anna, author="otto", text_content="Warehouse says box 2 left on Monday.",
                  created_at=p.ago(20))  # fmt: skip
    p.said(anna, "Thank you!", 12.5, parked, reason="takeover.owned", **wa)
    p.said(
        anna,
        "When will it be here? I leave for the holidays on Friday.",
        12,
        parked,
        reason="takeover.owned",
        **wa,
    )

    ben = threads["ben"] = p.thread("Ben Okafor", "ben", 41, owner_since=p.ago(41), **human)
    p.said(ben, "A human please", 41, parked, reason="policy.human_requested")

    carla = threads["carla"] = p.thread(
        "Carla Diaz", "carla", 20, inbound=25, operator="otto", owner_since=p.ago(50), auto_release_at=p.ago(-10),
        **human,
    )  # fmt: skip
    p.said(carla, "Can I change the address?", 25, parked, reason="takeover.owned")
    p.answered(
        carla,
        "Done, it goes to your office now.",
        20,
        author="human",
        raw_payload=Jsonb({"operator": "otto"}),
    )

    dora = threads["dora"] = p.thread("Dora Lind", "dora", 9)
    p.said(
        dora,
        "Do you deliver to Malmö?",
        9,
        InboundStatus.ERROR,
        reason="llm.transient",
        last_error="no answer",
    )

    emil = threads["emil"] = p.thread("Emil Novak", "emil", 5)
    asked = p.said(emil, "Is the soup vegan?", 5, parked, reason="suggested")
    threads["draft"] = p.draft(emil, asked, "Yes, the soup of the day is vegan.", 5)

    frida = threads["frida"] = p.thread("Frida Sand", "frida", 3, inbound=4)
    p.said(frida, "Are you open on Sunday?", 4)
    p.answered(frida, "Yes, from 10 to 18 o'clock.", 3, delivered_at=p.ago(3))

    gus = threads["gus"] = p.thread(HOSTILE, HOSTILE, 1, inbound=2)
    p.said(
        gus,
        HOSTILE + "\n" + "z" + "\u0301" * 40 + " \U0001f468\u200d\U0001f469\u200d\U0001f467 1\ufe0f\u20e3",
        2,
    )
    p.answered(gus, HOSTILE, 1, OutboundStatus.FAILED, outcome=Outcome.REJECTED, last_error=HOSTILE)
    return threads


def plant_outbound(connection: psycopg.Connection[Any], now: datetime = FROZEN) -> dict[str, int]:
    """Sends by a word each: unknown, failed, retry, sending, queued, held (waits too), cancelled, sent, hostile."""
    p = Planted(connection, now)
    sends = {}
    kim = p.thread("Kim Ito", "+44 7700 900123", 8, inbound=9)
    asked = p.said(kim, "Is my table booked?", 9)
    sends["unknown"] = p.answered(
        kim, "Yes, your table is booked for 7 pm.", 8, OutboundStatus.FAILED, outcome=Outcome.UNKNOWN, attempts=1,
        error_class="unknown", last_error="the connection was reset after the request went out", in_reply_to=asked,
    )  # fmt: skip
    lou = p.thread("Lou Maris", "lou", 30)
    sends["failed"] = p.answered(
        lou, "We are open from nine.", 30, OutboundStatus.FAILED, outcome=Outcome.REJECTED, attempts=6,
        error_class="permanent", last_error="the recipient has blocked this number",
    )  # fmt: skip
    mia = p.thread("Mia Roth", "mia", 2)
    sends["retry"] = p.answered(
        mia, "The kitchen closes at ten.", 2, OutboundStatus.RETRY_SCHEDULED, outcome=None, attempts=2,
        error_class="rate", last_error="429 too many requests",
    )  # fmt: skip
    connection.execute(
        "UPDATE et_outbound_queue SET next_attempt_at = %s WHERE id = %s", [p.ago(-3), sends["retry"]]
    )
    nat = p.thread("Nat Wolf", "nat", 1)
    sends["sending"] = p.answered(nat, "One moment, please.", 1, OutboundStatus.PROCESSING, outcome=None)
    for name, person in (("queued", "Oda Falk"), ("held", "Pia Holm")):
        thread = p.thread(person, name, 0.5)
        sends[name] = p.answered(thread, f"Thank you, {person}!", 0.5, OutboundStatus.QUEUED, outcome=None)
    quin = p.thread("Quin Abel", "quin", 40)
    sends["cancelled"] = p.answered(
        quin, "I can help with that.", 40, OutboundStatus.FAILED, outcome=Outcome.CANCELLED,
        last_error="a person took the conversation over",
    )  # fmt: skip
    sends["sent"] = p.answered(quin, "Good evening!", 50)
    ron = p.thread(HOSTILE, "ron", 3)
    sends["hostile"] = p.answered(
        ron,
        HOSTILE,
        3,
        OutboundStatus.FAILED,
        outcome=Outcome.REJECTED,
        error_class=HOSTILE,
        last_error=HOSTILE,
    )
    return sends
