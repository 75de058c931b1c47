"""The one action registry: bindings, palette, help panel, footer and key remapping all read it.

An action belongs to a scope: `app`, an area, or a widget kind. By default its key runs `act_<name>` of the
screen (or app) it is bound on, where <name> is the last part of its id. `when` says why it is not available
now, in words a person sees; such an action is greyed out, and its key says why.

Keys are remapped in switchboard.toml, by action id:

    [console.keys]
    "messages.replay" = "f5"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from textual.binding import Binding

from console.areas import AREAS


class Host(Protocol):
    """What conditions may ask of the screen an action is bound on."""

    @property
    def app(self) -> Any:
        """The `SwitchboardApp`."""

    def subject(self, kind: str) -> Any:
        """What the action would act on (`message`, `thread`, …), or None."""


Condition = Callable[[Host], str | None]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a person can do."""

    id: str
    key: str
    """Textual's name of the key; several are separated by commas."""
    title: str
    """One or two words, for the footer."""
    tooltip: str
    """One sentence, for help and palette."""
    scope: str
    run: str = ""
    """A Textual action in place of `act_<name>`."""
    mutates: bool = False
    """Changes something: refused in a read-only console and without a database."""
    when: Condition | None = None
    footer: bool = True
    demo: bool = False
    """Only in a demonstration."""
    palette: bool = True
    priority: bool = False

    @property
    def name(self) -> str:
        return self.id.rpartition(".")[2]

    def why_not(self, host: Host) -> str | None:
        """Why it cannot be done now, or None."""
        if self.mutates:
            reason = _may_act(host)
            if reason:
                return reason
        if self.demo and host.app.demo is None:
            return "Only in a demonstration (switchboard demo)."
        return self.when(host) if self.when else None


def _may_act(host: Host) -> str | None:
    if host.app.read_only:
        return "This console is read-only."
    if not host.app.connected:
        return "There is no connection to the database yet."
    return None


def connected(host: Host) -> str | None:
    """Needs the database."""
    return None if host.app.connected else "There is no connection to the database yet."


def chosen(kind: str, otherwise: str = "") -> Condition:
    """Needs a chosen `kind`: a message, a thread, … `otherwise` says what to do where there is none."""
    told = otherwise or f"No {kind} is chosen."
    return lambda host: None if host.subject(kind) is not None else told


def _inbound(host: Host) -> str | None:
    message = host.subject("message")
    if message is None:
        return "No message is chosen."
    told = "This is an answer; choose the customer's message (→) above it, which can be replayed."
    return None if message.direction == "inbound" else told


def _replayable(host: Host) -> str | None:
    reason = _inbound(host)
    if reason:
        return reason
    status = host.subject("message").status
    if status in ("inbound_error", "inbound_human_takeover"):
        return None
    return {
        "inbound_ai_replied": "It has been answered; try a dry run (R).",
        "inbound_processing": "The AI is at it right now.",
    }.get(status, "It still waits for its turn.")


def _with_thread(host: Host) -> str | None:
    message = host.subject("message")
    if message is None:
        return "No message is chosen."
    return None if message.thread_id is not None else "The message has no thread."


def _send_in(*states: str) -> Condition:
    """Needs a send in one of these statuses; `unknown` is that outcome of a failed one."""

    def why_not(host: Host) -> str | None:
        send = host.subject("send")
        if send is None:
            return "No message is chosen."
        state = "unknown" if send.outcome == "unknown" else send.status
        if state in states:
            return None
        return {
            "queued": "It waits for its first try.",
            "processing": "It is being sent right now.",
            "retry_scheduled": "It is tried again by itself; x cancels it.",
            "unknown": "Its outcome is unknown: s marks it sent, r sends it again.",
            "failed": "It has failed; nobody doubts that.",
        }.get(state, "It has left already.")

    return why_not


def _thing(host: Host) -> str | None:
    return None if host.subject("thing") is not None else "It is about no conversation or message."


def _entries(host: Host) -> str | None:
    return None if host.subject("entries") is not None else "Nothing is listed."


def _in_earnest(host: Host) -> str | None:
    return None if host.app.demo is None else "The demonstration has stand-ins for all of them."


def _conversation(host: Host) -> str | None:
    return None if host.subject("thread") is not None else "No conversation is chosen."


