"""Tokens: an echo is caught wherever it stands and however it is cut, each upstream sees only its own, nobody follows a redirect with one."""

import base64
import concurrent.futures
import contextlib
import json
import re
import socket

import httpx
import pytest
from gateway import metric
from stubs import Chat, Custom, Reply, Router, Stub, Toolkit, bad_token, chat_text, fingerprint, no_permission, picture_of, stream_of, streamed

TOKEN, OTHER = "hf_CANARY0of0the0pool0first0012345", "hf_CANARY0of0the0pool0second012345"
HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 50
PICTURE = {"model": "org/vit", "inputs": base64.b64encode(PNG).decode()}
LABELS = b'[{"label": "%s", "score": 0.5}]'

# An upstream of each kind, and how a model of it is asked through each door.
KINDS = {
    "router": ({"kind": "serverless"}, "image-classification"),
    "toolkit": ({"kind": "dedicated"}, "image-classification"),
    "custom": ({"kind": "dedicated", "engine": "custom", "request": {"image": "$base64"}, "answer": "/predictions"}, "image-classification"),
    "painter": ({"kind": "dedicated"}, "text-to-image"),
    "llm": ({"kind": "dedicated", "engine": "openai"}, "chat-completion"),
    "local": ({"kind": "local", "engine": "openai"}, "chat-completion"),
}
CLASSIFY = {
    "native": ("/v1/inference", {"inputs": base64.b64encode(PNG).decode()}),
    "huggingface": ("/models/{model}", {"inputs": base64.b64encode(PNG).decode()}),
}
PAINT = {"native": ("/v1/inference", {"inputs": "a cat"}), "huggingface": ("/models/{model}", {"inputs": "a cat"})}
CHAT = {
    "openai": ("/v1/chat/completions", {"messages": HELLO}),
    "openai, streamed": ("/v1/chat/completions", {"messages": HELLO, "stream": True}),
    "huggingface": ("/models/{model}/v1/chat/completions", {"messages": HELLO}),
}
DOORS = {"image-classification": CLASSIFY, "text-to-image": PAINT, "chat-completion": CHAT}
WAYS = [(kind, door) for kind, (_, task) in KINDS.items() for door in DOORS[task]]


@pytest.fixture(scope="module")
def upstreams(start_once):
    return {
        "router": start_once.keep(Router({"*": "image-classification"})),
        "toolkit": start_once.keep(Toolkit()),
        "custom": start_once.keep(Custom()),
        "painter": start_once.keep(Toolkit("text-to-image")),
        "llm": start_once.keep(Chat()),
        "local": start_once.keep(Chat()),
    }


@pytest.fixture(scope="module")
def here(start_once, upstreams):
    made = {name: {**entry, "url": upstreams[name].url, "tokens": ["first", "second"]} for name, (entry, _) in KINDS.items()}
    models = {f"{name}/*": {"task": task, "route": [name], "fallback": {"attempts": 1}} for name, (_, task) in KINDS.items()}
    tokens = {"first": {"secret": "${FIRST}"}, "second": {"secret": "${SECOND}"}}
    return start_once({"tokens": tokens, "upstreams": made, "models": models}, env={"FIRST": TOKEN, "SECOND": OTHER})


def ask(here, kind, door, name="model"):
    """(status, all bytes that came, whether the answer ended as it should)."""
    path, body = DOORS[KINDS[kind][1]][door]
    model = f"{kind}/{name}"
    body = body if "{model}" in path else {**body, "model": model}
    got, whole = b"", False
    with here.http.stream("POST", path.format(model=model), json=body) as reply:
        head = str(reply.headers.raw).encode()
        with contextlib.suppress(httpx.RemoteProtocolError):
            for each in reply.iter_raw():
                got += each
            whole = True
    return reply.status_code, head + got, whole


def normal(here, upstreams, kind, door, name):
    upstreams[kind].calm()
    status, got, whole = ask(here, kind, door, name)
    assert (status, whole) == (200, True), got


