"""All ways that a request may take: every door, to every kind of upstream, in clear text and over TLS; each with an upstream of its own.

One gateway has them all, so that a test costs a request and not a start.
"""

import base64
import dataclasses
import json

import trustme
from raw_client import RawClient
from raw_upstream import RawUpstream, answering, chunk, http
from tls_server import server

TOKEN = "hf_canary_of_all_ways_0123456789"
PNG = b"\x89PNG\r\n\x1a\n0000"
HELLO = [{"role": "user", "content": "hello"}]
LABELS = [{"label": "first", "score": 0.5}, {"label": "second", "score": 0.25}]

SERVERLESS = {"kind": "serverless"}
TOOLKIT = {"kind": "dedicated", "engine": "toolkit"}
CUSTOM = {"kind": "dedicated", "engine": "custom", "request": {"image": "$base64"}, "answer": "/predictions"}
OPENAI = {"kind": "dedicated", "engine": "openai"}
LOCAL = {"kind": "local", "engine": "toolkit"}
LOCAL_OPENAI = {"kind": "local", "engine": "openai"}


@dataclasses.dataclass
class Way:
    door: str  # json, bytes: native; path: Hugging Face's; chat, stream: OpenAI's
    upstream: dict
    tls: bool
    task: str = "image-classification"

    @property
    def name(self):
        up = self.upstream.get("engine", self.upstream["kind"]) + ("_local" if self.upstream["kind"] == "local" else "")
        return f"{self.door}-{up}-{'tls' if self.tls else 'clear'}" + ("-image" if self.task == "text-to-image" else "")

    def __str__(self):
        return self.name

    @property
    def chats(self):
        return self.door in ("chat", "stream")

    def request(self):
        """path, body, content type"""
        model = f"org/{self.name}"
        if self.chats:
            return "/v1/chat/completions", json.dumps({"model": model, "messages": HELLO, "stream": self.door == "stream"}).encode(), None
        if self.task == "text-to-image":
            if self.door == "path":
                return f"/models/{model}", b'{"inputs":"a cat"}', None
            return "/v1/inference", json.dumps({"model": model, "inputs": "a cat"}).encode(), None
        if self.door == "json":
            return "/v1/inference", json.dumps({"model": model, "inputs": {"base64": "iVBORw0KGgo="}}).encode(), None
        return (f"/models/{model}" if self.door == "path" else f"/v1/inference?model={model}"), PNG, "image/png"

    # ---- what its upstream says ----

    @property
    def media_type(self):
        return "text/event-stream" if self.door == "stream" else "image/png" if self.task == "text-to-image" else "application/json"

    @property
    def pieces(self):
        """A good answer's body, in two pieces, the first of which holds content."""
        if self.door == "stream":
            first = b"data: " + json.dumps({"id": "1", "choices": [{"index": 0, "delta": {"content": "hi "}}]}).encode() + b"\n\n"
            end = {"id": "1", "choices": [{"index": 0, "delta": {"content": "you"}, "finish_reason": "stop"}]}
            return first, b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n"
        if self.task == "text-to-image":
            return PNG + b"x" * 1000, b"y" * 1000
        body = {"predictions": LABELS, "took": 3} if self.upstream is CUSTOM else LABELS
        if self.chats:
            body = {"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi you"}, "finish_reason": "stop"}]}
        text = json.dumps(body).encode()
        return text[:30], text[30:]

    def good(self, _=None):
        return http(b"".join(self.pieces), self.media_type)

    def is_good(self, answer):
        """What the client got is that answer."""
        if answer is None or answer.status != 200 or not answer.whole:
            return False
        if self.door == "stream":
            return answer.body == b"".join(self.pieces)
        if self.task == "text-to-image":
            return self.image_of(answer) == b"".join(self.pieces)
        return json.loads(answer.body) == (LABELS if not self.chats else json.loads(b"".join(self.pieces)))

    def image_of(self, answer):
        return base64.b64decode(json.loads(answer.body)["base64"]) if self.door == "json" else answer.body

    @property
    def translated(self):
        """The answer is read whole before the client gets a byte."""
        return self.upstream is CUSTOM


