"""The HTTP API of a running engine against its own description: every operation, good requests and bad ones."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.fuzz.profile import fuzz
from tests.support.postgres import Server
from tests.support.trip import Trip, trip

TOKEN = "t0ken-of-the-administrator-with-enough-of-it"
SECRET = "a-webhook-secret"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
]
CHANNELS = st.sampled_from([None, "simulator", "whatsapp", "telegram"])
"""What a generated name of a channel is replaced by, so that one that exists is met too."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
ADMINISTRATORS = {
    "/api/v1/platform/system-health",
    "/api/v1/platform/messages/{message_id}/explanation",
    "/metrics",
    "/openapi.json",
}


@pytest.fixture(scope="module")
def engine(embedded: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trip]:
    name = embedded.migrated_database()
    settings = {
        "http_enabled": True,
        "http_port": 0,
        "admin_token": SecretStr(TOKEN),
        "simulator_webhook_secret": SecretStr(SECRET),
    }
    with trip(embedded.dsn(name), tmp_path_factory.mktemp("contract"), **settings) as whole:
        whole.start()
        whole.insert("hello")  # message 1 can be explained
        yield whole
    embedded.drop(name)


@pytest.fixture(scope="module")
def base(engine: Trip) -> str:
    assert engine.engine is not None
    return f"http://{engine.engine.snapshot().http_address}"


@pytest.fixture(scope="module")
def schema(base: str) -> BaseSchema:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    found = schemathesis.openapi.from_url(f"{base}/openapi.json", headers=headers)
    found.config.update(headers=headers)
    return found


class Signed(AuthBase):
    """Signs webhooks as the simulator's far end does; the token of other requests stays as it was given."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        raw = body.encode() if isinstance(body, str) else body
        signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        request.headers["X-Simulator-Signature"] = signature
        return request


def operations(schema: BaseSchema) -> list[APIOperation]:
    return [found.ok() for found in schema.get_all_operations()]


def test_every_operation_keeps_to_its_description(schema: BaseSchema) -> None:
    told = operations(schema)
    for operation in told:
        _hold(operation)
    of_itself = {"/openapi.json"}  # schemathesis leaves it out
    assert {one.path for one in told} | of_itself == set(schema.raw_schema["paths"])


def _hold(operation: APIOperation) -> None:
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE), name=CHANNELS)
    @fuzz(12)
    def hold(case: schemathesis.Case, name: str | None) -> None:
        if name is not None and "name" in case.path_parameters:
            case.path_parameters["name"] = name
        case.validate_response(case.call(auth=Signed()), checks=CHECKS)

    hold()


def test_bad_requests_are_refused_in_words(base: str) -> None:
    """Odd values in every place of a path, and bodies that are none: never a 5xx, and the error says what it is."""
    odd = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
        ["..", "%", "\x00", "-1", "0", "9" * 30, "1e3", "x" * 201, "١", "' OR 1=1 --", "<script>"]
    )
    places = ["/webhooks/{}", "/webhooks/simulator/{}", "/webhooks/telegram/default/{}"]
    places += ["/webhooks/evolution/default/{}/{}", "/api/v1/platform/messages/{}/explanation", "/{}"]
    administrator = {"Authorization": f"Bearer {TOKEN}"}

    @given(st.sampled_from(places), odd, st.sampled_from(["GET", "POST"]), st.binary(max_size=40))
    @fuzz(80)
    def hold(place: str, value: str, method: str, body: bytes) -> None:
        segment = quote(value, safe="")
        url = base + place.replace("{}", segment)
        answer = client.request(method, url, content=body, headers=administrator)
        assert 400 <= answer.status_code < 500, (method, place, value)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["detail"]

    with httpx.Client() as client:
        hold()


def test_any_bytes_with_a_right_signature_are_taken_once_and_for_all(base: str, engine: Trip) -> None:
    """A far end repeats whatever is not answered 200: what cannot be read is kept aside, not refused."""

    @given(st.binary(max_size=200))
    @fuzz(30)
    def hold(body: bytes) -> None:
        answer = requests.post(f"{base}/webhooks/simulator", data=body, auth=Signed(), timeout=10)
        assert answer.status_code == 200
        assert answer.content == b""

    hold()
    assert engine.query("SELECT FROM et_intake_quarantine") != []


def test_other_methods_are_refused_with_those_that_are_answered(schema: BaseSchema, base: str) -> None:
    paths = {"/openapi.json": {"GET"}}
    for operation in operations(schema):
        paths.setdefault(operation.path, set()).add(operation.method.upper())
    with httpx.Client() as client:
        for path, known in paths.items():
            url = base + path.format(message_id=1, name="simulator", account="a", secret="s", event="e")
            for method in set(METHODS) - known:
                answer = client.request(method, url)
                assert answer.status_code == 405, (method, path)
                assert answer.headers["allow"] == ", ".join(sorted(known)), (method, path)
                if method != "HEAD":
                    assert method in answer.json()["detail"]


def test_the_description_is_the_administrators_and_names_the_token_where_it_is_needed(
    schema: BaseSchema, base: str
) -> None:
    assert httpx.get(f"{base}/openapi.json").status_code == 401
    strange = httpx.get(f"{base}/openapi.json", headers={"Host": "evil.example"})
    assert strange.status_code == 400
    guarded = {path for path, item in schema.raw_schema["paths"].items() if "security" in item.get("get", {})}
    assert guarded == ADMINISTRATORS
    for path in ADMINISTRATORS:
        url = base + path.format(message_id=1)
        assert httpx.get(url).status_code == 401, path
        assert httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200, path