@pytest.mark.threat("T1")
@pytest.mark.parametrize("kind,door", WAYS)
@pytest.mark.parametrize("status", [200, 400, 404, 422, 500, 503])
def test_an_echo_that_comes_byte_by_byte(here, upstreams, kind, door, status):
    """Every byte its own read. What of the answer went out before is cut there, and not one byte of the token is in it."""
    binary = kind == "painter" and status == 200
    text = b"\x89PNG" + b"x" * 40 + b"%s and more" if binary else b'{"error": "sent: %s", "label": 1}'
    name = f"bytes-{status}-{door.replace(' ', '').replace(',', '-')}"

    def echo(seen):
        body = text % seen.token.encode()
        return Reply(status=status, pieces=[body[at : at + 1] for at in range(len(body))], content_type="image/png" if binary else "application/json")

    before = metric(here.metrics(), "fourways_leaks_stopped_total")
    upstreams[kind].when(echo)
    got_status, got, whole = ask(here, kind, door, name)
    assert b"hf_C" not in got and b"CANARY" not in got, got
    if got_status == 200:
        assert not whole or b"upstream_leak" in got, "cut, or a stream's error event"
    else:
        assert got_status == 502 and b"upstream_leak" in got and whole
    assert metric(here.metrics(), "fourways_leaks_stopped_total") == before + 1
    normal(here, upstreams, kind, door, name)


@pytest.mark.threat("T1")
@pytest.mark.parametrize("kind,door", WAYS)
def test_the_pools_other_token_is_looked_for_too(here, upstreams, kind, door):
    """An origin has seen every token of its pool, so it may mix them up."""

    def echo(seen):
        other = OTHER if seen.token == TOKEN else TOKEN
        return Reply(LABELS % other.encode() if kind != "custom" else {"predictions": [other]})

    upstreams[kind].when(echo)
    name = "pool-" + door.replace(" ", "").replace(",", "-")
    status, got, _ = ask(here, kind, door, name)
    assert (status, b"upstream_leak" in got, b"CANARY" in got) == (502, True, False)
    normal(here, upstreams, kind, door, name)


@pytest.mark.threat("T1")
@pytest.mark.parametrize("kind,door", WAYS)
@pytest.mark.parametrize("status", [400, 500])
def test_a_token_in_escapes_is_not_unescaped_for_the_client(here, upstreams, kind, door, status):
    spelled = "".join(f"\\u{ord(c):04x}" for c in TOKEN[:12]) + TOKEN[12:]
    upstreams[kind].when(Reply('{"error": "bad: %s"}' % spelled, status))
    name = f"escapes-{status}-{door.replace(' ', '').replace(',', '-')}"
    got_status, got, _ = ask(here, kind, door, name)
    assert b"CANARY" not in got and TOKEN[12:].encode() not in got and got_status >= 400
    normal(here, upstreams, kind, door, name)


@pytest.mark.threat("T1")
def test_a_token_deep_in_a_long_event(here, upstreams):
    """An event over 64 KiB goes on in parts; a token in it is found all the same, also where two parts meet."""
    for where in (70_000, 65_536 - 10, 200_000):
        events = stream_of("some words")
        long = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * where
        rest = TOKEN.encode() + b"x" * 5000 + b'"}}]}\n\n'
        for cut in (0, 5, len(TOKEN) - 1):
            upstreams["llm"].when(streamed([*events[:2], long + rest[:cut], rest[cut:], *events[2:]]))
            status, got, whole = ask(here, "llm", "openai, streamed")
            assert status == 200 and b"CANARY" not in got and b"upstream_leak" in got and b"[DONE]" not in got
            assert not whole
            normal(here, upstreams, "llm", "openai, streamed", "model")  # and it is not held against it in a row


@pytest.mark.threat("T1")
def test_a_token_deep_in_a_long_document(here, upstreams):
    """A document that is kept in a file is searched while it comes."""
    for cut in (0, 7, len(TOKEN) - 1):
        text = b'{"other": "' + b"x" * 3_000_000 + TOKEN.encode() + b'", "predictions": [1]}'
        at = text.index(b"hf_") + cut
        upstreams["custom"].when(Reply(pieces=[text[:at], text[at:]]))
        status, got, _ = ask(here, "custom", "native", f"long-{cut}")
        assert (status, b"upstream_leak" in got, b"CANARY" in got) == (502, True, False)
        upstreams["custom"].calm()