def _takeable(host: Host) -> str | None:
    thread, operator = host.subject("thread"), host.app.session.operator
    if thread is None or operator is None:
        return _conversation(host)
    mine = thread.owner == "human" and thread.operator == operator.name
    return "You answer it already; + keeps it longer, T hands it back." if mine else None


def _not_mine(host: Host) -> str | None:
    thread, operator = host.subject("thread"), host.app.session.operator
    if thread is None or operator is None:
        return _conversation(host)
    return "It is yours already; A gives it to somebody else." if thread.operator == operator.name else None


def _asleep(host: Host) -> str | None:
    thread = host.subject("thread")
    if thread is None:
        return _conversation(host)
    return None if thread.snoozed_until is not None else "It is awake; s puts it off."


def _with_people(host: Host) -> str | None:
    thread = host.subject("thread")
    if thread is None:
        return _conversation(host)
    return None if thread.owner == "human" else "The AI answers it already; t takes it over."


def _writable(host: Host) -> str | None:
    obstacle: str | None = host.subject("obstacle")
    return obstacle


def _sendable(host: Host) -> str | None:
    return _writable(host) or (None if host.subject("writing") else "Nothing is written yet.")


def _acceptable(host: Host) -> str | None:
    thread, draft = host.subject("thread"), host.subject("draft")
    if thread is None or draft is None:
        return _conversation(host) or "The AI has left no draft here."
    return None if draft.reason == "suggested" else _writable(host)


def _drafted(host: Host) -> str | None:
    return _conversation(host) or (None if host.subject("draft") else "The AI has left no draft here.")


def _draftable(host: Host) -> str | None:
    thread = host.subject("thread")
    if thread is None:
        return _conversation(host)
    if thread.owner != "human":
        return "The AI answers it; t takes it over, M has it only draft."
    return None if thread.waiting else "Nobody waits for an answer here."


_UNEDITABLE = "Nothing to edit is under the cursor; choose a setting, an agent, a cap or a canned reply."
_NO_VERSION = "Choose an agent: its versions are listed beside it."

