"""Keys, and who sees which secret: a client's key never leaves the gateway upwards, an upstream's token never downwards."""

import contextlib
import hashlib
import pathlib

import httpx
import openai
import pytest
from gateway import fourways, metric, worker_command
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from stubs import Chat, Reply, Router, Toolkit, chat_text, event, stream_of, streamed

KEY, OTHER, ADMIN = "hf_key_of_search_0123456789", "hf_key_of_batch_0123456789", "hf_key_of_the_admin_0123456789"
TOKEN, LLM_TOKEN, WORKER_TOKEN = "hf_canary_router_0123456789", "hf_canary_llm_0123456789", "hf_canary_worker_0123456789"
HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 50


def digest(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def router(start_once):
    return start_once.keep(Router({"org/vit": "image-classification"}))


@pytest.fixture(scope="module")
def llm(start_once):
    return start_once.keep(Chat())


@pytest.fixture(scope="module")
def here(start_once, router, llm):
    tokens = {"t": {"secret": "${TOKEN}", "bill_to": "acme"}, "l": {"secret": "${LLM_TOKEN}"}}
    upstreams = {
        "router": {"kind": "serverless", "url": router.url, "token": "t"},
        "llm": {"kind": "dedicated", "url": llm.url, "token": "l", "engine": "openai"},
    }
    models = {
        "org/vit": {"task": "image-classification", "aliases": ["vision"], "route": ["router"]},
        "org/chat": {"task": "chat-completion", "route": ["llm"]},
        "other/chat": {"task": "chat-completion", "aliases": ["org-chat"], "route": ["llm", "router"]},
    }
    clients = {"search": {"keys": [digest("hf_key_retired"), digest(KEY)], "models": ["org/*"]}, "batch": {"keys": [digest(OTHER)]}}
    admin = {"address": "127.0.0.1:0", "key": digest(ADMIN)}
    made = {"admin": admin, "tokens": tokens, "upstreams": upstreams, "models": models, "clients": clients}
    started = start_once(made, env={"TOKEN": TOKEN, "LLM_TOKEN": LLM_TOKEN})
    started.admin_http.headers["authorization"] = f"Bearer {ADMIN}"
    started.secrets += [KEY, OTHER, ADMIN]
    return started


DOORS = {
    "native": (
        "/v1/inference",
        {"model": "org/vit", "inputs": "aGVsbG8="},
        lambda error: (error["error"]["code"], error["error"]["message"]),
    ),
    "huggingface": ("/models/org/vit", {"inputs": "aGVsbG8="}, lambda error: (error["code"], error["error"])),
    "openai": (
        "/v1/chat/completions",
        {"model": "org/chat", "messages": HELLO},
        lambda error: (error["error"]["code"], error["error"]["message"]),
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer hf_wrong"},
        {"x-api-key": "hf_wrong"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": KEY},
        {"authorization": f"Bearer {KEY}x"},
    ],
    ids=["none", "wrong", "wrong in X-Api-Key", "another scheme", "no scheme", "longer"],
)
def test_without_a_key_nothing_happens(here, router, llm, door, headers):
    before = len(router.seen) + len(llm.seen)
    path, body, read = DOORS[door]
    reply = here.http.post(path, json=body, headers=headers)
    assert reply.status_code == 401
    code, text = read(reply.json())
    assert code == "unauthenticated" and "Authorization: Bearer KEY" in text and "X-Api-Key" in text
    assert "www-authenticate" not in reply.headers and "hf_wrong" not in reply.text
    assert len(router.seen) + len(llm.seen) == before
    assert here.record(reply)["error"] == "unauthenticated"


def test_a_key_in_the_query_is_none(here):
    assert here.http.post(f"/v1/inference?model=org/vit&api_key={KEY}", content=PNG).status_code == 401


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}, {"x-api-key": "hf_key_retired"}]
)
def test_a_key_opens_every_door(here, headers):
    for path, body, _ in DOORS.values():
        reply = here.http.post(path, json=body, headers=headers)
        assert reply.status_code == 200, reply.text
        assert here.record(reply)["client"] == "search"


@pytest.mark.parametrize("model", ["other/chat", "org-chat"])
def test_a_model_that_a_client_may_not_use(here, llm, model):
    """What counts is the model that an alias resolves to."""
    before = len(llm.seen)
    client = openai.OpenAI(base_url=here.url + "/v1", api_key=KEY, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError, match="search.*may not use.*other/chat") as fault:
        client.chat.completions.create(model=model, messages=HELLO)
    assert fault.value.code == "forbidden"
    with pytest.raises(HfHubHTTPError, match="may not use"):
        InferenceClient(base_url=f"{here.url}/models/{model}", token=KEY).chat_completion(HELLO)
    assert len(llm.seen) == before
    allowed = openai.OpenAI(base_url=here.url + "/v1", api_key=OTHER, max_retries=0)
    assert allowed.chat.completions.create(model=model, messages=HELLO).choices[0].message.content == chat_text(HELLO)