def test_what_only_begins_like_a_token_arrives_whole(here, upstreams):
    """Held back for a moment, then delivered: nothing is lost, whatever the cuts."""
    picture = picture_of("x") + TOKEN[:-1].encode() + b"hf_hf_C" + TOKEN[:20].encode() * 3 + TOKEN[:9].encode()
    for size in (1, 2, 7, 33, len(picture)):
        pieces = [picture[at : at + size] for at in range(0, len(picture), size)]
        upstreams["painter"].when(Reply(pieces=pieces, content_type="image/png"))
        reply = here.http.post("/models/painter/begins", json={"inputs": "a cat"})
        assert (reply.status_code, reply.content) == (200, picture)
        reply = here.http.post("/v1/inference", json={"model": "painter/begins", "inputs": "a cat"}, headers={"accept": "application/json"})
        assert base64.b64decode(reply.json()["base64"]) == picture
    upstreams["painter"].calm()


# ---- each upstream its own ----


@pytest.mark.threat("T3")
def test_each_upstream_sees_only_its_own_token(start):
    """Two with a token each, one without, all failing now and then, asked by many at once."""
    tokens = {"a": "hf_canary_for_a_0123456789", "b": "hf_canary_for_b_0123456789", "c": None}
    stubs = {name: start.keep(Chat()) for name in tokens}
    count = iter(range(10**9))

    def sometimes(seen):
        return Reply({"error": "boom"}, 500) if next(count) % 3 == 0 else stubs["a"].usual(seen)

    for stub in stubs.values():
        stub.when(sometimes)
    policy = {
        "tokens": {name: {"secret": "${%s}" % name.upper()} for name, value in tokens.items() if value},
        "upstreams": {
            name: {"kind": "dedicated", "engine": "openai", "url": stubs[name].url, **({"token": name} if value else {})}
            for name, value in tokens.items()
        },
        "models": {
            f"org/{''.join(route)}": {"task": "chat-completion", "route": list(route)} for route in ("abc", "bca", "cab")
        },
    }
    here = start(policy, env={name.upper(): value for name, value in tokens.items() if value})

    def one(n):
        body = {"model": ("org/abc", "org/bca", "org/cab")[n % 3], "messages": [{"role": "user", "content": str(n)}], "stream": n % 2 == 0}
        return here.http.post("/v1/chat/completions", json=body).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as many:
        statuses = list(many.map(one, range(600)))
    assert statuses.count(200) > 300
    for name, value in tokens.items():
        assert len(stubs[name].seen) > 30
        assert {seen.token for seen in stubs[name].seen} == {value}
        others = [other for other in tokens.values() if other and other != value]
        assert not [seen for seen in stubs[name].seen for other in others if other in seen.head or other.encode() in seen.body]


@pytest.mark.threat("T4")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind,door", WAYS)
def test_a_redirect_is_not_followed(here, upstreams, kind, door, status):
    with Stub() as evil:
        upstreams[kind].when(Reply(b"", status, {"Location": f"{evil.url}/here"}))
        name = f"redirect-{status}-{door.replace(' ', '').replace(',', '-')}"
        got_status, got, _ = ask(here, kind, door, name)
        assert got_status == 502 and b"upstream_redirect" in got
        assert evil.url.encode() not in got and b"location" not in got.lower()
        assert evil.connections == 0
    upstreams[kind].calm()


