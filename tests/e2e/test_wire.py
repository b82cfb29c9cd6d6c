"""Literal bytes from tests/data/wire, as clients with no manners send them: what is answered, whether the connection lives, what went upstream."""

import collections
import hashlib
import itertools
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse

import pytest
import trustme
from processes import TOP, poll
from stubs import Router, chat_reply
from wire_cases import DOORS, MODEL_DOORS, read_cases
from wire_client import Incoming

TOKEN = "hf_CANARY_of_the_gateway_0123456789"
KEY = DOORS[""].pieces["key"].decode()
CASES = read_cases()
PATIENCE = 30  # seconds, for one read
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"

# What an answer may tell, and nothing beside it.
FIELDS = {"date", "content-type", "content-length", "transfer-encoding", "connection", "allow", "retry-after", "cache-control"}
FIELDS |= {"x-accel-buffering", "x-request-id", "x-fourways-route", "x-fourways-upstream"}
INTERNALS = ["boost", "beast", "asio", ".cpp", "std::", "gw::", "exception", "openssl", "simdjson", "terminate called", str(TOP)]


@pytest.fixture(scope="module")
def upstream(start_once):
    return start_once.keep(Router({"*": "image-classification"}))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def here(start_once, upstream, authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    tls = {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
    image, chat = ({"task": task, "route": ["router"]} for task in ("image-classification", "chat-completion"))
    policy = {
        "listen": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": tls}],
        "tokens": {"t": {"secret": "${T}"}},
        "upstreams": {"router": {"kind": "serverless", "url": upstream.url, "token": "t"}},
        "models": {"org/vit": image, "org/chat": chat, "*": {"route": ["router"]}},
        "clients": {"tester": {"keys": ["sha256:" + hashlib.sha256(KEY.encode()).hexdigest()]}},
    }
    gateway = start_once(policy, env={"T": TOKEN})
    gateway.ledger = []  # of every reply: request id and status
    gateway.left = 0  # clients that left before their request was whole
    return gateway


@pytest.fixture(scope="module")
def dial(here, authority):
    """dial("clear") or dial("tls"): a new connection."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    addresses = {("tls" if url.startswith("https") else "clear"): ("127.0.0.1", int(url.rpartition(":")[2])) for url in here.urls}

    def connect(wire):
        peer = socket.create_connection(addresses[wire], PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wire == "tls":
            peer = context.wrap_socket(peer, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        return peer

    return connect


# ---- one exchange ----


def at_once(data, _):
    return [data]


def byte_by_byte(data, _):
    """The middle of long ones in pieces."""
    if len(data) < 1500:
        return [data[at : at + 1] for at in range(len(data))]
    first, middle, last = data[:300], data[300:-50], data[-50:]
    pieces = [middle[at : at + 1400] for at in range(0, len(middle), 1400)]
    return [*byte_by_byte(first, ()), *pieces, *byte_by_byte(last, ())]


def cut(data, case):
    """In the first line, within the blank line behind the head, behind it, before the last byte, and where the case says."""
    blank = data.find(b"\r\n\r\n")
    places = {8, blank + 3, blank + 4, len(data) - 1, *case.cuts} if blank >= 0 else {8, len(data) - 1, *case.cuts}
    places = sorted(each for each in places if 0 < each < len(data))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


DELIVERIES = [at_once, byte_by_byte, cut]


def check_told(reply):
    """An answer tells what it has to and nothing about us."""
    assert {name for name, _ in reply.fields} <= FIELDS, reply.head
    told = reply.head.encode() + reply.body
    assert KEY.encode() not in told and TOKEN.encode() not in told and b"127.0.0.1" not in told
    if reply.status >= 400:
        assert reply.field("content-type") == "application/json", reply.head
        words = reply.body.decode().lower()
        assert not [each for each in INTERNALS if each in words], words
        body = json.loads(reply.body) if words else {"error": {}}
        if "request_id" in body["error"]:
            assert body["error"]["request_id"] == reply.field("x-request-id")


def play(here, dial, wire, case, door, delivery):
    data = case.bytes(door)
    with dial(wire) as peer:
        heads_only = data.startswith(b"HEAD ")
        incoming = Incoming(peer, heads_only)
        for piece in delivery(data, case):
            peer.sendall(piece)
        sent = time.monotonic()
        if case.fin:
            socket.socket.shutdown(peer, socket.SHUT_WR)  # of a TLS socket too: it goes on reading
        if case.then == "kept":
            incoming.until(len(case.replies))
            replies = list(incoming.replies)
            incoming.heads_only = False
            peer.sendall(HEALTH)
            incoming.until(len(replies) + 1)
            assert incoming.data == b"" and incoming.replies[-1].body == b'{"status":"ok"}'
        else:
            incoming.to_the_end()
            replies = incoming.replies
        took = time.monotonic() - sent
    here.left += not replies
    here.ledger += [(each.field("x-request-id"), each.status) for each in incoming.replies if each.status != 100]

    assert [each.status for each in replies] == [
        reply.status if reply.status in statuses else statuses for reply, (statuses, _) in zip(replies, case.replies, strict=False)
    ] and len(replies) == len(case.replies), f"{replies} and not {case.replies}"
    for reply, (_, code) in zip(replies, case.replies, strict=True):
        check_told(reply)
        if not heads_only:
            assert reply.code == code, reply
    if case.then == "closed" and replies:
        assert replies[-1].field("connection") == "close"
    told = b"\n".join(each.head.encode() + b"\n\n" + each.body for each in replies).lower()
    assert not [each for each in case.expand(case.has, door) if each.lower() not in told], told
    assert not [each for each in case.expand(case.lacks, door) if each.lower() in told], told
    return took


def check_upstream(upstream, seen, case, door):
    """What arrived there since `seen` requests had."""
    arrived = upstream.seen[seen:]
    assert len(arrived) == case.upstream, f"{len(arrived)} requests upstream: {arrived}"
    for each in arrived:
        assert each.all("authorization") == [f"Bearer {TOKEN}"]
        assert each.field("host") == upstream.url.removeprefix("http://")
        assert len(each.all("content-length")) == (each.method == "POST") and not each.all("transfer-encoding")
    told = b"\n".join(each.head.encode("latin-1") + b"\n\n" + each.body for each in arrived).lower()
    assert KEY.lower().encode() not in told
    assert not [each for each in case.expand(case.upstream_has, door) if each.lower() not in told], told
    assert not [each for each in case.expand(case.upstream_lacks, door) if each.lower() in told], told


def good(here, dial, wire):
    """A request that is in order, on a connection of its own."""
    with dial(wire) as peer:
        peer.sendall(DOORS["chat"].pieces["good"])
        incoming = Incoming(peer)
        incoming.until(1)
    (reply,) = incoming.replies
    here.ledger.append((reply.field("x-request-id"), reply.status))
    return reply


def marked(case):
    marks = [pytest.mark.wire_case(case.name)]
    for kind, ids in (("threat", case.ids), ("limit", case.limits)):
        marks += [getattr(pytest.mark, kind)(*ids)] if ids else []
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("wire", ["clear", "tls"])
@pytest.mark.parametrize("case", [marked(each) for each in CASES])
def test_case(here, upstream, dial, wire, case, record_property):
    times = []
    for door in case.doors:
        for delivery in DELIVERIES:
            seen, connections = len(upstream.seen), upstream.connections
            try:
                times.append(play(here, dial, wire, case, door, delivery))
                check_upstream(upstream, seen, case, door)
                assert case.upstream or upstream.connections == connections
            except BaseException as fault:
                fault.add_note(f"{case.name}: {case.why}\n{door or 'as it stands'}, {wire}, {delivery.__name__}\n{case.bytes(door)[:2000]!r}")
                raise
    assert case.within is None or min(times) * 1000 < case.within, times
    assert good(here, dial, wire).status == 200, "a request in order, after these"
    record_property("deliveries", len(times))


# ---- what takes more than bytes ----


# The doors that no case of a file goes through: they differ behind the framing only, and this shows that they do.
OTHER_DOORS = {"/v1/completions": "prompt", "/v1/embeddings": "input", "/v1/images/generations": "prompt", "/v1/audio/speech": "input"}


@pytest.mark.threat("F1", "F3", "F4", "F5", "D3", "D4", "D6", "R1")
@pytest.mark.parametrize("wire", ["clear", "tls"])
@pytest.mark.parametrize("path", OTHER_DOORS)
def test_the_other_doors_of_openai(here, upstream, dial, wire, path):
    key = f"Authorization: Bearer {KEY}"
    good, size = b'{"model":"org/chat","%s":"x"}' % OTHER_DOORS[path].encode(), "Content-Length: %d"
    cases = [
        (400, "bad_framing", [key, size % len(good), "Transfer-Encoding: chunked"], good),
        (400, "bad_framing", [key, size % len(good), size % len(good)], good),
        (400, "bad_chunk", [key, "Transfer-Encoding: chunked"], b"2\n{}\r\n0\r\n\r\n"),
        (401, "unauthenticated", ["Transfer-Encoding: chunked"], b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(good), good, key.encode())),
        (413, "body_too_large", [key, size % 99999999999, "Expect: 100-continue"], b""),
        (415, "unsupported_coding", [key, "Content-Encoding: gzip", size % 3], b"\x1f\x8b\x08"),
        (400, "invalid_json", [key, size % 100_000], b"[" * 100_000),
        (400, "invalid_json", [key, size % (len(good) + 18)], good[:-1] + b',"model":"org/vit"}'),
        (400, "invalid_model", [key, size % (len(good) + 13)], good.replace(b"org/chat", b"http://127.0.0.1:9/x/")),
    ]
    before = len(upstream.seen)
    for status, code, fields, body in cases:
        head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", "Content-Type: application/json", "Connection: close", *fields])
        with dial(wire) as peer:
            incoming = Incoming(peer)
            peer.sendall(head.encode() + b"\r\n\r\n" + body)
            incoming.to_the_end()
        (reply,) = incoming.replies
        here.ledger.append((reply.field("x-request-id"), reply.status))
        assert (reply.status, reply.code) == (status, code), reply
        check_told(reply)
    assert len(upstream.seen) == before


@pytest.mark.threat("F13")
@pytest.mark.parametrize("wire", ["clear", "tls"])
@pytest.mark.parametrize("door", MODEL_DOORS)
def test_a_client_that_waits_for_100(here, upstream, dial, wire, door):
    """It is told to go on once its head is in order, and then sends the body."""
    pieces, seen = DOORS[door].pieces, len(upstream.seen)
    with dial(wire) as peer:
        peer.sendall(pieces["post"] + b"Expect: 100-continue\r\nContent-Length: " + pieces["size"] + b"\r\n\r\n")
        incoming = Incoming(peer)
        incoming.until(1)
        assert incoming.replies[0].status == 100 and len(upstream.seen) == seen
        peer.sendall(pieces["body"])
        incoming.until(2)
        peer.sendall(HEALTH)
        incoming.until(3)
    assert [each.status for each in incoming.replies] == [100, 200, 200] and len(upstream.seen) == seen + 1
    here.ledger += [(each.field("x-request-id"), each.status) for each in incoming.replies[1:]]


def refused_with_a_body(dial, wire, length):
    """A refusal (of the key) with a body of `length` that is yet to come."""
    peer = dial(wire)
    peer.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer WRONG\r\nContent-Length: %d\r\n\r\n" % length)
    incoming = Incoming(peer)
    incoming.until(1)
    return peer, incoming


@pytest.mark.threat("F12")
@pytest.mark.parametrize("wire", ["clear", "tls"])
def test_an_unread_body_is_discarded_for_a_while(here, dial, wire):
    """None of it is read as a request, the answer stays whole, and the connection ends at the client's own end."""
    victim = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n\r\n"
    size = 4 << 20
    peer, incoming = refused_with_a_body(dial, wire, size)
    with peer:
        peer.sendall(victim * (size // len(victim)))
        assert incoming.read() == b"", "our side is closed, theirs is read on"
    assert [(each.status, each.code) for each in incoming.replies] == [(401, "unauthenticated")]
    here.ledger += [(each.field("x-request-id"), each.status) for each in incoming.replies]


@pytest.mark.threat("F12")
@pytest.mark.parametrize("sends", [False, True])
def test_but_not_for_ever(here, dial, sends):
    """2 s or 16 MiB, then it is closed under a client that neither leaves nor stops."""
    peer, incoming = refused_with_a_body(dial, "clear", 1 << 30)
    here.ledger += [(each.field("x-request-id"), each.status) for each in incoming.replies]
    with peer:
        assert incoming.read() == b""
        sent, began = 0, time.monotonic()
        with pytest.raises(ConnectionError):
            if not sends:
                poll(lambda: peer.sendall(b"x"), 40, "a closed connection")  # 20 times as long
            while time.monotonic() < began + 40:
                peer.sendall(bytes(65536))
                sent += 65536
        assert sent < 320 << 20


@pytest.mark.threat("F12", "F11")
@pytest.mark.parametrize("wire", ["clear", "tls"])
@pytest.mark.parametrize(
    "request_", [b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"G\r\n"]
)
def test_an_answer_survives_what_is_sent_behind_it(here, dial, wire, request_):
    """The client writes on for a megabyte before it reads."""
    with dial(wire) as peer:
        peer.sendall(request_ + b"x" * (1 << 20))
        incoming = Incoming(peer)
        incoming.to_the_end()
    assert len(incoming.replies) == 1
    here.ledger += [(each.field("x-request-id"), each.status) for each in incoming.replies]


@pytest.mark.threat("F11")
@pytest.mark.parametrize("wire", ["clear", "tls"])
def test_one_at_a_time(here, upstream, dial, wire):
    """What is pipelined behind a request goes upstream when that one is answered, not before."""
    good, seen, go_on = DOORS["chat"].pieces["good"], len(upstream.seen), threading.Event()
    upstream.when(lambda request: go_on.wait(PATIENCE) and chat_reply(request.json), times=1)
    with dial(wire) as peer, dial(wire) as other:
        peer.sendall(good + good)
        poll(lambda: len(upstream.seen) == seen + 1, what="the first, upstream")
        other.sendall(good)
        incoming, beside = Incoming(peer), Incoming(other)
        beside.until(1)
        assert len(upstream.seen) == seen + 2 and not incoming.replies, "only another connection's went there meanwhile"
        go_on.set()
        incoming.until(2)
    assert len(upstream.seen) == seen + 3
    here.ledger += [(each.field("x-request-id"), each.status) for each in incoming.replies + beside.replies]
    assert [each.status for each in incoming.replies + beside.replies] == [200, 200, 200]


@pytest.fixture
def evil():
    """An address that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield "http://127.0.0.1:%d" % server.getsockname()[1]
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.threat("R2", "R3")
@pytest.mark.parametrize("stream", [False, True])
def test_addresses_in_a_request_are_data(here, upstream, evil, stream):
    names = ("base_url", "api_base", "endpoint", "provider_url", "api_key", "x-base-url", "url", "proxy", "callback")
    chat = {"model": "org/chat", "messages": [{"role": "user", "content": evil}], "stream": stream, **{name: evil + "/" + name for name in names}}
    fields = {"Authorization": f"Bearer {KEY}", **{"x-" + name: evil for name in ("base-url", "api-base", "upstream", "forwarded-host", "target")}}
    seen = len(upstream.seen)
    reply = here.http.post("/v1/chat/completions", json=chat, headers=fields)
    assert reply.status_code == 200 and len(upstream.seen) == seen + 1
    assert upstream.seen[-1].json["base_url"] == evil + "/base_url" and evil.partition("//")[2] not in upstream.seen[-1].head
    here.ledger.append((reply.headers["x-request-id"], 200))

    for path, body in [
        ("/v1/inference", {"model": "org/vit", "inputs": evil + "/picture.png"}),
        ("/models/org/vit", {"inputs": evil + "/picture.png"}),
        ("/models/org/vit", {"inputs": {"url": evil}, "parameters": {"endpoint": evil}}),
        ("/v1/inference", {"model": "org/vit", "inputs": {"base64": "iVBORw0KGgo=", "url": evil}}),
    ]:
        reply = here.http.post(path, json=body, headers=fields)
        assert reply.status_code in (200, 400, 422, 502), reply.text
        here.ledger.append((reply.headers["x-request-id"], reply.status_code))


def walks():
    """Ways to write a path that leads elsewhere."""
    dots = ["..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "..;", "..%00", "%c0%ae%c0%ae", "%uff0e%uff0e", "%e0%80%ae", "....", "..%01", ".%09.", "..\\"]
    slashes = ["/", "%2f", "\\", "%5c", "%255c", "%252f", "%c0%af", "//", "/./", ";/"]
    ends = ["etc/passwd", "api/whoami-v2", "v1/chat/completions", "hf-inference/models/a/b"]
    for dot, slash, end in itertools.product(dots, slashes, ends):
        yield (dot + slash) * 3 + end
        yield "org" + slash + dot + slash + end


@pytest.mark.threat("R5", "F10", "R1")
def test_paths_that_walk(here, upstream):
    """Refused, or one path segment of an upstream's path: it always begins with the prefix of what was asked."""
    statuses = collections.Counter()
    body = DOORS["hf"].pieces["body"]
    with socket.create_connection(("127.0.0.1", int(here.url.rpartition(":")[2])), PATIENCE) as peer:
        for way in walks():
            for path in ("/models/" + way, "/hf-inference/models/org/vit/" + way, "/v1/models/" + way, "/v1/inference?model=" + way):
                head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
                peer.sendall(head.encode() + body)
                incoming = Incoming(peer)
                incoming.until(1)
                (reply,) = incoming.replies
                here.ledger.append((reply.field("x-request-id"), reply.status))
                statuses[reply.status] += 1
                check_told(reply)
                if reply.field("connection") == "close":
                    assert incoming.read() == b""
                    peer.close()
                    peer = socket.create_connection(("127.0.0.1", int(here.url.rpartition(":")[2])), PATIENCE)
    assert set(statuses) <= {400, 404, 405}, statuses
    assert statuses.total() > 1000


def naughty():
    """Strings that break whoever writes them into a line, a field, a query or a path."""
    yield from ("", " ", "\t", "\n", "\r", "\n\n", "\0", "a\0b", "\x7f", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\ufeff", "\ufffe", "\uffff", "\u0085")
    yield from ("\u2028", "\u2029", "a\u2028b", "\u202e\u202dtest", "\u200b", "\u2060", "\U000e0001", "\U0001f4a9", "\U0001f468\u200d\U0001f469", "Z\u0351\u036b\u0343")
    yield from ('"', "'", "\\", '\\"', '"}', '"},{"a":"b', '{"request_id":"x"}', '\n{"forged":true}\n', "\\u0000", "\\ud800", "\\x41", "%00", "%0d%0a", "%n%s%x%d", "%99999s")
    yield from ("${jndi:ldap://evil/a}", "$(id)", "`id`", "; id", "| id", "&& id", "../../etc/passwd", "<script>alert(1)</script>", "<!--", "]]>", "&#0;", "' OR 1=1--", "{{7*7}}", "#{7*7}", "${7*7}")
    yield from ("nil", "null", "undefined", "true", "NaN", "Infinity", "-0", "1e400", "0x7fffffff", "9" * 400, "1/0", "NULL", "CON", "aux", "COM1", "None", "hasOwnProperty", "__proto__", "constructor")
    yield from ("\u30b9" * 200, "a" * 600, "\u00e9" * 512, "\U0001f4a9" * 128, "b" * 511 + "\u00e9", "b" * 510 + "\u20ac", "b" * 509 + "\U0001f4a9", "\u06de\u0615", "\u05d1\u05e8\u05d0\u05e9", "\ufdfa")
    yield from (chr(each) for each in range(1, 32))
    yield from (f"x{chr(each)}y" for each in range(0x7F, 0xC0))
    yield from (chr(each) for each in range(0xFFF0, 0x10000))
    yield from (chr(each) for each in range(0x1F600, 0x1F620))
    yield from (chr(each) for each in range(0x2000, 0x2070))
    yield from (f"%{each:02x}" for each in range(32))


def broken_bytes():
    """What is no UTF-8: alone, cut, overlong, surrogates, beyond the end."""
    yield from (bytes([each]) for each in range(0x80, 0x100))
    yield from (b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x92", b"\xc0\x80", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xff\xfe", b"\xf8\x88\x80\x80\x80")


def answered(here):
    """How many records there are of requests that got an answer."""
    return sum(each["status"] != 499 for each in list(here.records))


@pytest.mark.threat("R11", "R6")
def test_strings_that_break_logs(here):
    """As path, model, user agent and request id, in words and in bytes: one record each, and every line is one JSON object."""
    strings = [each.encode() for each in naughty()] + list(broken_bytes())
    assert len(strings) > 500
    address = ("127.0.0.1", int(here.url.rpartition(":")[2]))
    key = f"Authorization: Bearer {KEY}\r\n".encode()
    post = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + key

    def body(model):
        content = b'{"model":' + model + b',"messages":[{"role":"user","content":"x"}]}'
        return post + b"Content-Length: %d\r\n\r\n%s" % (len(content), content)

    poll(lambda: answered(here) >= len(here.ledger), what="the records of what went before")
    before, asked = answered(here), 0
    peer = socket.create_connection(address, PATIENCE)
    for text in strings:
        words = json.dumps(text.decode("utf-8", "replace")).encode()
        quoted = urllib.parse.quote_from_bytes(text, safe="").encode()
        for request in (
            b"GET /" + text + b" HTTP/1.1\r\nHost: a\r\n" + key + b"\r\n",
            b"GET /v1/models/" + quoted + b" HTTP/1.1\r\nHost: a\r\n" + key + b"\r\n",
            b"GET /" + quoted + b"?model=" + quoted + b" HTTP/1.1\r\nHost: a\r\n" + key + b"\r\n",
            b"GET /v1/models HTTP/1.1\r\nHost: a\r\nUser-Agent: " + text + b"\r\nX-Request-Id: " + text + b"\r\n" + key + b"\r\n",
            body(words),
            body(b'"' + text + b'"'),
            body(b'"org/chat","task":' + words),
        ):
            peer.sendall(request)
            incoming = Incoming(peer)
            incoming.until(1)
            assert len(incoming.replies) == 1
            (reply,) = incoming.replies
            check_told(reply)
            assert 200 <= reply.status < 500 or reply.status == 501, reply
            here.ledger.append((reply.field("x-request-id"), reply.status))
            asked += 1
            if reply.field("connection") == "close":
                peer.close()
                peer = socket.create_connection(address, PATIENCE)
    peer.close()
    poll(lambda: answered(here) - before >= asked, what=f"{asked} records")
    assert asked > 3500 and answered(here) - before == asked
    lines = [line.rstrip("\n") for line in here.told_]
    assert not [line for line in lines if re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", line)]
    assert max(map(len, lines)) < 5000


# ---- the end: of all that was asked above ----


@pytest.mark.threat("R16", "T8")
def test_every_reply_has_its_one_record(here):
    """And tells nothing but what it has to: check_told() looked at each."""
    assert len(here.ledger) > 100
    poll(lambda: len(here.records) >= len(here.ledger) + here.left, what="the records")
    told = collections.Counter((each["request_id"], each["status"]) for each in here.records if each["status"] != 499)
    replied = collections.Counter(here.ledger)
    missing, extra = replied - told, told - replied
    assert sum(each["status"] == 499 for each in here.records) == here.left
    assert not missing and not extra, f"{list(missing.items())[:5]} without a record, {list(extra.items())[:5]} without a reply"
    assert KEY not in "".join(here.told_) and KEY not in here.metrics()
