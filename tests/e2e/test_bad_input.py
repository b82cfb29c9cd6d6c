"""What goes wrong, at each door: a status, a code and a text that names the cause and the way out; nothing sent twice; no hang, no crash."""

import base64
import contextlib
import json
import socket
import sys

import httpx
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from stubs import Chat, Custom, Reply, Router, Toolkit, chat_text, event, fingerprint, stream_of, streamed, web_page

HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
TEXT = base64.b64encode(PNG).decode()
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def toolkit(start_once):
    return start_once.keep(Toolkit())


@pytest.fixture(scope="module")
def custom(start_once):
    return start_once.keep(Custom())


@pytest.fixture(scope="module")
def llm(start_once):
    return start_once.keep(Chat())


@pytest.fixture(scope="module")
def here(start_once, toolkit, custom, llm):
    upstreams = {
        "toolkit": {"kind": "dedicated", "url": toolkit.url},
        "custom": {"kind": "dedicated", "url": custom.url, "engine": "custom", "request": {"image": "$base64"}, "answer": "/predictions"},
        "llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"},
    }
    models = {
        "org/vit": {"task": "image-classification", "aliases": ["vision"], "route": ["toolkit"]},
        "org/own": {"task": "image-classification", "route": ["custom"]},
        "org/chat": {"task": "chat-completion", "route": ["llm"]},
        "hub/*": {"route": ["llm"]},
        "untold/*": {"route": ["custom"]},
        "faults/*": {"task": "image-classification", "route": ["toolkit"]},
    }
    return start_once({"upstreams": upstreams, "models": models, "limits": {"payload_bytes": "300KiB", "json_bytes": "64KiB"}})


