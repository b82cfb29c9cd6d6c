"""Every key under `limits:`: just below it a request passes, over it the client is told which key it was, and nobody else notices."""

import base64
import contextlib
import hashlib
import itertools
import json
import socket
import threading
import time

import pytest
import trustme
from gateway import metric
from peer import Peer
from processes import poll
from stubs import Chat, Reply, Stub, Toolkit, fingerprint

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
HELLO = [{"role": "user", "content": "hello"}]
IDS = (f"limit-{number}" for number in itertools.count())


def text(payload):
    return base64.b64encode(payload).decode()


class Door:
    """A way in: where, and what a good body is. `with_payload(bytes)`, `with_json(member)`: good bodies that hold these."""

    def __init__(self, name, path, kind, model=None, stream=False):
        self.name, self.path, self.kind, self.model, self.stream = name, path, kind, model, stream

    @property
    def type(self):
        return "image/png" if self.kind == "raw" else "application/json"

    def with_payload(self, payload):
        if self.kind == "raw":
            return payload
        return self.with_json(inputs=text(payload)) if self.kind == "json" else self.with_json(messages=[{"role": "user", "content": text(payload)}])

    def with_json(self, **members):
        good = {"inputs": text(PNG)} if self.kind == "json" else {"messages": HELLO}
        good |= {"model": self.model} if self.model else {}
        good |= {"stream": True} if self.stream else {}
        return json.dumps(good | members).encode()

    def with_x(self, value):
        """A good body with a member `x` somewhere in it, as deep as `depth_of_x`."""
        return self.with_json(x=value) if self.kind == "chat" else self.with_json(parameters={"x": value})

    @property
    def depth_of_x(self):
        return 1 if self.kind == "chat" else 2

    @property
    def good(self):
        return self.with_payload(PNG) if self.kind == "raw" else self.with_json()

    def head(self, size, *fields, path=None, request_id="", pad=0):
        lines = [f"POST {path or self.path} HTTP/1.1", "Host: localhost"]
        lines += [f"X-Request-Id: {request_id}"] if request_id else []
        lines += [f"Content-Type: {self.type}", *([] if size is None else [f"Content-Length: {size}"]), *fields]
        head = "\r\n".join(lines) + "\r\n"
        if pad:
            head += "X-Pad: " + "p" * (pad - len(head) - len("X-Pad: \r\n\r\n")) + "\r\n"
        return (head + "\r\n").encode()

    def request(self, body=None, *fields, **how):
        body = self.good if body is None else body
        return self.head(len(body), *fields, **how) + body


DOORS = [
    Door("native", "/v1/inference", "json", "org/vit"),
    Door("native raw", "/v1/inference?model=org/vit", "raw"),
    Door("hf", "/models/org/vit", "json"),
    Door("hf raw", "/hf-inference/models/org/vit/pipeline/image-classification", "raw"),
    Door("hf chat", "/models/org/chat/v1/chat/completions", "chat", "org/chat"),
    Door("hf chat streamed", "/models/org/chat/v1/chat/completions", "chat", "org/chat", stream=True),
    Door("openai", "/v1/chat/completions", "chat", "org/chat"),
    Door("openai streamed", "/v1/chat/completions", "chat", "org/chat", stream=True),
]
# Each door both ways, though not each limit at each door both ways.
EVERY_DOOR = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
JSON_DOORS = pytest.mark.parametrize("door", [door for door in DOORS if door.kind != "raw"], ids=lambda door: door.name)
PAYLOAD_DOORS = pytest.mark.parametrize("door", [door for door in DOORS if door.kind != "chat"], ids=lambda door: door.name)
WIRES = pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])


@pytest.fixture(scope="module")
def company():
    return trustme.CA()


@pytest.fixture(scope="module")
def listen(company, tmp_path_factory):
    """Both listeners of every gateway here."""
    folder = tmp_path_factory.mktemp("tls")
    company.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "gateway.pem")
    return ["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": {name: str(folder / "gateway.pem") for name in ("certificate", "key")}}]


