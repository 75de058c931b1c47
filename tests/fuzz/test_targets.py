"""Every target of `python -m tests.fuzz` in short, and proof that they can fail: defects planted in what they test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console import sanitise as screen
from engine import text
from engine.channels import evolution_webhook, webhook, whatsapp_cloud
from engine.llm import failures
from engine.llm.providers import answer
from engine.observe import search
from tests.fuzz.catcher import Catcher
from tests.fuzz.targets import target_named, targets
from tests.fuzz.targets.inputs import draw
from tests.fuzz.targets.target import Target

TARGETS = targets()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_property_holds_for_the_seeds_and_what_is_near_them(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        target.check(seed)
    draw(target, seeds, target.check, 20)


def _never(*_: Any, **__: Any) -> None:
    return None


def _each(_: Any, things: Any, read: Callable[[Any], None]) -> None:
    for thing in things:
        read(thing)


DEFECTS: dict[str, tuple[str, Any, str, Any]] = {
    "one secret opens every door": ("door-waha", webhook, "_require", _never),
    "a signature of nothing is taken": ("door-whatsapp_cloud", whatsapp_cloud, "check_signature", _never),
    "what has another shape is dropped": ("webhook-whatsapp_cloud", webhook.Collector, "quarantine", _never),
    "a key stays in a body": ("webhook-evolution", evolution_webhook, "_without", lambda text, _key: text),
    "one odd thing costs all": ("webhook-waha", webhook.Collector, "each", _each),
    "NUL is kept": ("text-storage", text, "_UNSTORABLE", re.compile(r"[\ud800-\udfff]")),
    "ESC is no control": (
        "text-sanitise",
        text,
        "_UNSAFE",
        re.compile(r"[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f]"),
    ),
    "marks pile up": ("text-screen", screen, "sanitise", lambda text, _limit=0: text),
    "formulas are exported": ("text-export", text, "_FORMULA", re.compile("=")),
    "a far end's date ends the call": ("answer-zai", failures, "_number", float),
    "a count is taken as it comes": ("answer-uniapi", answer, "_count", lambda value: value),
    "a value is shown as it is": ("search-messages", search, "_quoted", str),
}
"""By what goes wrong: the target that must see it, and what stands where in place of what."""


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, where, what, instead = DEFECTS[defect]
    target = target_named(name)
    monkeypatch.setattr(where, what, instead)
    catcher = Catcher(target)
    seeds = target.seeds()
    for seed in seeds:
        catcher(seed)
    if not catcher.found:
        draw(target, seeds, catcher, 150)
    assert catcher.found


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.fuzz", *arguments]
        there = environment | {"TMPDIR": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, env=there, check=False)

    return run


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_minute_of_each_target_finds_nothing(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run("--seconds", "60")
    assert done.returncode == 0, done.stdout