def read(reply):
    """Code and text of an error in whichever shape: native, Hugging Face, OpenAI."""
    assert reply.headers["content-type"] == "application/json" and "x-request-id" in reply.headers
    body = reply.json()
    if isinstance(body["error"], str):
        assert set(body) - {"error_type"} == {"error", "code"}
        return "huggingface", body["code"], body["error"]
    if "request_id" in body["error"]:
        assert body["error"]["request_id"] == reply.headers["x-request-id"]
        assert set(body["error"]) == {"code", "message", "request_id"}
        return "native", body["error"]["code"], body["error"]["message"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return "openai", body["error"]["code"], body["error"]["message"]


def body(**members):
    return {"content": json.dumps(members).encode(), "headers": JSON}


def cases():
    """id, path, request, status, code, words that the text holds."""
    native, hf, chat = "/v1/inference", "/models/org/vit", "/v1/chat/completions"
    yield "native: no such model", native, body(model="org/vti", inputs=TEXT), 404, "unknown_model", ["org/vti", "did you mean `org/vit`"]
    yield "hf: no such model", "/models/org/nothing", {"content": PNG}, 404, "unknown_model", ["org/nothing"]
    yield "openai: no such model", chat, body(model="org/cat", messages=HELLO), 404, "unknown_model", ["org/cat", "did you mean `org/chat`"]
    yield "native: no model", native, body(inputs=TEXT), 400, "invalid_model", ["`model`", "/v1/models"]
    yield "native raw: no model", native, {"content": PNG}, 400, "invalid_model", ["?model="]
    yield "openai: no model", chat, body(messages=HELLO), 400, "invalid_model", ["`model`"]
    yield (
        "native: unknown task",
        native,
        body(model="org/vit", task="image-clasification", inputs=TEXT),
        400,
        "unknown_task",
        ["did you mean `image-classification`"],
    )
    yield (
        "hf: unknown task",
        "/models/org/vit/pipeline/nonsense",
        {"content": PNG},
        400,
        "unknown_task",
        ["nonsense", "image-classification"],
    )
    yield "native: the task is not told", native, body(model="untold/x", inputs={"base64": TEXT}), 200, None, []
    yield "native: bad base64", native, body(model="org/own", inputs={"base64": "a b*"}), 400, "invalid_base64", ["base64"]
    yield "hf: bad base64", "/models/org/own", body(inputs=TEXT[:-8] + "****" + TEXT[-4:]), 400, "invalid_base64", ["base64"]
    yield (
        "native: base64 with line breaks",
        native,
        body(model="org/own", inputs={"base64": base64.encodebytes(PNG).decode()}),
        400,
        "invalid_base64",
        ["line break"],
    )
    yield "native: base64 of URLs", native, body(model="org/own", inputs={"base64": "-_-_"}), 400, "invalid_base64", ["+"]
    yield "native: base64 without its end", native, body(model="org/own", inputs={"base64": TEXT[:-2]}), 400, "invalid_base64", []
    yield "hf: broken JSON", hf, {"content": b'{"inputs": "x",}', "headers": JSON}, 400, "invalid_json", ["byte 15"]
    yield "openai: broken JSON", chat, {"content": b'{"model": "org/chat", "messages": [', "headers": JSON}, 400, "invalid_json", []
    yield (
        "openai: a member twice",
        chat,
        {"content": b'{"model":"org/chat","model":"org/vit","messages":[]}', "headers": JSON},
        400,
        "invalid_json",
        ["twice"],
    )
    yield (
        "openai: twice, once escaped",
        chat,
        {"content": b'{"model":"org/chat","mod\\u0065l":"org/vit","messages":[]}', "headers": JSON},
        400,
        "invalid_json",
        ["twice"],
    )
    yield "openai: not an object", chat, {"content": b"[]", "headers": JSON}, 400, "invalid_json", ["object"]
    yield "openai: too deep", chat, {"content": b"[" * 100_000, "headers": JSON}, 400, "invalid_json", ["64"]
    yield (
        "openai: not UTF-8",
        chat,
        {"content": b'{"model":"org/chat","messages":[{"content":"\xff"}]}', "headers": JSON},
        400,
        "invalid_json",
        ["UTF-8"],
    )
    yield "openai: empty", chat, {"content": b"", "headers": JSON}, 400, "invalid_json", ["empty"]
    yield "openai: no messages", chat, body(model="org/chat"), 400, "invalid_json", ["`messages`"]
    yield "openai: messages a text", chat, body(model="org/chat", messages="hello"), 400, "invalid_json", ["`messages`", "a list"]
    yield (
        "openai: stream a text",
        chat,
        body(model="org/chat", messages=HELLO, stream="yes"),
        400,
        "invalid_json",
        ["`stream`", "true or false"],
    )
    yield "native: a misspelt key", native, body(model="org/vit", input=TEXT), 400, "invalid_json", ["`input`", "Did you mean `inputs`"]
    yield "native: no inputs", native, body(model="org/vit"), 400, "invalid_json", ["`inputs`"]
    yield "hf: no inputs", hf, body(parameters={}), 400, "invalid_json", ["`inputs`"]
    yield "hf: parameters a list", hf, body(inputs=TEXT, parameters=[1]), 400, "invalid_json", ["`parameters`", "object"]
    yield "native: a chat at the wrong door", native, body(model="org/chat", messages=HELLO), 400, "invalid_json", ["/v1/chat/completions"]
    yield "hf: a chat model at the task door", "/models/org/chat", body(inputs="hello"), 400, "wrong_modality", ["/v1/chat/completions"]
    yield (
        "openai: no chat model",
        chat,
        body(model="org/vit", messages=HELLO),
        400,
        "wrong_modality",
        ["image-classification", "/v1/inference"],
    )
    yield "hf: sound for a picture", hf, {"content": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40)}, 400, "wrong_modality", ["audio", "image"]
    yield "hf: text for a picture", hf, {"content": PNG, "headers": {"content-type": "audio/wav"}}, 400, "wrong_modality", ["image"]
    yield "hf: over the limit", hf, {"content": b"\x89PNG" + bytes(310_000)}, 413, "body_too_large", ["limits.payload_bytes"]
    yield (
        "native: over the limit, in base64",
        native,
        body(model="org/vit", inputs=base64.b64encode(bytes(310_000)).decode()),
        413,
        "body_too_large",
        ["limits."],
    )
    yield (
        "openai: JSON over its limit",
        chat,
        body(model="org/chat", messages=[{"role": "user", "content": [{"a": "b" * 10}] * 6000}]),
        413,
        "body_too_large",
        ["limits.json_bytes"],
    )
    yield "compressed", native, {"content": PNG, "headers": {"content-encoding": "gzip"}}, 415, "unsupported_coding", ["Content-Encoding"]
    yield "no door", "/v1/nothing", body(a=1), 404, "no_such_door", ["/v1/nothing", "/v1/inference"]
    yield "no door: the base without /v1", "/chat/completions", body(model="org/chat", messages=HELLO), 404, "no_such_door", ["/v1"]
    yield "a bad deadline", hf, {"content": PNG, "headers": {"x-fourways-timeout": "soon"}}, 400, "rejected", ["x-fourways-timeout", "30s"]