@pytest.fixture(scope="module")
def toolkit(start_once):
    return start_once.keep(Toolkit())


@pytest.fixture(scope="module")
def llm(start_once):
    return start_once.keep(Chat())


class Limited:
    """A gateway with limits, its upstreams, and a connection on which somebody else is served meanwhile."""

    def __init__(self, gateway, company, *stubs):
        self.gateway, self.company, self.stubs = gateway, company, stubs
        self.other = Peer(gateway.url)

    def peer(self, secure=False, **how):
        return Peer(self.gateway.urls[1 if secure else 0], self.company, **how)

    @property
    def seen(self):
        """Requests that arrived upstream with all of their body."""
        return sum(len(each.body) == int(each.field("content-length") or 0) for stub in self.stubs for each in list(stub.seen))

    def others_are_served(self):
        """On a connection that was there before, and on a new one."""
        for peer in (self.other, self.peer()):
            peer.send(DOORS[3].request())
            answer = peer.answer()
            assert (answer.status, answer.json[0]["label"]) == (200, fingerprint(PNG)), answer
        peer.close()

    def refused(self, peer, request_id, status, code, key, closed):
        """What a refusal is: status, code, a text that names the key; nothing went upstream; one record; nobody else noticed."""
        before = self.seen
        answer = peer.answer()
        assert answer is not None and answer.whole, "no answer"
        said, words = answer.error
        assert (answer.status, said) == (status, code), answer
        assert key in words, words
        if closed:
            assert answer.fields.get("connection") == "close" and peer.ended()
        else:
            peer.send(DOORS[1].request())
            assert peer.answer().status == 200, "the connection is kept"
            before += 1
        record = self.gateway.record(answer.fields["x-request-id"])
        assert (record["status"], record["error"]) == (status, code)
        if request_id:
            assert answer.fields["x-request-id"] == request_id
        assert self.seen == before, "nothing went upstream"
        self.others_are_served()
        assert len([each for each in self.gateway.records if each["request_id"] == answer.fields["x-request-id"]]) == 1
        peer.close()
        return answer


def policy(listen, toolkit, llm, **limits):
    upstreams = {"toolkit": {"kind": "dedicated", "url": toolkit.url}, "llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"}}
    models = {
        "org/vit": {"task": "image-classification", "route": ["toolkit"]},
        "org/chat": {"task": "chat-completion", "route": ["llm"]},
    }
    return {"listen": listen, "upstreams": upstreams, "models": models, "limits": limits}


# ---- sizes ----

PAYLOAD, JSON_SIZE, DEPTH, TOKENS, HEAD, FIELDS, TARGET = 96 * 1024, 8 * 1024, 8, 200, 4096, 20, 1024


@pytest.fixture(scope="module")
def sized(start_once, listen, company, toolkit, llm):
    limits = {"payload_bytes": PAYLOAD, "json_bytes": JSON_SIZE, "json_depth": DEPTH, "json_tokens": TOKENS}
    limits |= {"header_bytes": HEAD, "header_fields": FIELDS, "target_bytes": TARGET}
    return Limited(start_once(policy(listen, toolkit, llm, **limits)), company, toolkit, llm)


def passes(here, secure, request):
    with here.peer(secure) as peer:
        peer.send(request)
        answer = peer.answer()
        assert answer.status == 200 and answer.whole, answer
        peer.send(DOORS[1].request())
        assert peer.answer().status == 200, "the connection is kept"


@pytest.mark.limit("header_bytes")
@EVERY_DOOR
@WIRES
def test_a_large_head(sized, door, secure):
    passes(sized, secure, door.request(pad=HEAD))
    request_id = next(IDS)
    peer = sized.peer(secure).send(door.request(pad=HEAD + 1, request_id=request_id))
    sized.refused(peer, request_id, 431, "header_too_large", "`limits.header_bytes`", closed=True)


