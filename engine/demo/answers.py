"""What the stand-in model says: short customer-service replies, the same one for the same message."""

from __future__ import annotations

import re
import zlib
from typing import Any, NamedTuple


class Intent(NamedTuple):
    """A kind of question, the words that give it away, and replies to it."""

    words: re.Pattern[str]
    replies: tuple[str, ...]


def _intent(words: str, *replies: str) -> Intent:
    return Intent(re.compile(rf"\b(?:{words})", re.IGNORECASE), replies)


#: In order: the first whose words occur answers. Thanks and greetings come last, since people put them
#: around a real question.
INTENTS = (
    _intent(
        r"order|parcel|package|deliver|shipp|tracking|arrive",
        "Your order left our warehouse yesterday and should reach you within two working days.",
        "I have found it: your parcel is with the carrier and is due tomorrow between 9 and 13 o'clock.",
        "Your order is packed and goes out today. You get a tracking link as soon as the carrier scans it.",
    ),
    _intent(
        r"refund|return|money back|exchange|broken|damaged|complain|wrong (?:item|size)",
        "I am sorry about that. You can return it free of charge within 30 days; shall I prepare the label?",
        "That should not happen, I apologise. Would you like a replacement or your money back?",
    ),
    _intent(
        r"book|appointment|reserv|reschedul|cancel|slot|available|table for",
        "Happy to arrange that. We have Tuesday at 10:30 or Thursday at 15:00; which suits you better?",
        "Of course. I can offer you tomorrow at 11:15 or Friday at 16:45. Shall I book one of them?",
        "That works. Please tell me your name and a phone number, and I will reserve it for you.",
    ),
    _intent(
        r"open|hours|close[sd]?\b|closing|weekend|sunday|saturday|today until",
        "We are open Monday to Friday from 9:00 to 18:00, and on Saturday from 10:00 to 14:00.",
        "Our doors are open 9:00–18:00 on weekdays and 10:00–14:00 on Saturdays. We are closed on Sundays.",
    ),
    _intent(
        r"price|cost|how much|expensive|discount|quote|cheap|fee|€|\$",
        "The standard package is 49 € a month, with no set-up fee. Shall I send you the full price list?",
        "That is 79 € including VAT. From three pieces on you get 10 % off.",
        "A first consultation costs 35 €, and we take it off the bill if you decide to go ahead.",
    ),
    _intent(
        r"where|address|parking|directions|located|find you",
        "You find us at 12 Market Street, five minutes from the station. Parking is behind the building.",
        "We are at 12 Market Street, second floor. The lift is to the right of the entrance.",
    ),
    _intent(
        r"thank|thx|cheers|perfect|great\b|awesome|that helps",
        "You are very welcome! Just write if anything else comes up.",
        "Glad I could help. Have a lovely day!",
    ),
    _intent(
        r"hi\b|hello|hey|good (?:morning|afternoon|evening)|hola|bonjour",
        "Hello, and thank you for writing! How can I help you today?",
        "Hi there! What can I do for you?",
    ),
)
OTHERWISE = (
    "Thank you for your message. Could you tell me a little more, so that I can help you properly?",
    "Good question. Let me make sure I understand: is this about an order you placed, or something new?",
    "I will gladly look into that for you. May I have your order number or the name it is under?",
)


def answer(messages: list[dict[str, Any]]) -> str:
    """The reply to a conversation, from its last user message alone."""
    text = last_user_text(messages)
    replies = next((intent.replies for intent in INTENTS if intent.words.search(text)), OTHERWISE)
    return replies[zlib.crc32(text.encode("utf-8", "replace")) % len(replies)]


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """The newest message of the customer, "" when there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return str(message.get("content", ""))
    return ""


def estimated_tokens(text: str) -> int:
    """About four characters a token, at least one."""
    return len(text) // 4 + 1