@pytest.mark.parametrize("path, how, status, code, words", [pytest.param(*row[1:], id=row[0]) for row in cases()])
def test_refusals_say_why_and_what_to_do(here, toolkit, custom, llm, path, how, status, code, words):
    stubs = (toolkit, custom, llm)
    before = sum(len(each.seen) for each in stubs)
    reply = here.http.post(path, **how)
    assert reply.status_code == status, reply.text
    if code is None:
        return
    dialect, said, text = read(reply)
    shape = "huggingface" if path.startswith("/models") else "openai" if path.startswith("/v1/chat") else "native"
    assert (dialect, said) == (shape, code), reply.text
    missing = [word for word in words if word.lower() not in text.lower()]
    assert not missing, f"{text!r} does not say {missing}"
    assert len(text) < 700 and TEXT[:60] not in text
    assert sum(len(each.seen) for each in stubs) == before, "nothing went upstream"
    assert here.http.post("/models/org/vit", content=PNG).json()[0]["label"] == fingerprint(PNG)


def test_every_refusal_has_its_record(here):
    replies = [(here.http.post(path, **how), code) for _, path, how, _, code, _ in cases() if code]
    assert [(here.record(reply)["error"], here.record(reply)["status"]) for reply, _ in replies] == [
        (code, reply.status_code) for reply, code in replies
    ]


@pytest.mark.parametrize(
    "verb, path, allow",
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/models/org/vit", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
    ],
)
def test_the_wrong_method(here, verb, path, allow):
    reply = here.http.request(verb, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allow)
    assert read(reply)[1] == "method_not_allowed" and f"Use {allow.split(',')[0]}" in read(reply)[2]


# ---- through the SDKs ----


def openai_sdk(here):
    return openai.OpenAI(base_url=here.url + "/v1", api_key="unused", max_retries=0)


@pytest.mark.parametrize("stream", [False, True])
def test_openai_shows_the_cause(here, stream):
    with pytest.raises(openai.NotFoundError, match="did you mean `org/chat`") as fault:
        openai_sdk(here).chat.completions.create(model="org/cat", messages=HELLO, stream=stream)
    assert (fault.value.code, fault.value.type) == ("unknown_model", "invalid_request_error") and fault.value.request_id
    with pytest.raises(openai.BadRequestError, match="/v1/inference"):
        openai_sdk(here).chat.completions.create(model="org/vit", messages=HELLO, stream=stream)


def test_huggingface_hub_shows_the_cause(here):
    with pytest.raises(HfHubHTTPError, match="org/nothing"):
        InferenceClient(model=here.url + "/models/org/nothing", token="hf_x").image_classification(PNG)
    with pytest.raises(HfHubHTTPError, match="takes an image") as fault:
        InferenceClient(model=here.url + "/models/org/vit", token="hf_x").audio_classification(b"RIFF\x24\0\0\0WAVEfmt " + bytes(40))
    assert fault.value.response.status_code == 400
    with pytest.raises(HfHubHTTPError, match="image-classification"):
        InferenceClient(base_url=here.url + "/models/org/vit", token="hf_x").chat_completion(HELLO)


# ---- upstreams that misbehave ----