@pytest.mark.limit("header_bytes")
def test_a_head_without_an_end(sized):
    peer = sized.peer().send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2 * HEAD)
    sized.refused(peer, None, 431, "header_too_large", "`limits.header_bytes`", closed=True)


@pytest.mark.limit("header_fields")
@EVERY_DOOR
@WIRES
def test_many_fields(sized, door, secure):
    more = [f"X-{number}: 1" for number in range(FIELDS - 3)]
    passes(sized, secure, door.request(None, *more))
    request_id = next(IDS)
    peer = sized.peer(secure).send(door.request(None, *more, request_id=request_id))
    sized.refused(peer, request_id, 431, "header_too_large", "`limits.header_fields`", closed=True)


@pytest.mark.limit("target_bytes")
@EVERY_DOOR
@WIRES
def test_a_long_target(sized, door, secure):
    longest = door.path + ("&" if "?" in door.path else "?") + "x="
    longest += "x" * (TARGET - len(longest))
    if door.name != "native":  # which takes parameters in its JSON only
        passes(sized, secure, door.request(path=longest))
    peer = sized.peer(secure).send(door.request(path=longest + "x"))
    sized.refused(peer, None, 414, "target_too_long", "`limits.target_bytes`", closed=True)


@pytest.mark.limit("payload_bytes")
@pytest.mark.threat("D3")
@PAYLOAD_DOORS
@WIRES
def test_a_large_payload(sized, door, secure):
    """By its length before a byte of it is read; a 100 is not said either."""
    payload = (PNG * (PAYLOAD // len(PNG) + 1))[:PAYLOAD]
    passes(sized, secure, door.request(door.with_payload(payload)))
    request_id = next(IDS)
    size = PAYLOAD + 1 if door.kind == "raw" else 4 * PAYLOAD // 3 + JSON_SIZE + 1
    peer = sized.peer(secure).send(door.head(size, "Expect: 100-continue", request_id=request_id))
    sized.refused(peer, request_id, 413, "body_too_large", "`limits.payload_bytes`", closed=True)
    assert sized.gateway.record(request_id)["bytes_in"] == 0


@pytest.mark.limit("payload_bytes")
@pytest.mark.threat("D3")
@PAYLOAD_DOORS
@WIRES
def test_a_large_payload_in_chunks(sized, door, secure):
    """Its size is known as it comes: refused at the limit, and not read to its end."""
    request_id = next(IDS)
    start = b"" if door.kind == "raw" else door.with_json(inputs="")[:-2]
    peer = sized.peer(secure).send(door.head(None, "Transfer-Encoding: chunked", request_id=request_id))
    with contextlib.suppress(OSError):
        for each in [start] * bool(start) + [b"A" * 8192] * (2 * PAYLOAD // 8192):
            peer.send(b"%x\r\n%s\r\n" % (len(each), each))
    sized.refused(peer, request_id, 413, "body_too_large", "`limits.payload_bytes`", closed=True)
    assert sized.gateway.record(request_id)["bytes_in"] <= (PAYLOAD if door.kind == "raw" else 4 * PAYLOAD // 3 + JSON_SIZE) + 64 * 1024


@pytest.mark.limit("payload_bytes")
@pytest.mark.parametrize("door", [DOORS[0], DOORS[2]], ids=lambda door: door.name)
def test_a_payload_counts_decoded(sized, door):
    """3 bytes more than the limit, in a body that is far from too long."""
    payload = (PNG * (PAYLOAD // len(PNG) + 1))[: PAYLOAD + 3]
    request_id = next(IDS)
    peer = sized.peer().send(door.request(door.with_payload(payload), request_id=request_id))
    sized.refused(peer, request_id, 413, "body_too_large", "`limits.payload_bytes`", closed=False)


@pytest.mark.limit("json_bytes")
@JSON_DOORS
@WIRES
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_large_json_apart_from_the_payload(sized, door, secure, chunked):
    room = JSON_SIZE - len(door.with_x(""))
    passes(sized, secure, door.request(door.with_x("x" * room)))
    request_id = next(IDS)
    body = door.with_x("x" * (room + 1))
    if chunked:
        peer = sized.peer(secure).send(door.head(None, "Transfer-Encoding: chunked", request_id=request_id))
        peer.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    else:
        peer = sized.peer(secure).send(door.request(body, request_id=request_id))
    sized.refused(peer, request_id, 413, "body_too_large", "`limits.json_bytes`", closed=chunked)


@pytest.mark.limit("json_depth")
@pytest.mark.threat("D4")
@JSON_DOORS
@WIRES
def test_deep_json(sized, door, secure):
    def deep(depth):
        return door.with_x(0).replace(b'"x": 0', b'"x": ' + (depth - door.depth_of_x) * b"[" + (depth - door.depth_of_x) * b"]")

    passes(sized, secure, door.request(deep(DEPTH)))
    request_id = next(IDS)
    peer = sized.peer(secure).send(door.request(deep(DEPTH + 1), request_id=request_id))
    sized.refused(peer, request_id, 400, "invalid_json", "`limits.json_depth`", closed=False)


@pytest.mark.limit("json_tokens")
@JSON_DOORS
@WIRES
def test_json_of_many_values(sized, door, secure):
    def many(count):
        return door.with_x([0] * count)

    def tokens(value):
        if isinstance(value, dict):
            return 1 + sum(1 + tokens(each) for each in value.values())
        return 1 + sum(map(tokens, value)) if isinstance(value, list) else 1

    room = TOKENS - tokens(json.loads(many(0)))
    passes(sized, secure, door.request(many(room)))
    request_id = next(IDS)
    peer = sized.peer(secure).send(door.request(many(room + 1), request_id=request_id))
    sized.refused(peer, request_id, 400, "invalid_json", "`limits.json_tokens`", closed=False)


@pytest.mark.threat("D4")
@JSON_DOORS
def test_members_that_decide_stand_once(sized, door):
    for member in ("model", "stream", "inputs", "messages"):
        body = door.with_json()[:-1] + b', "%s": 1, "%s": 2}' % (member.encode(), member[:-1].encode() + b"\\u%04x" % ord(member[-1]))
        request_id = next(IDS)
        peer = sized.peer().send(door.request(body, request_id=request_id))
        answer = sized.refused(peer, request_id, 400, "invalid_json", "twice", closed=False)
        assert member in json.dumps(answer.json) or "key" in answer.error[1]


@pytest.mark.threat("D6")
@EVERY_DOOR
@pytest.mark.parametrize("coding", ["gzip", "deflate, gzip", "br", "identity, gzip", "zstd"])
def test_content_codings(sized, door, coding):
    request_id = next(IDS)
    peer = sized.peer().send(door.request(None, f"Content-Encoding: {coding}", request_id=request_id))
    sized.refused(peer, request_id, 415, "unsupported_coding", "Content-Encoding", closed=True)
    passes(sized, False, door.request(None, "Content-Encoding: identity"))


@EVERY_DOOR
def test_expectations(sized, door):
    request_id = next(IDS)
    peer = sized.peer().send(door.head(len(door.good), "Expect: 200-ok", request_id=request_id))
    sized.refused(peer, request_id, 417, "expectation_failed", "Expect", closed=True)
    with sized.peer().send(door.head(len(door.good), "Expect: 100-continue")) as peer:
        assert peer.answer().status == 100
        assert peer.send(door.good).answer().status == 200


# ---- what an upstream may send ----


class RawUpstream:
    """Answers every request with `answer`, bytes as they are."""

    def __init__(self):
        self.answer, self.seen = b"", []
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.server.accept()
                threading.Thread(target=self.one, args=(peer,), daemon=True).start()

    def one(self, peer):
        with contextlib.suppress(OSError), peer:
            held = b""
            while block := peer.recv(65536):
                held += block
                head, mark, body = held.partition(b"\r\n\r\n")
                if mark and len(body) >= int(dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:]).get(b"content-length", 0)):
                    self.seen.append(held)
                    peer.sendall(self.answer)
                    held = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.close()


@pytest.fixture(scope="module")
def raw_upstream(start_once):
    return start_once.keep(RawUpstream())


@pytest.fixture(scope="module")
def answered(start_once, listen, company, toolkit, raw_upstream):
    limits = {"response_header_bytes": 2048, "response_header_fields": 12, "response_interim": 2}
    upstreams = {
        "bytes": {"kind": "dedicated", "url": raw_upstream.url},
        "chats": {"kind": "dedicated", "url": raw_upstream.url, "engine": "openai"},
        "toolkit": {"kind": "dedicated", "url": toolkit.url},
    }
    vit = {"task": "image-classification", "route": ["bytes"]}
    models = {"org/vit": {**vit, "route": ["toolkit"]}, "raw/*": vit, "chat/*": {"task": "chat-completion", "route": ["chats"]}}
    gateway = start_once({"listen": listen, "upstreams": upstreams, "models": models, "limits": limits})
    return Limited(gateway, company, toolkit)


LABELS = b'[{"label":"a","score":1}]'
CHAT = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": HELLO[0]}]}).encode()
EVENTS = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
EVENTS += b"data: [DONE]\n\n"


def answer_of(door, before=b"", pad=0, fields=0):
    body = EVENTS if door.stream else CHAT if door.kind == "chat" else LABELS
    kind = b"text/event-stream" if door.stream else b"application/json"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n" % (kind, len(body))
    head += b"".join(b"x-%d: 1\r\n" % number for number in range(fields - 2))
    if pad:
        head += b"x-pad: %s\r\n" % (b"p" * (pad - len(head) - len("x-pad: \r\n\r\n")))
    return before + head + b"\r\n" + body


RESPONSES = {
    "response_header_bytes": (lambda door: answer_of(door, pad=2048), lambda door: answer_of(door, pad=2049)),
    "response_header_fields": (lambda door: answer_of(door, fields=12), lambda door: answer_of(door, fields=13)),
    "response_interim": (
        lambda door: answer_of(door, b"HTTP/1.1 102 Processing\r\n\r\n" * 2),
        lambda door: answer_of(door, b"HTTP/1.1 102 Processing\r\n\r\n" * 3),
    ),
}


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("response_header_bytes", marks=[pytest.mark.limit("response_header_bytes"), pytest.mark.fault("R")]),
        pytest.param("response_header_fields", marks=[pytest.mark.limit("response_header_fields"), pytest.mark.fault("R")]),
        pytest.param("response_interim", marks=[pytest.mark.limit("response_interim"), pytest.mark.fault("N")]),
    ],
)
@EVERY_DOOR
def test_an_upstreams_head(answered, raw_upstream, door, key):
    fits, too_much = (make(door) for make in RESPONSES[key])
    name = f"{'chat' if door.kind == 'chat' else 'raw'}/{key.replace('_', '-')}-{door.name.replace(' ', '-')}"  # rests of others are nothing to it
    mine = Door(door.name, door.path.replace("org/vit", name).replace("org/chat", name), door.kind, door.model and name, door.stream)
    secure = DOORS.index(door) % 2 == 1
    raw_upstream.answer = fits
    with answered.peer(secure).send(mine.request()) as peer:
        assert peer.answer().status == 200
    raw_upstream.answer = too_much
    before = len(raw_upstream.seen)
    with answered.peer(secure).send(mine.request()) as peer:
        answer = peer.answer()
    assert (answer.status, answer.error[0]) == (502, "unavailable"), answer
    assert f"`limits.{key}`" in answer.error[1]
    assert len(raw_upstream.seen) == before + 1, "asked once"
    answered.others_are_served()


# ---- times ----


@pytest.fixture(scope="module")
def timed(start_once, listen, company, toolkit, llm):
    limits = {"header_timeout": "200ms", "body_grace": "200ms", "body_min_rate": "16KiB", "idle_timeout": "300ms", "write_timeout": "300ms"}
    made = policy(listen, toolkit, llm, **limits, waiting_comment="100ms")
    return Limited(start_once(made), company, toolkit, llm)


@pytest.fixture(autouse=True)
def rested(request):
    """The other's connection of a gateway with time limits may have idled too long between two tests."""
    if "timed" in request.fixturenames:
        timed = request.getfixturevalue("timed")
        timed.other.close()
        timed.other = Peer(timed.gateway.url)


def drip(peer, data):
    """A byte each 20 ms, as slow clients do, until there is an answer."""
    patience = peer.socket.gettimeout()
    peer.socket.settimeout(0.02)
    for each in data:
        with contextlib.suppress(TimeoutError):
            peer.send(bytes([each]))
            peer.more()
            break
    peer.socket.settimeout(patience)


@pytest.mark.limit("header_timeout")
@pytest.mark.threat("D1")
@EVERY_DOOR
@WIRES
@pytest.mark.parametrize("how", ["stops", "drips"])
def test_a_slow_head(timed, door, secure, how):
    began = time.monotonic()
    head = door.request(None, *(f"X-{number}: 1" for number in range(50)))
    peer = timed.peer(secure)
    peer.send(head[:30])
    if how == "drips":
        drip(peer, head[30:])
    answer = peer.answer()
    assert 0.1 < time.monotonic() - began < 4
    assert (answer.status, answer.error[0]) == (408, "request_timeout") and "`limits.header_timeout`" in answer.error[1]
    assert answer.fields["connection"] == "close" and peer.ended()
    assert timed.gateway.record(answer.fields["x-request-id"])["error"] == "request_timeout"


@pytest.mark.limit("body_grace", "body_min_rate")
@pytest.mark.threat("D1")
@EVERY_DOOR
@WIRES
@pytest.mark.parametrize("how", ["stops", "drips", "after a start"])
def test_a_slow_body(timed, door, secure, how):
    """Also one that came fast at first: what it saved up then is not to be spent byte by byte."""
    began, before = time.monotonic(), timed.seen
    body = door.with_payload(PNG * 2000)  # bytes go on while they come, JSON when it is whole
    request_id = next(IDS)
    peer = timed.peer(secure)
    peer.send(door.head(len(body), request_id=request_id))
    sent = len(body) - 2000 if how == "after a start" else 100
    peer.send(body[:sent])
    if how != "stops":
        drip(peer, body[sent:])
    answer = peer.answer()
    assert time.monotonic() - began < 6
    assert (answer.status, answer.error[0]) == (408, "request_timeout"), answer
    assert "`limits.body_min_rate`" in answer.error[1] and "`limits.body_grace`" in answer.error[1]
    assert answer.fields["connection"] == "close" and peer.ended()
    assert timed.gateway.record(request_id)["status"] == 408
    assert timed.seen == before, "nothing whole went upstream"


@pytest.mark.limit("body_grace", "body_min_rate")
@pytest.mark.threat("D1", "F4")
@WIRES
@pytest.mark.parametrize("kind", ["image/png", "application/json", None])
def test_a_slow_chunk_extension(timed, secure, kind):
    """Bytes that are no payload do not count as a body that comes; also while its first byte is to tell what it is."""
    request_id = next(IDS)
    fields = ["POST /v1/inference?model=org/vit HTTP/1.1", "Host: localhost", f"X-Request-Id: {request_id}", "Transfer-Encoding: chunked"]
    fields += [f"Content-Type: {kind}"] if kind else []
    peer = timed.peer(secure)
    began, before = time.monotonic(), timed.seen
    peer.send("\r\n".join(fields).encode() + b"\r\n\r\n5;")
    drip(peer, b"x" * 500)
    assert time.monotonic() - began < 6
    answer = peer.answer()
    assert (answer.status, answer.error[0]) == (408, "request_timeout"), answer
    assert answer.fields["connection"] == "close" and peer.ended()
    assert timed.gateway.record(request_id)["status"] == 408
    assert timed.seen == before


@pytest.mark.limit("body_grace", "body_min_rate")
def test_a_body_that_is_steady_enough(timed):
    """Longer than the grace, with pauses shorter than it."""
    door = DOORS[3]
    body = PNG * 700
    with timed.peer() as peer:
        peer.send(door.head(len(body)))
        pause = threading.Event()
        for at in range(0, len(body), 16 * 1024):
            peer.send(body[at : at + 16 * 1024])
            pause.wait(0.05)
        assert peer.answer().json[0]["label"] == fingerprint(body)


@pytest.mark.limit("idle_timeout")
@WIRES
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "kept"])
def test_an_idle_connection(timed, secure, used):
    """Closed without a word: nobody asked anything."""
    peer = timed.peer(secure)
    if used:
        assert peer.send(DOORS[1].request()).answer().status == 200
    began = time.monotonic()
    assert peer.ended()
    assert 0.2 < time.monotonic() - began < 6
    timed.other = timed.peer()
    timed.others_are_served()