WAYS = [
    Way("json", SERVERLESS, False),
    Way("json", CUSTOM, True),
    Way("bytes", TOOLKIT, True),
    Way("bytes", LOCAL, False),
    Way("path", TOOLKIT, False),
    Way("path", SERVERLESS, True),
    Way("path", CUSTOM, False),
    Way("chat", OPENAI, True),
    Way("chat", SERVERLESS, False),
    Way("chat", LOCAL_OPENAI, False),
    Way("stream", OPENAI, False),
    Way("stream", SERVERLESS, True),
    Way("stream", LOCAL_OPENAI, True),
]
IMAGES = [
    Way("json", TOOLKIT, False, "text-to-image"),
    Way("path", SERVERLESS, True, "text-to-image"),
]


def named(*names):
    """These of the ways."""
    found = [way for way in WAYS + IMAGES if way.name in names]
    assert len(found) == len(names), names
    return found


class World:
    """The gateway, and the upstream of each way by its name."""

    def __init__(self, keep, folder, ways, **timeout):
        company = trustme.CA()
        company.cert_pem.write_to_path(folder / "company.pem")
        tls = server(company.issue_cert("127.0.0.1"))
        self.ways = {way.name: way for way in ways}
        self.ups = {way.name: keep(RawUpstream(answering(way.good), tls=tls if way.tls else None)) for way in ways}
        self.asked = 0

        def upstream(way):
            trust = {"ca_file": str(folder / "company.pem")} if way.tls else {}
            return {**way.upstream, "url": self.ups[way.name].url, "token": "t", "timeout": timeout, **trust}

        self.policy = {
            "tokens": {"t": {"secret": "${T}"}},
            "upstreams": {way.name: upstream(way) for way in ways},
            "models": {f"org/{way.name}": {"task": "chat-completion" if way.chats else way.task, "route": [way.name]} for way in ways},
        }
        self.env = {"T": TOKEN}

    def start(self, start, **more):
        self.here = start({**self.policy, **more}, env=self.env, threads=1)  # one pool
        return self

    def connect(self, **how):
        return RawClient(self.here.url, **how)

    def send(self, client, way, **how):
        """The request of this way; its id."""
        self.asked += 1
        name = f"way-{self.asked}"
        path, body, kind = way.request()
        accept = ["accept: application/json"] if way.door == "json" else []  # of an image: as base64
        client.post(path, body, kind or "application/json", [f"x-request-id: {name}", *accept], **how)
        return name

    def ask(self, way):
        """Its answer, and the id of the request."""
        with self.connect() as client:
            name = self.send(client, way)
            return client.answer(), name

    def lift(self, way):
        """The fault is over: a normal request succeeds."""
        up = self.ups[way.name]
        up.script = answering(way.good)
        up.drop()
        before = len(up.requests)
        answer, _ = self.ask(way)
        assert way.is_good(answer), answer
        assert len(up.requests) == before + 1


def code_of(answer):
    error = json.loads(answer.body)
    return error["code"] if isinstance(error["error"], str) else error["error"]["code"]


def refused(answer, status=502, code="unavailable"):
    """A complete error, and nothing before it."""
    assert answer is not None and answer.whole, answer
    assert (answer.status, code_of(answer)) == (status, code), answer.raw
    assert TOKEN.encode() not in answer.raw


def outcomes(record):
    return [each["outcome"] for each in record["route"]]


def framed(way, framing):
    """Head and first piece of a good answer; what would follow."""
    first, rest = way.pieces
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + way.media_type.encode() + b"\r\n"
    if framing == "sized":
        return head + b"content-length: %d\r\n\r\n" % len(first + rest) + first
    if framing == "chunked":
        return head + b"transfer-encoding: chunked\r\n\r\n" + chunk(first)
    return head + b"\r\n" + first