def test_a_client_sees_only_its_models(here):
    def ids(key):
        return [each.id for each in openai.OpenAI(base_url=here.url + "/v1", api_key=key).models.list()]

    assert ids(KEY) == ["org/vit", "org/chat"]
    assert ids(OTHER) == ["org/vit", "org/chat", "other/chat"]
    assert here.http.get("/v1/models/other/chat", headers={"x-api-key": KEY}).status_code in (403, 404)


def test_a_key_from_keygen_works(start, llm):
    key, line = (row.split()[1] for row in fourways("keygen").stdout.splitlines())
    assert key.startswith("hf_") and line == digest(key)
    upstreams = {"llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"}}
    models = {"org/chat": {"task": "chat-completion", "route": ["llm"]}}
    here = start({"upstreams": upstreams, "models": models, "clients": {"app": {"keys": [line]}}})
    client = openai.OpenAI(base_url=here.url + "/v1", api_key=key, max_retries=0)
    assert client.chat.completions.create(model="org/chat", messages=HELLO).choices[0].message.content == chat_text(HELLO)


# ---- what goes up ----

MINE = {
    **{"authorization": f"Bearer {KEY}", "x-api-key": KEY, "cookie": "session=mine", "proxy-authorization": "Basic bWluZQ=="},
    **{"x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6", "x-real-ip": "6.6.6.6", "x-hf-bill-to": "somebody-else"},
    **{
        "x-made-up": "6.6.6.6",
        "range": "bytes=0-1",
        "accept-language": "mine",
        "origin": "https://mine.example",
        "referer": "https://mine.example",
    },
}


@pytest.mark.parametrize("door", DOORS)
def test_what_a_client_sends_for_us_stays_here(here, router, llm, door):
    path, body, _ = DOORS[door]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    reply = here.http.post(path, json=body, headers={**MINE, "traceparent": trace, "x-request-id": "wanted-1"})
    assert reply.status_code == 200, reply.text
    seen = (llm if door == "openai" else router).seen[-1]
    assert seen.all("authorization") == [f"Bearer {LLM_TOKEN if door == 'openai' else TOKEN}"]
    assert not [word for word in (KEY, "session=mine", "bWluZQ", "6.6.6.6", "somebody-else", "mine") if word in seen.head]
    assert (seen.field("traceparent"), seen.field("x-request-id")) == (trace, "wanted-1")
    assert seen.field("host") == f"127.0.0.1:{(llm if door == 'openai' else router).port}"
    assert seen.field("x-hf-bill-to") == (None if door == "openai" else "acme")
    assert len({name.lower() for name, _ in seen.fields}) == len(seen.fields), "no field twice"


def test_address_fields_are_never_followed(here, llm):
    """What some proxies obey (`base_url`, `api_base`, a URL as input) is data here."""
    evil = Toolkit()
    with evil:
        fields = {name: evil.url for name in ("base_url", "api_base", "endpoint")}
        body = {"model": "org/chat", "messages": HELLO, **fields, "api_key": "x"}
        here.http.post("/v1/chat/completions", json=body, headers={"x-api-key": KEY, "x-base-url": evil.url})
        here.http.post("/models/org/vit", json={"inputs": evil.url + "/x.png"}, headers={"x-api-key": KEY})
        assert evil.connections == 0


# ---- what never comes down ----


@pytest.fixture(scope="module")
def leaky(start_once, llm):
    """A gateway in front of an upstream that will send our token back."""
    upstreams = {"llm": {"kind": "dedicated", "url": llm.url, "token": "l", "engine": "openai"}}
    models = {"org/chat": {"task": "chat-completion", "route": ["llm"]}}
    return start_once({"tokens": {"l": {"secret": "${LLM_TOKEN}"}}, "upstreams": upstreams, "models": models}, env={"LLM_TOKEN": LLM_TOKEN})


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
@pytest.mark.parametrize("where", ["body", "header"])
def test_an_upstream_that_echoes_our_token(leaky, llm, status, where):
    def echo(seen):
        if where == "header":
            return Reply(
                {"error": "no"} if status != 200 else {"choices": []},
                status,
                {"X-Echo": seen.head.replace("\n", " "), "Set-Cookie": seen.token},
            )
        return Reply({"error": {"message": "you sent " + seen.head}, "choices": []}, status)

    llm.when(echo, times=1)
    body = {"model": "org/chat", "messages": HELLO}
    reply = leaky.http.post("/v1/chat/completions", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_leak")
    assert LLM_TOKEN not in reply.text + str(reply.headers.raw)
    assert leaky.http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == chat_text(HELLO)


def test_a_token_in_a_stream_is_cut_off(leaky, llm):
    """Found in whole events, wherever the network cuts them."""
    events = stream_of("some words")
    bad = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "look: " + LLM_TOKEN}}]})
    before = metric(leaky.metrics(), "fourways_leaks_stopped_total")
    for pieces in ([*events[:3], bad, *events[3:]], [*events[:3], bad[:60], bad[60:], *events[3:]], [bad, *events]):
        llm.when(streamed(pieces), times=1)
        text = ""
        with contextlib.suppress(httpx.RemoteProtocolError):
            with leaky.http.stream("POST", "/v1/chat/completions", json={"model": "org/chat", "messages": HELLO, "stream": True}) as reply:
                for each in reply.iter_text():
                    text += each
        assert LLM_TOKEN not in text and "[DONE]" not in text and "upstream_leak" in text
    assert metric(leaky.metrics(), "fourways_leaks_stopped_total") == before + 3
    assert leaky.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO}).status_code == 200