@pytest.mark.threat("T6")
@pytest.mark.parametrize("refusal", [bad_token(), no_permission(), Reply({"error": "no"}, 401, {"WWW-Authenticate": "Basic realm=x"})])
def test_an_upstream_that_refuses_our_token_is_no_fault_of_the_client(start, refusal):
    for kind, door in WAYS:
        made = {"router": Router, "toolkit": Toolkit, "custom": Custom, "painter": Toolkit, "llm": Chat, "local": Chat}[kind]
        stub = start.keep(made())
        stub.when(refusal)
        entry, task = KINDS[kind]
        policy = {"upstreams": {kind: {**entry, "url": stub.url, "token": "t"}}, "models": {f"{kind}/*": {"task": task, "route": [kind]}}}
        here = start({**policy, "tokens": {"t": {"secret": "${T}"}}}, env={"T": TOKEN})
        status, got, _ = ask(here, kind, door)
        assert status == 502 and b"token_rejected" in got and b"authenticate" not in got.lower()
        assert metric(here.metrics(), "fourways_attempts_total", outcome="token_rejected") == 1


@pytest.mark.threat("T6")
def test_an_upstream_that_wants_a_token_and_has_none(start):
    """Who runs the gateway reads which key of the policy is missing."""
    stub = start.keep(Toolkit())
    stub.when(Reply({"error": "Unauthorized"}, 401))
    upstreams = {"bare": {"kind": "dedicated", "url": stub.url}}
    here = start({"upstreams": upstreams, "models": {"*": {"task": "image-classification", "route": ["bare"]}}})
    reply = here.http.post("/models/org/vit", content=PNG)
    assert reply.status_code == 502
    assert "`upstreams.bare`" in reply.json()["error"] and "`token:`" in reply.json()["error"], reply.text


@pytest.mark.threat("T8")
def test_a_key_in_the_query(start):
    key = "hf_key_in_a_query_0123456789"
    llm = start.keep(Chat())
    policy = {
        "upstreams": {"llm": {"kind": "dedicated", "engine": "openai", "url": llm.url}},
        "models": {"org/chat": {"task": "chat-completion", "route": ["llm"]}},
        "clients": {"app": {"keys": ["sha256:" + fingerprint(key)]}},
    }
    here = start(policy)
    here.secrets.append(key)
    for name in ("api_key", "key", "token", "access_token", "authorization"):
        for path in ("/v1/chat/completions", "/models/org/chat", "/v1/inference", "/nowhere"):
            reply = here.http.post(f"{path}?{name}={key}", json={"model": "org/chat", "messages": HELLO})
            assert reply.status_code == 401 and key not in reply.text
            here.record(reply)
    assert llm.seen == []


# ---- to each client its own ----


@pytest.mark.threat("T9")
def test_answers_reach_who_asked(start):
    """Pipelined, retried over two upstreams, cancelled in the middle: what comes is always one's own."""
    count = iter(range(10**9))
    first, second = start.keep(Chat()), start.keep(Chat())
    first.when(lambda seen: Reply({"error": "boom"}, 500) if next(count) % 4 == 0 else first.usual(seen))
    upstreams = {name: {"kind": "dedicated", "engine": "openai", "url": stub.url} for name, stub in (("a", first), ("b", second))}
    here = start({"upstreams": upstreams, "models": {"org/chat": {"task": "chat-completion", "route": ["a", "b"]}}})
    port = httpx.URL(here.url).port

    def request(words, stream):
        body = json.dumps({"model": "org/chat", "messages": [{"role": "user", "content": words}], "stream": stream}).encode()
        return b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def client(n):
        for round in range(12):
            mine = [f"client {n} round {round} request {at}" for at in range(3)]
            with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
                wire.sendall(b"".join(request(words, (n + at) % 2 == 0) for at, words in enumerate(mine)))
                if (n + round) % 3 == 0:
                    wire.recv(50)  # and away
                    continue
                got = b""
                wanted = [chat_text([{"content": words}]).split(" ") for words in mine]
                while not all(part.encode() in got for words in wanted for part in words):
                    block = wire.recv(65536)
                    assert block, got
                    got += block
                places = [got.index(words[1].encode()) for words in wanted]
                assert places == sorted(places), "in order"
                assert got.count(b"HTTP/1.1 200") == 3
                known = {part for words in wanted for part in words} | {"heard"}
                said = set(re.findall(rb'"content": ?" ?([0-9a-f]{8})"', got))
                assert {each.decode() for each in said} <= known, "nobody else's words"
        return True

    with concurrent.futures.ThreadPoolExecutor(24) as many:
        assert all(many.map(client, range(24)))
