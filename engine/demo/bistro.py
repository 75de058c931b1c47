"""The business of the demonstration: a small restaurant that sells over the counter too. All of it is made up."""

from __future__ import annotations

import re
import zlib
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from engine.demo.answers import Intent, last_user_text

NAME = "Bistro Aurora (simulated)"
TIMEZONE = "Europe/Vienna"
DAILY_BUDGET_USD = 10
AUTHOR = "demo"
VERSION = 2
"""Of the agent; version 1 is what every new installation has."""

PROMPT = """You are Aurora, the friendly voice of Bistro Aurora, a small restaurant and delicatessen in the old town.

You help with opening hours, the menu and its prices, table reservations for up to eight people, takeaway
orders and gift vouchers. Answer in the customer's language, in two or three short sentences, and be concrete.
The kitchen closes an hour before we do; Monday is our day off.

Do not take payments, promise refunds or give medical advice about allergies beyond naming what a dish holds.
When something is not known to you, say that a colleague will call back. The menu: https://bistro-aurora.example/menu
"""

POLICY: dict[str, Any] = {
    "max_reply_chars": 600,
    "blocked_phrases": ["full refund guaranteed"],
    "allowed_link_hosts": ["bistro-aurora.example"],
    "human_phrases": ["get me the owner"],
    "replies_per_hour": 20,
}

CANNED = {
    "hours": "We are open Tuesday to Sunday, 11:30 to 22:00; the kitchen closes at 21:00.",
    "table": "Your table is reserved. We hold it for fifteen minutes; please call if you are late.",
    "allergens": "Every dish is marked on our menu; please tell us about allergies when you order.",
    "sorry": "I am very sorry about that. Let me look into it at once and get back to you.",
    "voucher": "Gift vouchers are at the counter, from 20 € on, and are valid for three years.",
    "bye": "Thank you for writing, and see you soon at Bistro Aurora!",
}


def _intent(words: str, *replies: str) -> Intent:
    return Intent(re.compile(rf"(?<!\w)(?:{words})", re.IGNORECASE), replies)


#: The first whose words occur answers. Other languages stand before English, thanks and greetings at the end.
INTENTS = (
    _intent(
        r"which you cannot see or hear",
        "I cannot open pictures or recordings yet, sorry! Could you tell me in a few words what it is about?",
        "Thank you, but I can only read text so far. Would you write to me what you would like to know?",
    ),
    _intent(
        r"reservier|einen tisch|tisch für",
        "Sehr gern! Um 19 Uhr ist noch ein Tisch am Fenster frei. Auf welchen Namen darf ich reservieren?",
        "Das klappt. Der Tisch ist vorgemerkt; bitte sagen Sie uns noch eine Telefonnummer.",
    ),
    _intent(
        r"geöffnet|öffnungszeit|offen|vegan(?:e|es) gericht|danke|grüß",
        "Wir sind von Dienstag bis Sonntag für Sie da, 11:30 bis 22 Uhr. Die Küche schließt um 21 Uhr.",
        "Gern geschehen! Wir haben täglich zwei vegane Gerichte und freuen uns auf Ihren Besuch.",
    ),
    _intent(
        r"una mesa|reservar|cuánto|abiert|horario|gracias|¿",
        "¡Con mucho gusto! Tenemos una mesa libre a las 20:00. ¿A qué nombre la reservo?",
        "Abrimos de martes a domingo, de 11:30 a 22:00. El menú del día cuesta 14,50 €.",
    ),
    _intent(
        r"stůl|rezerv|otevřeno|kolik|děkuj|dobrý den",
        "Dobrý den! Volno máme dnes v 18:30 i ve 20:00. Na jaké jméno mám stůl zapsat?",
        "Máme otevřeno od úterý do neděle, 11:30 až 22:00. Polední menu stojí 14,50 €.",
    ),
    _intent(
        r"order|takeaway|take away|pick ?up|deliver",
        "Your order is in the kitchen and will be ready in about 25 minutes. Just give your name at the counter.",
        "Got it! We have that down for pickup at 18:40. Would you like bread with it?",
        "We deliver within three kilometres from 25 € on. What may we bring you?",
    ),
    _intent(
        r"gluten|vegan|vegetarian|allerg|lactose",
        "The risotto, both salads and the lentil stew are vegan; the risotto is free of gluten as well.",
        "Gladly! We mark allergens on the menu, and the kitchen can leave out nuts and cream in most dishes.",
    ),
    _intent(
        r"book|table|reserv|seats?\b|cancel|people|birthday",
        "Happy to help! There is a table by the window at 19:00 or one on the terrace at 20:15. Which one?",
        "Of course. I have noted it; what name shall I put it under?",
        "That works for us. We hold tables for fifteen minutes. Shall I add a high chair or anything else?",
    ),
    _intent(
        r"open|hours|clos(?:e|ed|ing)\b|weekend|sunday|monday|today until|late",
        "We are open Tuesday to Sunday from 11:30 to 22:00, and the kitchen takes orders until 21:00.",
        "Yes, we are open at the weekend, 11:30 to 22:00. Monday is our day off.",
    ),
    _intent(
        r"price|cost|how much|menu|dish|expensive|€|\$",
        "The lunch menu is 14.50 €, with soup and coffee. Tonight's: https://bistro-aurora.example/menu",
        "The tasting menu is 48 € for five courses, or 69 € with wine.",
        "A quiche is 6.20 € over the counter, and a whole one for eight is 38 €.",
    ),
    _intent(
        r"where|address|parking|find you|directions|bus\b|tram\b",
        "You find us at 7 Lantern Lane, two minutes from the town hall. Parking is behind the church.",
        "We are at 7 Lantern Lane; tram 4 stops right in front of the door.",
    ),
    _intent(
        r"voucher|gift|present\b",
        "What a nice idea! Vouchers start at 20 € and wait for you at the counter.",
        "We have vouchers over 20, 50 and 100 €, in an envelope with a ribbon.",
    ),
    _intent(
        r"thank|thx|cheers|perfect|great\b|lovely|awesome|bye",
        "You are very welcome! See you soon at Bistro Aurora.",
        "With pleasure. Have a wonderful evening!",
    ),
    _intent(
        r"hi\b|hello|hey|good (?:morning|afternoon|evening)",
        "Hello, and welcome to Bistro Aurora! What can I do for you?",
        "Hi there! A table, an order, or a question about the menu?",
    ),
)
OTHERWISE = (
    "Thank you for writing! Could you tell me a little more, so that I can help you properly?",
    "Let me make sure I understand: is this about a table, an order, or something else?",
    "I will gladly find that out for you. Under which name may I note it?",
)


