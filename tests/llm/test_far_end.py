"""The stand-in far end answers and fails like the real ones, and says what it was asked."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from engine.demo.answers import INTENTS, OTHERWISE, answer
from engine.demo.far_end import FarEnd

KEY = {"Authorization": "Bearer k"}


def say(text: str) -> str:
    return answer([{"role": "system", "content": "You answer."}, {"role": "user", "content": text}])


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Hi, where is my parcel?", 0),
        ("It arrived damaged, I want my money back", 0),
        ("I want a refund", 1),
        ("Can I book an appointment?", 2),
        ("When are you open on Sunday?", 3),
        ("how much is it", 4),
        ("Where do I park?", 5),
        ("thanks a lot!", 6),
        ("Hello", 7),
    ],
)
def test_an_answer_fits_the_question(text: str, intent: int) -> None:
    assert say(text) in INTENTS[intent].replies


def test_the_same_question_has_the_same_answer_and_others_vary() -> None:
    assert say("tell me") == say("tell me")
    assert {say(f"tell me {n}") for n in range(50)} == set(OTHERWISE)
    assert answer([]) in OTHERWISE


def test_it_keeps_what_it_was_asked_and_takes_queued_modes_first() -> None:
    with (
        FarEnd(reply=lambda messages: f"you said {messages[-1]['content']}") as far,
        httpx.Client() as client,
    ):
        far.zai.once("1302", "empty")
        body = {"model": "glm-5", "messages": [{"role": "user", "content": "hello"}]}
        url = f"{far.zai_url}/chat/completions"
        answers = [client.post(url, json=body, headers=KEY) for _ in range(3)]
        assert [a.status_code for a in answers] == [429, 200, 200]
        assert answers[0].json()["error"]["code"] == "1302"
        assert answers[1].json()["choices"][0]["message"]["content"] == ""
        assert answers[2].json()["choices"][0]["message"]["content"] == "you said hello"
        assert [call.mode for call in far.zai.calls] == ["1302", "empty", "ok"]
        assert far.zai.calls[2].body == body
        assert (far.zai.total, far.uniapi.total) == (3, 0)


def test_a_call_without_a_key_or_messages_is_refused() -> None:
    with FarEnd() as far, httpx.Client() as client:
        url = f"{far.uniapi_url}/chat/completions"
        assert client.post(url, json={"model": "m", "messages": []}).status_code == 401
        assert client.post(url, json={"model": "m"}, headers=KEY).status_code == 400
        assert client.post(url, content=b"{", headers=KEY).status_code == 400
        assert client.get(f"{far.base_url}/elsewhere").status_code == 404


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    far = FarEnd()
    with pytest.raises(ValueError, match=r"it has .*429-money"):
        far.zai.mode = "429-mony"
    with pytest.raises(ValueError, match="uniapi has no mode '1302'"):
        far.uniapi.once("1302")
    assert far.zai.mode == "ok"


def test_the_mode_is_set_from_any_thread_while_it_serves() -> None:
    with FarEnd() as far, httpx.Client() as client:

        def break_it() -> None:
            far.uniapi.mode = "503"

        thread = threading.Thread(target=break_it)
        thread.start()
        thread.join()
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        assert client.post(f"{far.uniapi_url}/chat/completions", json=body, headers=KEY).status_code == 503


def test_it_stops_while_calls_hang_and_starts_again_on_its_port() -> None:
    far = FarEnd()
    for _ in range(2):
        base = far.start()
        far.uniapi.mode = "hang"
        with httpx.Client() as client, pytest.raises(httpx.TimeoutException):
            client.post(
                f"{base}/v1/chat/completions", json={"model": "m", "messages": []}, headers=KEY, timeout=0.1
            )
        began = time.monotonic()
        far.stop()
        assert time.monotonic() - began < 5
        far.stop()
    assert base == far.base_url