def test_upstream_headers_stay_upstream(here, llm):
    fields = {
        "Server": "secret/1.0",
        "Via": "1.1 inner",
        "Set-Cookie": "a=b",
        "X-Debug": "x",
        "Access-Control-Allow-Origin": "*",
        "Location": "http://inner/",
    }
    llm.when(lambda seen: Reply({"choices": []}, fields=fields), times=1)
    reply = here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO}, headers={"x-api-key": OTHER})
    allowed = {"date", "content-type", "content-length", "x-request-id", "x-fourways-route", "x-fourways-upstream"}
    assert set(reply.headers) <= allowed, reply.headers


@pytest.mark.threat("R9")
def test_the_same_request_of_another_client_is_asked_again(here, router):
    """Nothing is kept for others: each client's request goes upstream, whatever it says about caches and hosts."""
    had = len(router.seen)
    told = []
    for key, more in [(KEY, {}), (OTHER, {}), (KEY, {"x-forwarded-host": "evil.example", "if-none-match": "*"})]:
        headers = {"authorization": f"Bearer {key}", "content-type": "image/png", **more}
        reply = here.http.post("/models/org/vit", content=PNG, headers=headers)
        assert reply.status_code == 200 and not {"age", "etag", "cache-control"} & set(reply.headers)
        told.append(reply.json())
    assert len(router.seen) == had + 3 and told[0] == told[1] == told[2]


@pytest.mark.threat("R13")
def test_a_worker_gets_the_environment_that_the_policy_gives_it(start, parrot_file):
    """Neither the gateway's variables nor its tokens, unless `env:` says so; and no secret on any command line."""

    def worker(**more):
        return {
            "kind": "local",
            "engine": "openai",
            "command": worker_command("llama_worker.py", "--gguf", parrot_file, "--ctx", 512, "--threads", 1),
            **more,
        }

    upstreams = {"bare": worker(), "given": worker(token="w", env={"HF_TOKEN": "$token", "COLOR": "blue"})}
    models = {name: {"task": "chat-completion", "route": [name]} for name in upstreams}
    env = {"W": WORKER_TOKEN, "TOKEN": TOKEN, "SECRET_OF_THE_HOUSE": "x"}
    here = start({"tokens": {"w": {"secret": "${W}"}}, "upstreams": upstreams, "models": models}, env=env)
    for name in upstreams:
        assert here.http.post("/v1/chat/completions", json={"model": name, "messages": HELLO}).status_code == 200
    found = {}
    for each in here.workers():
        children = [each["pid"], *children_of(each["pid"])]
        found[each["upstream"]] = variables(children[-1])
        assert not [pid for pid in children if any(secret in proc(pid, "cmdline") for secret in env.values() if len(secret) > 1)]
    assert set(found["bare"]) <= {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"} and "PATH" in found["bare"]
    assert found["given"].items() - found["bare"].items() == {("HF_TOKEN", WORKER_TOKEN), ("COLOR", "blue")}
    assert WORKER_TOKEN not in proc(here.process.pid, "cmdline")
    assert WORKER_TOKEN not in here.admin_http.get("/workers").text


def proc(pid, name):
    return pathlib.Path(f"/proc/{pid}/{name}").read_text(errors="replace")


def variables(pid):
    return dict(each.split("=", 1) for each in proc(pid, "environ").split("\0") if "=" in each)


def children_of(pid):
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


# ---- without clients: who reaches the listener may call, but no web page ----


@pytest.fixture(scope="module")
def open_here(start_once, llm):
    upstreams = {"llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"}}
    return start_once({"upstreams": upstreams, "models": {"org/chat": {"task": "chat-completion", "route": ["llm"]}}})


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}, {"host": "127.0.0.1.evil.example"}]
)
def test_a_web_page_may_not_spend_tokens(open_here, llm, headers):
    before = len(llm.seen)
    reply = open_here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO}, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden")
    assert "clients:" in reply.json()["error"]["message"]
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert len(llm.seen) == before


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "127.8.8.8:1", "[::1]:9", "LOCALHOST"])
def test_names_of_this_machine(open_here, host):
    reply = open_here.http.post(
        "/v1/chat/completions", json={"model": "org/chat", "messages": HELLO}, headers={"host": host, "authorization": "Bearer anything"}
    )
    assert reply.status_code == 200
    assert open_here.record(reply)["client"] == "anonymous"


def test_preflights_open_nothing(here, open_here):
    for each in (here, open_here):
        asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        reply = each.http.options("/v1/chat/completions", headers=asked)
        assert reply.status_code in (204, 401, 403, 405) and not [name for name in reply.headers if name.startswith("access-control")]
