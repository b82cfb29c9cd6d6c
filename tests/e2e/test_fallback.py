"""The router refuses, a real worker answers: for JSON, bytes and streams; and back to the router when it has recovered."""

import base64
import concurrent.futures
import json
import threading

import openai
import pytest
from make_gguf import SENTENCE
from pictures import INVOICE
from processes import poll, worker
from stubs import (
    DONE,
    ROLE,
    Reply,
    Router,
    Stub,
    bad_token,
    chat_reply,
    chat_text,
    chunk,
    event,
    limited,
    loading,
    no_credits,
    no_permission,
    output_of,
    stream_of,
    streamed,
    web_page,
)

ONE, TWO = "hf_canary_one_0123456789", "hf_canary_two_0123456789"
SECRETS = {"ONE": ONE, "TWO": TWO}
HELLO = [{"role": "user", "content": "hello"}]
HEARD = chat_text(HELLO)
TEXT = [{"generated_text": "\n".join(INVOICE)}]
CHAT, OCR = "org/chat", "RapidAI/RapidOCR"


@pytest.fixture(scope="module")
def workers(tmp_path_factory, parrot_file):
    """Both workers, running: what it costs to start one is other tests' matter."""
    logs = tmp_path_factory.mktemp("workers")
    llama = ["--model", CHAT, "--gguf", str(parrot_file), "--ctx", "4096", "--threads", "1"]
    with worker("llama_worker.py", *llama, log=logs / "llama") as chats, worker("ocr_worker.py", "--model", OCR, log=logs / "ocr") as reads:
        yield {
            "chat-here": {"kind": "local", "engine": "openai", "url": chats.url},
            "ocr-here": {"kind": "local", "engine": "toolkit", "url": reads.url},
        }


def policy(router, workers, tokens=("one", "two"), **fallback):
    serverless = {"kind": "serverless", "url": router.url, "tokens": list(tokens)}
    more = {"fallback": fallback} if fallback else {}
    models = {
        CHAT: {"task": "chat-completion", "route": ["router", "chat-here"] if workers else ["router"], **more},
        OCR: {"task": "image-to-text", "route": ["router", "ocr-here"] if workers else ["router"], **more},
    }
    secrets = {"one": {"secret": "${ONE}", "bill_to": "acme"}, "two": {"secret": "${TWO}"}}
    return {"tokens": secrets, "upstreams": {"router": serverless, **workers}, "models": models}


@pytest.fixture
def router(start):
    return start.keep(Router({OCR: "image-to-text"}))


@pytest.fixture
def here(start, router, workers):
    """A gateway of the test's own: what another has learned of the router is no matter here."""
    return start(policy(router, workers), env=SECRETS)


@pytest.fixture
def alone(start, router):
    """The same without workers: the router is all there is. Told to wait, it waits for 100 ms only."""
    return start(policy(router, {}, max_wait="100ms"), env=SECRETS)


def chat(here, stream=False, **more):
    return here.http.post("/v1/chat/completions", json={"model": CHAT, "messages": HELLO, "stream": stream, **more})


def said(reply):
    """The words of a chat's answer, streamed or not."""
    assert reply.status_code == 200, f"{reply.status_code} {reply.text} {reply.headers}"
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return reply.json()["choices"][0]["message"]["content"]
    frames = [frame for frame in reply.text.split("\n\n") if frame.startswith("data: {")]
    choices = [each for frame in frames for each in json.loads(frame[6:]).get("choices", ())]
    return "".join(each["delta"].get("content") or "" for each in choices)


def route(reply):
    return reply.headers["x-fourways-route"]


