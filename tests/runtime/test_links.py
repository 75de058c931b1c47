"""Which links a reply may hold: only those whose host no program can take for another."""

from __future__ import annotations

import time

import pytest

from engine.runtime.links import UNREADABLE, hosts, strange
from engine.runtime.policy import AgentPolicy, after

GOOD = ("shop.example", "straße.example")


@pytest.mark.parametrize(
    "text",
    [
        "https://shop.example",
        "See https://shop.example, or https://www.shop.example/menu?x=1.",
        "**https://a.b.shop.example:8443/#top**",
        "HTTPS://SHOP.EXAMPLE!",
        "go to shop.example/book",
        "请访问shop.example/book",
        "https://straße.example/x",
        "It costs 3.50, e.g. on Monday. See you at 9.30 a.m.…",
        "Write to info@evil.com or jan.novak@evil.com",
        "We are open today.It is warm, said Node.js v1.2",
        "and so on...",
    ],
)
def test_these_pass(text: str) -> None:
    assert strange(text, GOOD) is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://evil.example", "evil.example"),
        ("https://evilshop.example", "evilshop.example"),
        ("https://shop.example.evil.com/shop.example", "shop.example.evil.com"),
        ("pay at evil.com", "evil.com"),
        ("pay at EVIL.COM.", "evil.com"),
        ("pay at evil.co.uk, now", "evil.co.uk"),
        ("pay at evil.example:8080/x", "evil.example"),
        ("pay at evil.example?to=me", "evil.example"),
        ("see bücher.de/x", "bücher.de"),
        ("see еvil.com", "еvil.com"),
        ("https://strasse.example", "strasse.example"),
        ("tg://resolve?domain=evil", "resolve"),
        ("ftp://evil.example/x", "evil.example"),
        ("请访问evil.com", "evil.com"),
        ("https://evil.com\\@shop.example/", UNREADABLE),
        ("https://shop.example@evil.com/", UNREADABLE),
        ("https://evil.com\u200b@shop.example", UNREADABLE),
        ("https://shop.example%2eevil.com", UNREADABLE),
        ("https://shop.example\u3002evil.com", UNREADABLE),
        ("http://[::1]/", UNREADABLE),
        ("https://", UNREADABLE),
    ],
)
def test_these_do_not(text: str, host: str) -> None:
    found = strange(text, GOOD)
    assert host == found or (text == "https://" and found is None)


def test_a_placeholder_in_the_prompt_allows_nothing() -> None:
    prompt = "Guests order at https://[your shop]/ or at https://a@b/."
    assert set(hosts(prompt)) == {UNREADABLE}
    _, _, block = after("https://x@evil.com", policy=AgentPolicy(), canary="sb-1", prompt=prompt)
    assert block is not None and block.reason == "policy.link"


def test_a_host_that_the_prompt_names_without_a_scheme_is_allowed() -> None:
    _, _, block = after(
        "Order at https://www.bistro.com/x.", policy=AgentPolicy(), canary="sb-1", prompt="We are bistro.com."
    )
    assert block is None


@pytest.mark.parametrize("text", ["a." * 20_000, "a-" * 20_000 + "://", "." * 40_000, "a.b@" * 10_000])
def test_no_text_takes_long(text: str) -> None:
    before = time.process_time()
    strange(text, GOOD)
    assert time.process_time() - before < 1
