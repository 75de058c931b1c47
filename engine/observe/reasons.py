"""Every reason code that the engine writes, in plain words, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Reason(NamedTuple):
    """A code's meaning, and the next step; both are whole sentences."""

    meaning: str
    remedy: str


_NOTHING = "There is nothing to do."
_REPLAY = "Replay the message once that is mended."
_ANSWER = "Answer the customer yourself in the Inbox, or hand the conversation back to the AI."
_RETRY_SEND = "Retry it in the console's Outbound."
_CHECK = "Look at the customer's chat, then mark it sent or retry it in the console's Outbound."

REASONS: Mapping[str, Reason] = {
    # Rules
    "policy.opt_out": Reason(
        "The customer asked not to be written to.",
        "Leave them alone; they are answered again when they write START.",
    ),
    "policy.no_agent": Reason(
        "No enabled agent answers for this tenant and channel.",
        "Enable an agent in Settings, then replay the message.",
    ),
    "policy.human_requested": Reason("The customer asked for a person.", _ANSWER),
    "policy.stale": Reason(
        "The message had waited longer than the AI may answer late.",
        "Answer it yourself, or raise the age limit in Settings and replay it.",
    ),
    "policy.window": Reason(
        "The channel's window for free replies has closed.",
        "Write with an approved template outside, or wait for the customer's next message.",
    ),
    "policy.loop_guard": Reason(
        "The conversation looked like two machines talking.",
        "Read it; hand it back to the AI if a person writes there, or raise the agent's replies_per_hour.",
    ),
    "policy.budget": Reason(
        "Today's budget is used up.", "Raise the daily budget, or replay the message tomorrow (UTC)."
    ),
    "policy.content": Reason(
        "The provider refused the content.", "Answer it yourself; a replay meets the same refusal."
    ),
    "policy.empty": Reason(
        "The model said nothing.", "Replay the message; if it happens often, change the model's route."
    ),
    "policy.canary": Reason(
        "The reply repeated the agent's instructions.",
        "Answer it yourself; the customer may be probing the AI.",
    ),
    "policy.blocked_phrase": Reason(
        "The reply held a phrase that the agent's policy blocks.",
        "Answer it yourself, or change blocked_phrases or the prompt in Settings and replay it.",
    ),
    "policy.link": Reason(
        "The reply linked to a host that is not allowed.",
        "Add the host to allowed_link_hosts in Settings and replay it, or answer it yourself.",
    ),
    "suggested": Reason("The agent only suggests.", "Send its draft, or your own words, in the Inbox."),
    # Language models
    "llm.money": Reason(
        "The provider's account has no money left.", "Top it up at the provider, then replay the message."
    ),
    "llm.auth": Reason(
        "The provider refused the API key.", "Set a valid API key, restart, and replay the message."
    ),
    "llm.rate": Reason(
        "The provider asked to go slower.", "Replay the message later, or add a fallback route in Settings."
    ),
    "llm.quota": Reason(
        "The provider's quota is used up.",
        "Wait for its reset or route to another provider, then replay the message.",
    ),
    "llm.request": Reason(
        "The provider refused the request itself.",
        "Check model and parameters of the route in Settings, then replay.",
    ),
    "llm.content": Reason(
        "The provider refused the content.", "Answer it yourself; a replay meets the same refusal."
    ),
    "llm.transient": Reason(
        "The provider was out of reach, broken or too slow.",
        "Check its health on Overview, then replay the message.",
    ),
    "llm.starved": Reason(
        "Reasoning used up the tokens before the answer began.",
        "Raise max_tokens of the route in Settings, then replay.",
    ),
    "llm.empty": Reason(
        "The model gave an empty answer.", "Replay the message; if it happens often, route to another model."
    ),
    # Faults of a turn
    "empty_message": Reason(
        "The message has neither text nor a known kind of content.", "Look at it in the customer's chat."
    ),
    "bad_policy": Reason(
        "The agent's policy is not valid.", "Correct it in Settings, then replay the message."
    ),
    "lead_of_other_tenant": Reason(
        "The message names a customer of another tenant.",
        "Correct tenant_id or lead_id at the program that wrote it.",
    ),
    "no_sender": Reason(
        "The message does not say who wrote it.",
        "Have the program that writes it set lead_id or raw_payload.from.",
    ),
    "lead_not_stored": Reason("The customer could not be found or stored.", "Replay the message."),
    "database": Reason(
        "The database failed during the turn.", "It is tried again by itself; see the Journal if it goes on."
    ),
    "runtime_error": Reason(
        "The engine met a defect of its own.",
        "Report it with the Journal's line, and answer the customer yourself.",
    ),
    "not_written": Reason(
        "The database refused the record of the turn.", "See the Journal for its reason, then replay it."
    ),
    "attempts_exhausted": Reason("Engines stopped while answering it, time and again.", _REPLAY),
    # On its way again
    "lease_expired": Reason("The engine that had it stopped; another one takes it.", _NOTHING),
    "released": Reason("An engine that was stopped gave it back; another one takes it.", _NOTHING),
    "orphaned": Reason("It was claimed by nobody any more and was put back in line.", _NOTHING),
    "handed_back": Reason("The conversation was given back to the AI, which answers it.", _NOTHING),
    "replay": Reason("It is being answered again, as somebody asked.", _NOTHING),
    # Persons
    "takeover.operator": Reason("An operator took the conversation over.", _ANSWER),
    "takeover.phone": Reason("The conversation was answered on the phone.", _ANSWER),
    "takeover.owned": Reason("It came while a person was answering the conversation.", _ANSWER),
    "cancelled.takeover": Reason("A person took over before the AI's reply left.", _ANSWER),
    "cancelled.operator": Reason(
        "An operator cancelled it before it left.", "Write another one in the Inbox if need be."
    ),
    # Sends
    "rejected": Reason("The far end did not take it.", _RETRY_SEND),
    "rejected.not_sent": Reason("The far end was out of reach until all tries were used up.", _RETRY_SEND),
    "rejected.rate": Reason("The far end asked to go slower until all tries were used up.", _RETRY_SEND),
    "rejected.transient": Reason("The far end was in trouble until all tries were used up.", _RETRY_SEND),
    "rejected.permanent": Reason(
        "The far end will never take this message.",
        "Read its error, change the text or the address, and write again.",
    ),
    "rejected.channel_down": Reason(
        "The account cannot send anything.",
        "Clear the account's blocker on Overview, then retry it in Outbound.",
    ),
    "rejected.unknown": Reason("Its fate was unknown and then denied.", _CHECK),
    "rejected.no_address": Reason(
        "It is not known where this customer is written to.",
        "Have the program that writes messages set raw_payload.from.",
    ),
    "rejected.no_text": Reason("The message has no text.", "Write another one in the Inbox."),
    "rejected.window_closed": Reason(
        "The channel's window for free replies has closed.",
        "Write with an approved template outside, or wait for the customer's next message.",
    ),
    "receipt.failed": Reason(
        "The far end took it and told later that it did not arrive.",
        "Read its error, then retry it in Outbound.",
    ),
    "unknown": Reason("Whether it arrived is unknown.", _CHECK),
    "unknown.unknown": Reason("The far end gave no readable answer, so it may have arrived.", _CHECK),
    "unknown.lease_expired": Reason("The engine stopped while sending it, so it may have arrived.", _CHECK),
    "unknown.restored": Reason("A backup was restored, and it may have left since that was made.", _CHECK),
}


def reason_of(code: str | None) -> Reason | None:
    """What a code means; None of one that this program does not write."""
    known = REASONS.get(code or "")
    if known is None and code and code.startswith("rejected."):  # with the far end's own code
        return REASONS["rejected.permanent"]
    return known
