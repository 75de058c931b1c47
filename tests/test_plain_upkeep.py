"""What the commands of upkeep print says where a value comes from: a variable that is overruled has no effect."""

from __future__ import annotations

from console.plain_upkeep import Alerts, alert_lines, retention_lines
from engine.observe.incidents import rules
from engine.operator.retention import Due, kinds
from engine.settings import load_settings


def test_what_is_set_live_is_told_apart_from_the_variables() -> None:
    settings = load_settings(alert_queue_seconds=300)
    live = settings.model_copy(update={"alert_queue_seconds": 5.0})
    told = list(alert_lines(Alerts(rules=rules(live), targets=[], incidents=[]), rules(settings)))
    assert (
        "queue_age  a message has waited 5 s for its turn  (set live, in place of SWITCHBOARD_ALERT_QUEUE_SECONDS)"
        in told
    )
    assert "blocker    something keeps messages from being answered  (SWITCHBOARD_ALERT_BLOCKERS)" in told
    due = [Due(kind=kept.kind, days=14 if kept.kind == "prompts" else kept.days) for kept in kinds(settings)]
    lines = list(retention_lines(due, kinds(settings), run=False))
    assert lines[0] == "prompts    14 days, 0 past it  (set live, in place of SWITCHBOARD_KEEP_PROMPTS_DAYS)"
    assert lines[1] == "traces     for ever  (SWITCHBOARD_KEEP_TRACES_DAYS)"
