"""The providers behind the router: each task on the provider's own route, under the provider's own name of the model, the answer in the task's form."""

import base64
import hashlib
import io
import json

import pytest
from engines import PROVIDERS, OpenAi, Providers, Tei, form_of, sound_of
from huggingface_hub import InferenceClient
from PIL import Image
from stubs import chat_text, fingerprint

TOKEN = "hf_canary_providers_0123456789"
HELLO = [{"role": "user", "content": "hello"}]
SOUND = b"RIFF\x24\0\0\0WAVEfmt " + bytes(range(256)) + b"\r\n--fourways-\r\n"
TASKS = {
    "chat/completions": "chat-completion",
    "completions": "text-generation",
    "embeddings": "feature-extraction",
    "images/generations": "text-to-image",
    "audio/speech": "text-to-speech",
    "audio/transcriptions": "automatic-speech-recognition",
}
PAIRS = [(provider, route) for provider, routes in PROVIDERS.items() for route in routes]
LACKING = [(provider, route) for provider, routes in PROVIDERS.items() for route in TASKS if route not in routes]
QUEUED = ("fal-ai", "replicate", "wavespeed")


def name_of(provider, route):
    return f"{provider}/{route.replace('/', '-')}"


@pytest.fixture(scope="module")
def stubs(start_once):
    return {"router": start_once.keep(Providers()), "own": start_once.keep(OpenAi())}


@pytest.fixture(scope="module")
def here(start_once, stubs):
    upstreams = {
        "router": {"kind": "serverless", "url": stubs["router"].url, "token": "t"},
        "own": {"kind": "dedicated", "engine": "openai", "url": stubs["own"].url},
    }
    models = {
        name_of(provider, route): {"task": task, "route": [{"upstream": "router", "provider": provider, "model": f"their/{provider}-model"}]}
        for provider in (*PROVIDERS, *QUEUED)
        for route, task in TASKS.items()
    }
    models |= {name_of("own", route): {"task": task, "route": [{"upstream": "own", "model": "their/own-model"}]} for route, task in TASKS.items()}
    models["auto/*"] = {"route": ["router"]}
    return start_once({"tokens": {"t": {"secret": "${T}", "bill_to": "acme"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})


def native(here, model, inputs="Once upon a time", accept="*/*", **parameters):
    return here.http.post("/v1/inference", json={"model": model, "inputs": inputs, "parameters": parameters}, headers={"accept": accept})


def check(here, model, route):
    """One answer of this route; it comes from the SHA-256 of the input."""
    if route == "chat/completions":
        reply = here.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO})
        assert reply.json()["choices"][0]["message"]["content"] == chat_text(HELLO), reply.text
    elif route == "completions":
        answer = native(here, model, max_new_tokens=5, return_full_text=False).json()
        assert answer == [{"generated_text": " " + fingerprint("Once upon a time"), "details": {"finish_reason": "stop"}}]
    elif route == "embeddings":
        assert native(here, model, ["a", "b"]).json() == [Tei.vector("a"), Tei.vector("b")]
    elif route == "images/generations":
        reply = native(here, model, "a cat", width=64, height=32)
        assert reply.headers["content-type"] == "image/png", reply.text
        assert Image.open(io.BytesIO(reply.content)).tobytes() == hashlib.sha256(b"a cat").digest()
    elif route == "audio/speech":
        reply = native(here, model, "hey", voice="one")
        assert (reply.headers["content-type"], reply.content) == ("audio/wav", sound_of("hey"))
    else:
        for body in ({"content": SOUND, "headers": {"content-type": "audio/x-wav"}}, {"json": {"inputs": base64.b64encode(SOUND).decode()}}):
            assert here.http.post(f"/models/{model}", **body).json() == {"text": fingerprint(SOUND)}


@pytest.mark.parametrize("provider, route", PAIRS)
def test_each_route_of_each_provider(here, stubs, provider, route):
    check(here, name_of(provider, route), route)
    seen = stubs["router"].seen[-1]
    assert seen.path == f"/{provider}/{PROVIDERS[provider][route]}"
    model = form_of(seen)["model"][2].decode() if route == "audio/transcriptions" else seen.json["model"]
    assert model == f"their/{provider}-model"
    assert (seen.token, seen.field("x-hf-bill-to")) == (TOKEN, "acme")
    assert seen.field("x-source-channel") == ("hugging_face" if provider == "zai-org" else None)


@pytest.mark.parametrize("route", TASKS)
def test_the_same_on_a_server_of_ones_own(here, stubs, route):
    check(here, name_of("own", route), route)
    seen = stubs["own"].seen[-1]
    assert seen.path == f"/v1/{route}"


@pytest.mark.parametrize("provider, route", LACKING)
def test_what_a_provider_lacks(here, stubs, provider, route):
    before = len(stubs["router"].seen)
    reply = here.http.post(f"/models/{name_of(provider, route)}", json={"inputs": "aGV5"})
    assert reply.status_code == 404 and f"{provider} has no route for the task {TASKS[route]}" in reply.json()["error"], reply.text
    assert len(stubs["router"].seen) == before