@pytest.mark.limit("header_timeout")
@pytest.mark.threat("D1")
def test_a_slow_handshake(timed):
    peer = Peer(timed.gateway.urls[1].replace("https", "http"))
    peer.send(b"\x16\x03\x01\x02")
    began = time.monotonic()
    assert peer.ended()
    assert 0.1 < time.monotonic() - began < 4


LARGE = 24 << 20
MOST_KEPT = 2 << 20  # by us and by the kernel, for one client that does not read


@pytest.mark.limit("write_timeout")
@pytest.mark.fault("Z")
@pytest.mark.threat("D1")
@pytest.mark.parametrize("door", [DOORS[0], DOORS[3], DOORS[6], DOORS[7]], ids=lambda door: door.name)
@WIRES
def test_a_client_that_does_not_read(timed, toolkit, llm, door, secure):
    """Cut at the limit, and the upstream is not read on for it."""
    stub = llm if door.kind == "chat" else toolkit
    if door.stream:
        reply = Reply(content_type="text/event-stream", pieces=(EVENTS[:-14] for _ in range(LARGE // len(EVENTS))))
    else:
        reply = Reply((CHAT if door.kind == "chat" else LABELS) + b" " * LARGE)
    stub.when(reply, times=1)
    request_id = next(IDS)
    peer = timed.peer(secure, receive=4096)
    peer.send(door.request(request_id=request_id))
    record = timed.gateway.record(request_id)
    assert record["status"] == 499 and record["bytes_out"] < MOST_KEPT
    got = 0
    while block := peer.more():
        got += len(block)
        peer.held = b""
    assert got < MOST_KEPT, "what was cut is not whole"
    timed.other = timed.peer()
    timed.others_are_served()


@pytest.mark.limit("waiting_comment")
@pytest.mark.parametrize("door", [DOORS[5], DOORS[7]], ids=lambda door: door.name)
@WIRES
def test_a_stream_that_waits(timed, llm, door, secure):
    released = threading.Event()

    def slowly(seen):
        released.wait(30)
        return Reply(content_type="text/event-stream", pieces=[EVENTS])

    llm.when(slowly, times=1)
    with timed.peer(secure).send(door.request()) as peer:
        assert peer.upto(b": waiting\n\n"), "a comment before the answer"
        released.set()
        assert peer.upto(b"[DONE]"), "then the answer"


# ---- connections ----


@pytest.mark.limit("connections")
@pytest.mark.threat("D2")
@WIRES
def test_more_connections_than_there_may_be(start, listen, company, toolkit, llm, secure):
    gateway = start(policy(listen, toolkit, llm, connections=5))
    peers = [Peer(gateway.urls[number % 2], company) for number in range(5)]
    for number, peer in enumerate(peers):
        assert peer.send(DOORS[number].request()).answer().status == 200
    before = len(toolkit.seen) + len(llm.seen)
    for _ in range(40):  # each is told, and none hangs
        peer = Peer(gateway.urls[1 if secure else 0], company)
        with contextlib.suppress(OSError):
            peer.send(DOORS[0].request())
        answer = peer.answer()
        assert (answer.status, answer.error[0]) == (429, "overloaded"), answer
        assert "`limits.connections`" in answer.error[1] and " 5" in answer.error[1]
        assert answer.fields["retry-after"] == "1" and answer.fields["connection"] == "close" and peer.ended()
        peer.close()
        assert gateway.record(answer.fields["x-request-id"])["error"] == "overloaded"
    assert len(toolkit.seen) + len(llm.seen) == before
    assert metric(gateway.metrics(), "fourways_connections_refused_total") == 40
    for number, peer in enumerate(peers):
        assert peer.send(DOORS[number].request()).answer().status == 200, "those that were there do not notice"
    peers[0].close()
    poll(lambda: Peer(gateway.urls[0]).send(DOORS[0].request()).answer().status == 200, what="a place that became free")
    for peer in peers:
        peer.close()


KEYS = {"one": "hf_canary_client_one_0123456789", "two": "hf_canary_client_two_0123456789"}


@pytest.mark.limit("connections_per_client")
@pytest.mark.threat("D2")
@EVERY_DOOR
@WIRES
def test_more_connections_than_one_client_may_have(keyed, company, door, secure):
    gateway, toolkit, llm = keyed
    url = gateway.urls[1 if secure else 0]
    key, other = ([f"Authorization: Bearer {KEYS[name]}"] for name in ("one", "two"))
    peers = [Peer(gateway.urls[number % 2], company) for number in range(3)]
    for peer in peers:
        poll(lambda peer=peer: peer.send(door.request(None, *key)).answer().status == 200)
    before = len(toolkit.seen) + len(llm.seen)
    request_id = next(IDS)
    with Peer(url, company) as peer:
        answer = peer.send(door.request(None, *key, request_id=request_id)).answer()
        openai = door.path.startswith("/v1/chat")
        assert (answer.status, answer.error[0]) == (503 if openai else 429, "overloaded"), answer
        assert "`limits.connections_per_client`" in answer.error[1] and " 3" in answer.error[1]
        assert answer.fields["retry-after"] == "1" and answer.fields["connection"] == "close" and peer.ended()
    record = gateway.record(request_id)
    assert (record["client"], record["error"]) == ("one", "overloaded")
    assert len(toolkit.seen) + len(llm.seen) == before
    with Peer(url, company) as peer:
        assert peer.send(door.request(None, *other)).answer().status == 200, "another client does not notice"
    # A connection counts for the key that it showed last.
    assert peers[0].send(door.request(None, *other)).answer().status == 200
    with Peer(url, company) as peer:
        assert peer.send(door.request(None, *key)).answer().status == 200
        for each in peers:
            each.close()


@pytest.fixture(scope="module")
def keyed(start_once, listen, toolkit, llm):
    clients = {name: {"keys": ["sha256:" + hashlib.sha256(key.encode()).hexdigest()]} for name, key in KEYS.items()}
    return start_once({**policy(listen, toolkit, llm, connections_per_client=3), "clients": clients}), toolkit, llm


@pytest.mark.limit("connections_per_client")
def test_without_keys_an_address_is_a_client(start, listen, company, toolkit, llm):
    gateway = start(policy(listen, toolkit, llm, connections_per_client=2))
    idle = [Peer(gateway.url) for _ in range(10)]  # that have asked nothing are nobody's
    peers = [Peer(gateway.urls[number], company) for number in range(2)]
    for peer in peers:
        assert peer.send(DOORS[0].request()).answer().status == 200
    answer = idle[0].send(DOORS[0].request()).answer()
    assert (answer.status, answer.error[0]) == (429, "overloaded") and "this address" in answer.error[1]
    assert idle[1].send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status == 200, "a health check is nobody's"
    peers[0].close()
    poll(lambda: Peer(gateway.url).send(DOORS[0].request()).answer().status == 200, what="a place that became free")
    for peer in (*idle, *peers):
        peer.close()