FAULTS = {
    "a web page with 200": (web_page(), 502, "unavailable", "web page"),
    "a web page with 404": (web_page(404), 404, "unsupported", "does not have this model"),
    "text with 200": (Reply("hello", content_type="text/plain"), 502, "unavailable", "not JSON"),
    "500": (Reply({"error": "boom"}, 500), 502, "unavailable", "boom"),
    "a redirect": (Reply(b"", 302, {"Location": "http://127.0.0.1:1/evil"}), 502, "upstream_redirect", "redirect"),
    "no content": (Reply(b"", 204), 502, "unavailable", ""),
    "its own refusal": (Reply({"error": "Incorrect image source. Must be a valid URL"}, 400), 400, "rejected", "Incorrect image source"),
    "422": (Reply({"detail": [{"loc": ["body", "inputs"], "msg": "field required"}]}, 422), 422, "rejected", "field required"),
    "413": (Reply({"error": "too big"}, 413), 413, "too_large", "too big"),
    "an echo of the payload": (
        Reply({"error": "Body needs to provide a inputs key, received: " + TEXT * 50}, 400),
        400,
        "rejected",
        "Body needs to provide",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_upstream_that_misbehaves(here, toolkit, name):
    fault, status, code, words = FAULTS[name]
    toolkit.when(fault, times=1)
    before = len(toolkit.seen)
    path = f"/models/faults/{name.replace(' ', '-')}"  # a model of its own: what is remembered of one is no matter to the next
    reply = here.http.post(path, content=PNG)
    assert (reply.status_code, read(reply)[1]) == (status, code), reply.text
    assert words in read(reply)[2] and len(read(reply)[2]) < 700
    assert len(toolkit.seen) == before + 1, "asked once"
    assert "location" not in reply.headers and "www-authenticate" not in reply.headers
    if code in ("rejected", "too_large", "unavailable"):
        assert here.http.post(path, content=PNG).json()[0]["label"] == fingerprint(PNG)


@pytest.mark.parametrize("form", ["raw", "base64"])
def test_parameters_that_an_engine_refuses(here, toolkit, form):
    """They are passed on as they were; the engine's words come back as one clean line, cut."""
    words = "top_k must be positive,\n\tgot -3 \x1b[31m(pipeline)\u202e " + "see the documentation " * 200
    toolkit.when(Reply({"error": words}, 400), times=1)
    before = len(toolkit.seen)
    if form == "raw":
        reply = here.http.post("/v1/inference?model=org/vit&top_k=-3", content=PNG)
    else:
        reply = here.http.post("/v1/inference", json={"model": "org/vit", "inputs": {"base64": TEXT}, "parameters": {"top_k": -3}})
    assert (reply.status_code, read(reply)[1]) == (400, "rejected")
    text = read(reply)[2]
    assert "top_k must be positive, got -3" in text and len(text) < 700
    assert not [c for c in text if ord(c) < 0x20 or c in "\x7f\u202e"]
    assert len(toolkit.seen) == before + 1, "asked once: it is the client's to repair"
    seen = toolkit.seen[-1]
    assert (seen.query.get("top_k") == "-3") if "top_k" in seen.query else seen.json["parameters"] == {"top_k": -3}
    assert here.http.post("/v1/inference?model=org/vit&top_k=3", content=PNG).status_code == 200


@pytest.mark.parametrize("status", [401, 403])
def test_an_upstream_that_refuses_our_token(start, toolkit, status):
    """Not the client's fault, so no 401 for it, and not its to repair."""
    upstreams = {"toolkit": {"kind": "dedicated", "url": toolkit.url, "token": "t"}}
    models = {"org/vit": {"task": "image-classification", "route": ["toolkit"]}}
    here = start({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": "hf_canary_refused_012345"})
    toolkit.when(Reply({"error": "Invalid token of account someone"}, status, {"WWW-Authenticate": "Bearer"}), times=1)
    reply = here.http.post("/models/org/vit", content=PNG)
    assert (reply.status_code, read(reply)[1]) == (502, "token_rejected")
    assert "token" in read(reply)[2] and "someone" not in reply.text and "www-authenticate" not in reply.headers


def test_an_upstream_that_dies_in_mid_answer(here, custom, toolkit):
    """What was cut reaches the client as cut: never as a shorter whole."""
    toolkit.when(Reply(json.dumps([{"label": "x" * 200_000, "score": 0.5}]), cut=True), times=1)
    before = len(toolkit.seen)
    with contextlib.suppress(httpx.RemoteProtocolError):
        reply = here.http.post("/models/faults/cut", content=PNG)
        assert reply.status_code == 502, "a 200 must not end"
        assert read(reply)[1] == "unavailable"
    assert len(toolkit.seen) == before + 1
    assert here.http.post("/models/faults/cut", content=PNG).status_code == 200


@pytest.mark.parametrize("cut", [True, False])
def test_a_stream_that_dies_ends_in_one_error_event(here, llm, cut):
    events = stream_of(chat_text(HELLO))[:4]
    llm.when(
        streamed(events, cut=True) if cut else streamed([*events, event({"error": {"message": "boom", "type": "server_error"}})]), times=1
    )
    words = []
    with pytest.raises(openai.APIError, match="boom|broke off|incomplete|cut|closed") as fault:
        for each in openai_sdk(here).chat.completions.create(model="org/chat", messages=HELLO, stream=True):
            words.append(each.choices[0].delta.content or "")
    assert "".join(words) and chat_text(HELLO).startswith("".join(words))
    assert fault.value.code == "broken_stream"
    stream = openai_sdk(here).chat.completions.create(model="org/chat", messages=HELLO, stream=True)
    assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == chat_text(HELLO)


def test_an_upstream_that_is_not_there(start):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        upstreams = {
            "gone": {"kind": "dedicated", "url": f"http://127.0.0.1:{reserved.getsockname()[1]}"},
            "nowhere": {"kind": "dedicated", "url": "http://nowhere.invalid"},
        }
        models = {f"org/{name}": {"task": "image-classification", "route": [name]} for name in upstreams}
        here = start({"upstreams": upstreams, "models": models})
        for name in upstreams:
            reply = here.http.post(f"/models/org/{name}", content=PNG)
            assert (reply.status_code, read(reply)[1]) == (502, "unavailable")
            assert reply.headers["x-fourways-route"].startswith(f"{name}(unavailable)")


# ---- clients that misbehave ----


def raw(here, data):
    peer = socket.create_connection(("127.0.0.1", httpx.URL(here.url).port), 30)
    peer.sendall(data)
    return peer


@pytest.mark.parametrize("size", [100, 200_000])
@pytest.mark.parametrize("kind", ["image/png", "application/json"])
def test_a_body_that_is_cut(here, toolkit, size, kind):
    """Recorded as 499; what was not whole is nobody's request."""
    start = PNG if kind == "image/png" else b'{"inputs":"' + b"A" * 50
    head = f"POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nx-request-id: cut-{size}-{kind[:5]}\r\nContent-Length: {size}\r\n\r\n"
    before = len(toolkit.seen)
    raw(here, head.encode() + start[: size // 2]).close()
    record = here.record(f"cut-{size}-{kind[:5]}")
    assert record["status"] == 499
    assert len(toolkit.seen) == before or size > 100_000
    assert here.http.post("/models/org/vit", content=PNG).status_code == 200


# ---- a worker that exits at start ----

DYING = [
    sys.executable,
    "-c",
    "import sys; print('cannot find weights of the model', file=sys.stderr); print('last words, é', file=sys.stderr); sys.exit(3)",
    "$port",
]


@pytest.fixture(scope="module")
def dying(start_once):
    router = start_once.keep(Router({"*": "image-classification"}))
    upstreams = {"sick-worker": {"kind": "local", "command": DYING}, "router": {"kind": "serverless", "url": router.url, "token": "t"}}
    alone = {"task": "image-classification", "route": ["sick-worker"]}
    models = {"org/alone": alone, "org/backed": {**alone, "route": ["sick-worker", "router"]}}
    return start_once({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": "hf_canary_of_the_dying"})


@pytest.mark.parametrize("path", ["/models/org/alone", "/v1/inference?model=org/alone"])
def test_a_worker_that_exits_at_start(dying, path):
    reply = dying.http.post(path, content=PNG)
    assert reply.status_code in (429, 502), reply.text  # 429: its back-off will end
    assert "sick-worker" in read(reply)[2]
    for words in ("cannot find weights of the model", "last words, é"):
        assert dying.logged(words, worker="sick-worker", **{"from": "worker"})
    assert "exited with status 3" in dying.logged("exited with status", worker="sick-worker")["text"]
    status = next(each for each in dying.workers() if each["model"] == "org/alone")
    assert "last words, é" in status["last_lines"] and status["crashes"] >= 1


def test_the_first_to_meet_a_dying_worker_is_told_502(start):
    models = {"org/alone": {"task": "image-classification", "route": ["sick-worker"]}}
    here = start({"upstreams": {"sick-worker": {"kind": "local", "command": DYING}}, "models": models})
    reply = here.http.post("/models/org/alone", content=PNG)
    assert (reply.status_code, read(reply)[1]) == (502, "unavailable"), reply.text
    assert "sick-worker" in read(reply)[2] and "exited with status 3" in read(reply)[2]
    assert reply.headers["x-fourways-route"].startswith("sick-worker(unavailable)")


def test_the_next_candidate_answers_for_a_dying_worker(dying):
    for _ in range(5):
        reply = dying.http.post("/models/org/backed", content=PNG)
        assert reply.json() == [{"label": fingerprint(PNG), "score": 0.5}]
        assert reply.headers["x-fourways-route"].endswith(" router(200)")


def test_a_command_that_does_not_exist(start):
    models = {"org/alone": {"task": "image-classification", "route": ["typo"]}}
    here = start({"upstreams": {"typo": {"kind": "local", "command": ["./no-such-program", "$port"]}}, "models": models})
    reply = here.http.post("/models/org/alone", content=PNG)
    assert reply.status_code == 502 and "typo" in read(reply)[2]
    assert here.logged("no-such-program")