def answer(messages: list[dict[str, Any]]) -> str:
    """What the stand-in model says to a conversation: the same for the same last message."""
    return answer_to(last_user_text(messages))


def answer_to(text: str) -> str:
    """What the stand-in model says to a message."""
    replies = next((intent.replies for intent in INTENTS if intent.words.search(text)), OTHERWISE)
    return replies[zlib.crc32(text.encode("utf-8", "replace")) % len(replies)]


def furnish(connection: psycopg.Connection[Any], *, quiet_seconds: float, quiet_max_seconds: float) -> None:
    """Make the first tenant of a migrated database the bistro, in one transaction."""
    with connection.transaction():
        connection.execute(
            "UPDATE et_tenants SET name = %s, daily_budget_usd = %s WHERE id = 1", [NAME, DAILY_BUDGET_USD]
        )
        connection.execute(
            "UPDATE et_workspaces SET name = 'Front of house', timezone = %s WHERE tenant_id = 1", [TIMEZONE]
        )
        agent = connection.execute("SELECT min(id) FROM et_agents WHERE tenant_id = 1").fetchone()
        assert agent is not None
        connection.execute(
            "INSERT INTO et_agent_versions (agent_id, version, prompt, policy, note, created_by)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [agent[0], VERSION, PROMPT, Jsonb(POLICY), "the bistro's own words", AUTHOR],
        )
        connection.execute(
            "UPDATE et_agents SET name = 'Aurora', active_version = %s WHERE id = %s", [VERSION, agent[0]]
        )
        _store(connection, "et_canned_replies", "tenant_id, shortcut, text_content", CANNED, 1)
        settings = {
            "quiet_window": Jsonb({"seconds": quiet_seconds, "max_seconds": quiet_max_seconds}),
            "record_context_prompt": Jsonb(True),
        }
        _store(connection, "et_platform_settings", "updated_by, key, value", settings, AUTHOR)


def _store(
    connection: psycopg.Connection[Any], table: str, columns: str, pairs: dict[str, Any], first: Any
) -> None:
    query = f"INSERT INTO {table} ({columns}) VALUES (%s, %s, %s)"  # noqa: S608 - names of ours
    with connection.cursor() as cursor:
        cursor.executemany(query.encode(), [(first, key, value) for key, value in pairs.items()])