# What makes each form of a request: how it is asked, what the router says to it, what the worker says.
FORMS = {
    "json": (lambda here, _: chat(here), said, HEARD, SENTENCE),
    "stream": (lambda here, _: chat(here, stream=True), said, HEARD, SENTENCE),
    "bytes": (
        lambda here, picture: here.http.post(f"/models/{OCR}", content=picture),
        lambda reply: reply.json(),
        None,  # depends on the picture
        TEXT,
    ),
    "base64": (
        lambda here, picture: here.http.post(f"/models/{OCR}", json={"inputs": base64.b64encode(picture).decode()}),
        lambda reply: reply.json(),
        None,
        TEXT,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_limited_router_is_replaced_by_the_worker_until_it_recovers(here, router, invoice, form):
    ask, read, heard, spoken = FORMS[form]
    heard = heard or output_of("image-to-text", invoice)
    worker = "ocr-here" if form in ("bytes", "base64") else "chat-here"

    assert read(ask(here, invoice)) == heard
    router.when(limited(retry_after=2))
    reply = ask(here, invoice)
    assert (reply.status_code, read(reply)) == (200, spoken)
    assert route(reply) == f"router(429) router(429) {worker}(200)"
    assert [seen.token for seen in router.seen[-3:]] == [ONE, ONE, TWO]
    record = here.record(reply)
    assert [(each["upstream"], each.get("token"), each.get("status"), each["outcome"]) for each in record["route"]] == [
        ("router", "one", 429, "rate_limited"),
        ("router", "two", 429, "rate_limited"),
        (worker, None, 200, "ok"),
    ]

    # While it rests, it is left alone. (It may have recovered by now if this machine is slow.)
    reply = ask(here, invoice)
    assert read(reply) == spoken
    assert route(reply) in (f"router(cooling) {worker}(200)", f"router(429) router(429) {worker}(200)")

    router.calm()
    reply = poll(lambda: (lambda got: got if "cooling" not in route(got) else None)(ask(here, invoice)), 30, "the router is asked again")
    assert (route(reply), read(reply)) == ("router(200)", heard)
    assert route(ask(here, invoice)) == "router(200)"


def test_after_the_limit_one_request_probes_and_the_crowd_follows(start, router, workers):
    here = start(policy(router, workers, tokens=["one"]), env=SECRETS)  # each token has a probe of its own
    assert route(chat(here)) == "router(200)"

    router.when(limited(retry_after=1), times=1)
    assert route(chat(here)) == "router(429) chat-here(200)"
    gate = threading.Event()
    router.when(lambda seen: gate.wait(60) and router.usual(seen))
    asked = len(router.seen)
    with concurrent.futures.ThreadPoolExecutor(8) as crowd:
        asks = []

        def probing():
            asks.append(crowd.submit(chat, here))
            poll(lambda: asks[-1].done() or len(router.seen) > asked, 60, "an answer or a probe")
            return len(router.seen) > asked

        try:
            poll(probing, 60, "the probe")
            during = [chat(here) for _ in range(3)]
        finally:
            gate.set()
        replies = [each.result() for each in asks]
    assert {(route(each), said(each)) for each in during} == {("router(probing) chat-here(200)", SENTENCE)}
    assert [said(each) for each in replies if route(each) == "router(200)"] == [HEARD], "one probe, no more"
    assert len(router.seen) == asked + 1
    assert {route(chat(here)) for _ in range(5)} == {"router(200)"}


@pytest.mark.parametrize(
    "refusal",
    [limited(retry_after=60), limited(ratelimit='"api";r=0;t=55'), limited(), no_credits(), bad_token(), no_permission()],
    ids=["429 and a time", "429 and RateLimit", "429 without a time", "402", "401", "403"],
)
def test_the_next_token_of_the_pool(here, router, refusal):
    router.when(refusal, token=ONE)
    reply = chat(here)
    assert (route(reply), said(reply)) == (f"router({refusal.status}) router(200)", HEARD)
    assert [(seen.token, seen.field("x-hf-bill-to")) for seen in router.seen] == [(ONE, "acme"), (TWO, None)]
    assert {each["token"] for each in here.record(reply)["route"]} == {"one", "two"}
    # The refused token is left alone; a stream and a second request take the other at once.
    assert route(chat(here, stream=True)) == "router(200)" and router.seen[-1].token == TWO
    assert said(chat(here)) == HEARD and len(router.seen) == 4 and router.seen[-1].token == TWO
    router.calm()
    assert said(chat(here)) == HEARD


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault, status",
    [
        (loading(20.0), "503"),
        (web_page(), "unavailable"),  # a 200, but no answer
        (web_page(502), "502"),
        (Reply({"error": "boom"}, 500), "500"),
        (Reply({"error": {"message": "The requested model is not supported by any provider", "code": "model_not_supported"}}, 400), "400"),
        (Reply({"error": "Model org/chat does not exist"}, 404), "404"),
    ],
    ids=["loading", "a web page with 200", "a web page with 502", "500", "not supported", "404"],
)
def test_other_refusals_of_the_router(here, router, fault, status, stream):
    """One exchange with the router, then the worker's words. Tokens are not to blame, so the second one is not tried."""
    router.when(fault)
    reply = chat(here, stream=stream)
    assert (route(reply), said(reply)) == (f"router({status}) chat-here(200)", SENTENCE)
    assert len(router.seen) == 1
    assert said(chat(here, stream=stream)) == SENTENCE


def hang_up(seen):
    raise ConnectionAbortedError


def test_a_candidate_that_gave_no_status_is_told_by_its_reason(start, router):
    """Nothing of the exchange before it: the router's 429 is the router's."""
    silent = {"kind": "local", "engine": "openai", "url": start.keep(Stub(hang_up)).url}
    here = start(policy(router, {"chat-here": silent, "ocr-here": silent}, max_wait="100ms"), env=SECRETS)
    router.when(limited(retry_after=60))
    reply = chat(here)
    assert (reply.status_code, route(reply)) == (429, "router(429) router(429) chat-here(unavailable)")
    assert "status" not in here.record(reply)["route"][2]


# ---- streams: before the first content another answers, after it never ----

ERROR = event({"error": {"message": "Model is overloaded", "http_status_code": 429}})
BEFORE = {
    "an error event": streamed([ERROR, DONE]),
    "a role, then an error": streamed([ROLE, event({"error": "boom"}), DONE]),
    "cut before anything": streamed([], cut=True),
    "cut after the role": streamed([ROLE], cut=True),
    "cut inside of an event": streamed([ROLE, chunk({"content": "half"})[:-1]], cut=True),
    "nothing but the end": streamed([DONE]),
    "JSON that is cut": Reply({"choices": []}, cut=True),
}


@pytest.mark.parametrize("name", BEFORE)
def test_a_stream_that_fails_before_its_content_falls_back(here, router, name):
    router.when(BEFORE[name], times=2)
    reply = chat(here, stream=True)
    assert router.seen and router.seen[0].json["stream"] is True
    assert said(reply) == SENTENCE and reply.text.endswith("data: [DONE]\n\n")
    assert "half" not in reply.text and "error" not in reply.text
    assert route(reply).endswith(" chat-here(200)") and route(reply).startswith("router(")


@pytest.mark.parametrize("cut", [True, False])
def test_a_stream_that_fails_after_its_content_never_falls_back(here, router, cut):
    events = stream_of(HEARD)[:4]
    router.when(streamed(events, cut=True) if cut else streamed([*events, event({"error": "boom"})]), times=1)
    client = openai.OpenAI(base_url=here.url + "/v1", api_key="unused", max_retries=0)
    words = []
    with pytest.raises(openai.APIError) as fault:
        for each in client.chat.completions.create(model=CHAT, messages=HELLO, stream=True):
            words.append(each.choices[0].delta.content or "")
    assert HEARD.startswith("".join(words)) and "".join(words), "what came before is the router's alone"
    assert str(fault.value) and fault.value.body, "the SDK shows the error event"
    record = poll(lambda: here.records and here.records[-1], what="the record")
    assert [(each["upstream"], each["outcome"]) for each in record["route"]] == [("router", "broken_stream")], "nobody else was asked"
    assert record["status"] == 200 and len(router.seen) == 1
    assert said(chat(here, stream=True)) == HEARD


def test_a_json_answer_to_a_stream_is_rendered_as_one(here, router):
    router.when(lambda seen: chat_reply({**seen.json, "stream": False}), times=1)
    client = openai.OpenAI(base_url=here.url + "/v1", api_key="unused", max_retries=0)
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=CHAT, messages=HELLO, stream=True, stream_options=options))
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == HEARD
    assert chunks[-1].usage.completion_tokens == len(HEARD.split())
    assert said(chat(here, stream=True)) == HEARD