ACTIONS: tuple[Action, ...] = (
    # Everywhere
    *(
        Action(f"go.{a.id}", a.key, a.title, a.tooltip, "app", f"area('{a.id}')", footer=False)
        for a in AREAS
    ),
    Action("app.help", "question_mark", "Help", "Show or hide the keys of the focused pane.", "app"),
    Action(
        "app.palette",
        "ctrl+p",
        "Palette",
        "Search every action and area by name.",
        "app",
        "command_palette",
        palette=False,
        priority=True,
    ),
    Action("app.jump", "colon", "Jump", "Go to an area, a thread or message by number, or a phone number.", "app",
           when=connected),
    Action("app.pause_updates", "p", "Pause", "Hold live updates still, or let them go on.", "app"),
    Action("app.faults", "F", "Faults", "Switch a fault of the demonstration on or off.", "app", demo=True),
    Action("app.quit", "q,ctrl+c", "Quit", "Go back, or leave the console.", "app"),
    # Overview
    Action(
        "overview.pause_ai",
        "k",
        "AI on/off",
        "Kill switch: stop the AI from answering anything, or let it answer again.",
        "overview",
        mutates=True,
        priority=True,  # over the panes, in which it leads up elsewhere
    ),
    Action(
        "overview.pause_channel",
        "K",
        "Channel",
        "Stop the AI on one channel, or let it answer there again.",
        "overview",
        mutates=True,
    ),
    Action(
        "overview.migrate", "m", "Migrate", "Bring the database schema up to date.", "overview", mutates=True
    ),
    # Inbox
    Action("inbox.take_over", "t", "Take over", "Stop the AI in this conversation and answer it yourself.", "inbox",
           mutates=True, when=_takeable),
    Action("inbox.hand_back", "T", "Hand back", "Have the AI answer this conversation again.", "inbox",
           mutates=True, when=_with_people),
    Action("inbox.pause_ai", "K", "AI on/off", "Stop the AI in this conversation, or let it answer again.", "inbox",
           mutates=True, when=_conversation),
    Action("inbox.reply", "r", "Reply", "Write to the customer.", "inbox", mutates=True, when=_writable),
    Action("inbox.next", "w", "Next", "Go to who has waited longest after this one.", "inbox"),
    Action("inbox.snooze", "s", "Snooze", "Put it off until a time, or until the customer writes.", "inbox",
           mutates=True, when=_conversation),
    Action("inbox.label", "l", "Labels", "Add and remove labels; label:vip in the filter finds them.", "inbox",
           mutates=True, when=_conversation),
    Action("inbox.send", "ctrl+s,ctrl+enter", "Send", "Send what is written.", "inbox", mutates=True, when=_sendable),
    Action("inbox.accept", "a", "Accept draft", "Put the AI's unsent draft into the composer.", "inbox", mutates=True,
           when=_acceptable),
    Action("inbox.draft", "D,ctrl+g", "Draft", "Ask the AI for a draft of an answer; nothing is sent.", "inbox",
           mutates=True, when=_draftable),
    Action("inbox.discard", "X", "Discard", "Put the AI's draft away.", "inbox", mutates=True, when=_drafted,
           footer=False),
    Action("inbox.mode", "M", "Only draft", "Have the AI send here by itself, or only draft.", "inbox", mutates=True,
           when=_conversation, footer=False),
    Action("inbox.note", "n", "Note", "Keep a private note with this conversation.", "inbox", mutates=True,
           when=_conversation),
    Action("inbox.assign", "A", "Assign", "Assign this conversation to somebody, or to nobody.", "inbox",
           mutates=True, when=_conversation),
    Action("inbox.mine", "m", "Mine", "Assign this conversation to yourself; the AI goes on answering.", "inbox",
           mutates=True, when=_not_mine),
    Action("inbox.wake", "S", "Wake", "Have a snoozed conversation back among those who wait.", "inbox",
           mutates=True, when=_asleep, footer=False),
    Action("inbox.extend", "plus", "Keep longer", "Put the hand-back off to 30 minutes from now.", "inbox",
           mutates=True, when=_with_people),
    Action("inbox.filter", "slash", "Filter", "Filter by who waits, whose it is, label, channel or name.", "inbox",
           when=connected),
    Action("inbox.canned", "c,ctrl+r", "Canned", "Put a canned reply into the composer.", "inbox", mutates=True,
           when=_writable),
    Action("inbox.keep", "H", "No timer", "Keep this conversation until it is handed back by hand.", "inbox",
           mutates=True, when=_with_people, footer=False),
    Action("inbox.erase", "E", "Erase", "Erase everything of this customer for good, on request.", "inbox",
           mutates=True, when=_conversation, footer=False),
    Action("inbox.copy", "y", "Copy", "Copy the message under the cursor.", "inbox", when=_conversation, footer=False),
    Action("inbox.leave", "escape", "Back", "From the conversation back to the list.", "inbox", footer=False,
           palette=False),
    # Messages
    Action("messages.filter", "slash", "Filter", "Filter by status, channel, tenant, provider, text or cost.",
           "messages", when=connected),
    Action("messages.replay", "r", "Replay", "Have the AI answer this message again.", "messages", mutates=True,
           when=_replayable),
    Action("messages.dry_run", "R", "Dry run", "Answer it with today's prompt and route, without sending.",
           "messages", mutates=True, when=_inbound),
    Action("messages.what_if", "w", "What if", "Try a version of an agent over what the filter shows.", "messages",
           mutates=True),
    Action("messages.replay_all", "ctrl+r", "Replay all", "Replay every message the filter shows.", "messages",
           mutates=True, footer=False),
    Action("messages.take_over", "t", "Take over", "Stop the AI in this thread and answer it yourself.", "messages",
           mutates=True, when=_with_thread),
    Action("messages.copy", "y", "Copy", "Copy what is shown of this message.", "messages", when=chosen("message")),
    Action("messages.export", "e", "Export", "Write this message with its trace to a file.", "messages",
           when=chosen("message"), footer=False),
    Action("messages.export_all", "ctrl+e", "Export all", "Write every message the filter shows to a file.",
           "messages", when=connected, footer=False),
    Action("messages.erase", "E", "Erase", "Erase everything of this message's customer for good, on request.",
           "messages", mutates=True, when=_with_thread, footer=False),
    Action("messages.next_view", "right_square_bracket", "View", "Next view: trip, trace, JSON, prompt.",
           "messages", when=chosen("message")),
    Action("messages.last_view", "left_square_bracket", "View back", "The view before.", "messages",
           when=chosen("message"), footer=False, palette=False),
    # Usage
    Action("usage.next_period", "right_square_bracket", "Period", "Today, 7 days or 30 days.", "usage"),
    Action("usage.last_period", "left_square_bracket", "Period back", "The period before.", "usage", footer=False,
           palette=False),
    Action("usage.next_view", "v", "View", "All, or one in full: day, hour, model, provider, agent, tenant, task.",
           "usage"),
    Action("usage.last_view", "V", "View back", "The view before.", "usage", footer=False, palette=False),
    Action("usage.measure", "m", "Plot", "Plot cost, tokens or turns.", "usage"),
    Action("usage.export", "e", "Export", "Write the period's usage to a CSV file.", "usage", when=connected),
    # Schema
    Action("schema.migrate", "m", "Migrate", "Run the six start-up steps now; they only ever add.", "schema",
           mutates=True),
    Action("schema.plan", "p", "Plan", "Show the exact SQL a run would execute; nothing is changed.", "schema",
           when=connected),
    Action("schema.copy", "y", "Copy", "Copy the blockers with their remedies.", "schema",
           when=chosen("blocker")),
    # Settings
    Action("settings.edit", "e", "Edit", "Change the setting, prompt, cap or canned reply under the cursor.",
           "settings", mutates=True, when=chosen("editable", _UNEDITABLE)),
    Action("settings.policy", "P", "Policy", "Change the policy of this agent.", "settings", mutates=True,
           when=chosen("agent"), footer=False),
    Action("settings.routing", "R", "Routing", "Give this agent routes of its own.", "settings", mutates=True,
           when=chosen("agent"), footer=False),
    Action("settings.json", "J", "JSON", "Edit the routing as JSON.", "settings", mutates=True,
           when=chosen("routing"), footer=False),
    Action("settings.test", "t", "Test", "Ask every route of the routing once, or send a test alert.", "settings",
           mutates=True, when=chosen("testable", "Choose the routing or the alerts: these can be tested.")),
    Action("settings.run", "r", "Run now", "Let go of what is past its time, or make a backup.", "settings",
           mutates=True, when=chosen("runnable", "Choose retention or the backup: these can be run.")),
    Action("settings.diff", "d", "Diff", "What this version changed.", "settings", when=chosen("version", _NO_VERSION)),
    Action("settings.roll_back", "b", "Roll back", "Put an earlier value or version in force again.", "settings",
           mutates=True, when=chosen("former", "Nothing earlier is on record here to go back to.")),
    Action("settings.what_if", "w", "What if", "Try this version over past messages; nothing is sent.", "settings",
           mutates=True, when=chosen("version", _NO_VERSION)),
    Action("settings.what_ifs", "W", "Tried", "What was tried with this agent before.", "settings",
           when=chosen("agent"), footer=False),
    Action("settings.toggle", "o", "On/off", "Switch this agent or tenant on or off.", "settings", mutates=True,
           when=chosen("switchable", "Choose an agent or a tenant: these can be switched.")),
    Action("settings.mode", "M", "Mode", "Have this agent reply by itself, or only draft.", "settings",
           mutates=True, when=chosen("agent"), footer=False),
    Action("settings.new", "n", "New", "Add a canned reply.", "settings", mutates=True, when=connected),
    Action("settings.set_up", "s", "Set up", "Connect a language model or a channel; tested before it is kept.",
           "settings", mutates=True, when=_in_earnest),
    Action("settings.delete", "x", "Delete", "Remove this canned reply.", "settings", mutates=True,
           when=chosen("canned reply"), footer=False),
    # Outbound
    Action("outbound.retry", "r", "Retry", "Queue a failed message again.", "outbound", mutates=True,
           when=_send_in("failed", "unknown")),
    Action("outbound.cancel", "x", "Cancel", "Do not send what waits to be sent.", "outbound", mutates=True,
           when=_send_in("queued", "retry_scheduled")),
    Action("outbound.mark_sent", "s", "It arrived", "Settle an unknown outcome: the message did arrive.", "outbound",
           mutates=True, when=_send_in("unknown")),
    Action("outbound.filter", "slash", "Filter", "Filter by state, channel, error class, thread or tenant.", "outbound",
           when=connected),
    Action("outbound.retry_all", "R", "Retry all", "Queue every failed message of the filter again.", "outbound",
           mutates=True),
    Action("outbound.cancel_all", "X", "Cancel all", "Cancel every waiting message of the filter.", "outbound",
           mutates=True),
    Action("outbound.mark_all_sent", "S", "All arrived", "Settle every unknown outcome of the filter as sent.",
           "outbound", mutates=True, footer=False),
    Action("outbound.thread", "t", "Thread", "Open the conversation in the Inbox.", "outbound", when=chosen("send")),
    Action("outbound.trip", "o", "Trip", "Open the message with its trip in Messages.", "outbound",
           when=chosen("send"), footer=False),
    # Journal
    Action("journal.filter", "slash", "Filter", "Filter by source, level or words.", "journal", when=connected),
    Action("journal.source", "s", "Source", "Only the next source: log, acts, LLM calls, schema, all.", "journal"),
    Action("journal.follow", "f", "Follow", "Go to the newest entry and follow what comes.", "journal"),
    Action("journal.open", "o", "Open", "Go to the conversation or message the entry is about.", "journal",
           when=_thing),
    Action("journal.export", "e", "Export", "Write what is listed to a file, as JSONL or CSV.", "journal",
           when=_entries),
    Action("journal.copy", "y", "Copy", "Copy the entry as JSON.", "journal", when=chosen("entry"), footer=False),
    # Panes of lines
    Action("pane.down", "j,down", "Down", "The next line that leads somewhere.", "pane", "cursor(1)", footer=False,
           palette=False),
    Action("pane.up", "k,up", "Up", "The line before.", "pane", "cursor(-1)", footer=False, palette=False),
    Action("pane.first", "g,home", "First", "The first line that leads somewhere.", "pane", "first", footer=False,
           palette=False),
    Action("pane.last", "G,end", "Last", "The last line that leads somewhere.", "pane", "last", footer=False,
           palette=False),
    Action("pane.open", "enter", "Open", "Go where the line leads.", "pane", "open", footer=False, palette=False),
    # Texts that scroll
    Action("page.down", "j,down", "Down", "One line down.", "page", "lines(1)", footer=False, palette=False),
    Action("page.up", "k,up", "Up", "One line up.", "page", "lines(-1)", footer=False, palette=False),
    Action("page.page_down", "ctrl+d,pagedown,space", "Page down", "One page down.", "page", "pages(1)", footer=False,
           palette=False),
    Action("page.page_up", "ctrl+u,pageup", "Page up", "One page up.", "page", "pages(-1)", footer=False,
           palette=False),
    Action("page.first", "g,home", "Top", "To the first line.", "page", "first", footer=False, palette=False),
    Action("page.last", "G,end", "Bottom", "To the last line.", "page", "last", footer=False, palette=False),
    # Lists
    Action("list.down", "j,down", "Down", "One row down.", "list", "cursor(1)", footer=False, palette=False),
    Action("list.up", "k,up", "Up", "One row up.", "list", "cursor(-1)", footer=False, palette=False),
    Action("list.page_down", "ctrl+d,pagedown", "Page down", "One page down.", "list", "page(1)", footer=False,
           palette=False),
    Action("list.page_up", "ctrl+u,pageup", "Page up", "One page up.", "list", "page(-1)", footer=False,
           palette=False),
    Action("list.first", "g,home", "First", "The oldest row.", "list", "first", footer=False, palette=False),
    Action("list.last", "G,end", "Last", "The newest row, and follow what comes.", "list", "last", footer=False,
           palette=False),
    Action("list.open", "enter", "Open", "Open the row.", "list", "open", footer=False, palette=False),
)  # fmt: skip

BY_ID = {action.id: action for action in ACTIONS}


def in_scope(scope: str) -> Iterator[Action]:
    """The actions of a scope, in the order they are shown."""
    return (action for action in ACTIONS if action.scope == scope)


def bindings(scope: str) -> list[Any]:
    """A scope's actions as Textual bindings, for a class's BINDINGS."""
    return [
        Binding(
            action.key,
            action.run or f"act('{action.id}')",
            action.title,
            show=action.footer,
            tooltip=action.tooltip,
            id=action.id,
            priority=action.priority,
        )
        for action in in_scope(scope)
    ]