@pytest.mark.parametrize("provider", QUEUED)
def test_providers_with_queues_of_their_own(here, stubs, provider):
    before = len(stubs["router"].seen)
    reply = native(here, name_of(provider, "images/generations"))
    assert reply.status_code == 404 and "queue of its own" in reply.json()["error"]["message"], reply.text
    chat = here.http.post("/v1/chat/completions", json={"model": f"auto/chat:{provider}", "messages": HELLO})
    assert chat.status_code == 404 and "queue of its own" in chat.json()["error"]["message"]
    assert len(stubs["router"].seen) == before


def test_a_task_for_a_provider_whose_name_of_the_model_is_not_known(here, stubs):
    before = len(stubs["router"].seen)
    reply = here.http.post("/v1/inference", json={"model": "auto/embed:deepinfra", "task": "feature-extraction", "inputs": "x"})
    assert reply.status_code == 404
    assert "provider: deepinfra, model: ... }" in reply.json()["error"]["message"]
    assert len(stubs["router"].seen) == before


SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}}}
TOLD = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


@pytest.mark.parametrize(
    "provider, expected",
    [
        ("groq", TOLD),
        ("cohere", {"type": "json_object", "schema": SCHEMA}),
        ("fireworks-ai", {"type": "json_object", "schema": SCHEMA}),
        ("together", {"type": "json_schema", "schema": SCHEMA}),
    ],
)
def test_a_schema_is_told_as_the_provider_wants_it(here, stubs, provider, expected):
    for said in (TOLD, {"type": "json_object", "value": SCHEMA}):
        model = name_of(provider, "chat/completions")
        here.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO, "response_format": said})
        got = stubs["router"].seen[-1].json["response_format"]
        assert got == expected or got["json_schema"]["schema"] == expected["json_schema"]["schema"]


@pytest.mark.parametrize(
    "model, given, expected",
    [
        ("nscale/images-generations", {"width": 64, "height": 32, "num_inference_steps": 4}, {"size": "64x32", "response_format": "b64_json"}),
        ("together/images-generations", {"width": 64, "num_inference_steps": 4}, {"width": 64, "steps": 4, "response_format": "base64"}),
        ("own/completions", {"max_new_tokens": 3, "stop": ["a"], "temperature": 0.50, "seed": None}, {"max_tokens": 3, "stop": ["a"], "temperature": 0.5}),
        ("own/completions", {"return_full_text": True, "best_of": 2}, {"echo": True, "best_of": 2}),
        ("own/embeddings", {"dimensions": 4}, {"dimensions": 4}),
    ],
)
def test_parameters_in_the_other_words(here, stubs, model, given, expected):
    native(here, model, **given)
    seen = stubs["own" if model.startswith("own") else "router"].seen[-1].json
    assert {name: value for name, value in seen.items() if name not in ("model", "prompt", "input")} == expected


def test_a_form_holds_the_sound_and_nothing_of_the_client_breaks_out_of_it(here, stubs):
    model = name_of("own", "audio/transcriptions")
    given = {"language": 'en"\r\nx: y\r\n--fourways-', "return_timestamps": True, 'bad"\r\nname': "1"}
    inputs = {"base64": base64.b64encode(SOUND).decode(), "media_type": "audio/mp3"}
    reply = native(here, model, inputs, **given)
    assert reply.json().get("chunks") == [{"text": fingerprint(SOUND), "timestamp": [0.0, 1.5]}], reply.text
    form = form_of(stubs["own"].seen[-1])
    assert set(form) == {"model", "language", "response_format", "file"}
    assert form["file"] == ("audio.mp3", "audio/mpeg", SOUND)
    assert form["language"][2].decode() == given["language"]


def test_text_is_generated_for_a_client_that_wants_events(here):
    """Token by token, in the words that Hugging Face's clients read."""
    for model in (name_of("own", "completions"), name_of("together", "completions")):
        reply = here.http.post("/models/" + model, json={"inputs": "Once", "stream": True})
        assert reply.headers["content-type"].startswith("text/event-stream")
        *tokens, last = [json.loads(each[6:]) for each in reply.text.split("\n\n") if each.startswith("data: {")]
        mark = fingerprint("Once")
        assert [each["token"]["text"] for each in tokens] == [mark[at : at + 8] for at in range(0, 64, 8)]
        assert [each["generated_text"] for each in tokens] == [None] * 8
        assert (last["generated_text"], last["details"]["finish_reason"], last["details"]["generated_tokens"]) == (mark, "eos_token", 8)
        client = InferenceClient(model=f"{here.url}/models/{model}", token="hf_unused")
        details = list(client.text_generation("Once", stream=True, details=True))
        assert "".join(each.token.text for each in details) == details[-1].generated_text == mark


def test_a_long_text_travels_by_range(here):
    text = "a" * 300_000
    assert native(here, name_of("own", "embeddings"), text).json() == [Tei.vector(text)]


def test_the_names_that_huggingface_hub_has(here, stubs):
    """The table is the SDK's own, for every provider that both know."""
    from huggingface_hub.inference._providers import PROVIDERS as THEIRS

    for provider, routes in PROVIDERS.items():
        helper = THEIRS.get(provider, {}).get("conversational")
        if helper is not None:
            assert helper._prepare_route("their/model", "hf_x").lstrip("/") == routes["chat/completions"], provider