# ---- nobody is left ----


def test_when_all_are_limited_the_client_is_told_when_to_come_back(alone, router):
    here = alone
    router.when(limited(retry_after=40), token=ONE)
    router.when(limited(retry_after=20), token=TWO)
    for expected in ("router(429) router(429)", "router(cooling)"):
        reply = chat(here)
        assert (reply.status_code, route(reply)) == (429, expected)
        assert 0 < int(reply.headers["retry-after"]) <= 20, "the smallest"
        error = reply.json()["error"]
        assert (error["code"], error["type"]) == ("rate_limited", "rate_limit_error")
    assert len(router.seen) == 2
    client = openai.OpenAI(base_url=here.url + "/v1", api_key="unused", max_retries=0)
    with pytest.raises(openai.RateLimitError, match="router"):
        client.chat.completions.create(model=CHAT, messages=HELLO)


def test_a_short_limit_is_waited_out(start, router):
    here = start(policy(router, {}, max_wait="30s"), env=SECRETS)
    router.when(limited(retry_after=1), times=2)
    reply = chat(here)
    assert (reply.status_code, said(reply)) == (200, HEARD)
    assert route(reply).startswith("router(429) router(429)") and route(reply).endswith("router(200)")


def test_a_token_that_rotates_starts_clean(start, router, tmp_path):
    """`file:` secrets are read again when they change; what the old one had learned does not count for the new."""
    secret = tmp_path / "token"
    secret.write_text(ONE + "\n")
    here = start(
        {
            "tokens": {"one": {"secret": f"file:{secret}"}},
            "upstreams": {"router": {"kind": "serverless", "url": router.url, "token": "one"}},
            "models": {CHAT: {"task": "chat-completion", "route": ["router"], "fallback": {"max_wait": "100ms"}}},
        }
    )
    here.secrets += [ONE, TWO]
    router.when(bad_token(), token=ONE)
    assert chat(here).status_code == 502
    new = tmp_path / "token.new"
    new.write_text(TWO)
    new.rename(secret)
    reply = poll(lambda: (lambda got: got if got.status_code == 200 else None)(chat(here)), 30, "the new token is used")
    assert said(reply) == HEARD and router.seen[-1].token == TWO


def test_the_deadline_is_the_clients_to_shorten(alone, router):
    here = alone
    gate = threading.Event()
    router.when(lambda seen: gate.wait(60) and router.usual(seen), times=1)
    try:
        reply = here.http.post("/v1/chat/completions", json={"model": CHAT, "messages": HELLO}, headers={"x-fourways-timeout": "500ms"})
        assert reply.status_code == 504 and reply.json()["error"]["code"] == "timeout"
        assert 400 < here.record(reply)["ms"] < 10_000
    finally:
        gate.set()
    assert said(chat(here)) == HEARD
