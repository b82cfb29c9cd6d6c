"""Literal bytes from tests/data/wire, as clients with no manners send them: what is answered, whether the connection lives, what went upstream."""

import hashlib
import json
import socket
import ssl

import pytest
import trustme
from processes import TOP, poll
from stubs import Router
from wire_cases import DOORS, read_cases

TOKEN = "hf_CANARY_of_the_gateway_0123456789"
KEY = DOORS[""].pieces["key"].decode()
CASES = read_cases()
PATIENCE = 30  # seconds, for one read
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"

# What an answer may tell, and nothing beside it.
FIELDS = {"date", "content-type", "content-length", "transfer-encoding", "connection", "allow", "retry-after", "cache-control"}
FIELDS |= {"x-accel-buffering", "x-request-id", "x-fourways-route", "x-fourways-upstream"}
INTERNALS = ["boost", "beast", "asio", ".cpp", "std::", "gw::", "exception", "openssl", "simdjson", "0x7f", str(TOP)]


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
    gateway.errors = set()
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


class Reply:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body
        self.head = "\n".join(f"{name}: {value}" for name, value in fields)

    def field(self, name):
        found = [value for each, value in self.fields if each == name]
        assert len(found) < 2, f"{name} twice"
        return found[0] if found else None

    @property
    def code(self):
        """Of an error in any of the three shapes."""
        if self.status < 400:
            return None
        body = json.loads(self.body)
        return body["code"] if isinstance(body["error"], str) else body["error"]["code"]

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


def parse(data, head_only):
    """The first whole reply in `data`, strictly, and what follows; None: there is more to come."""
    head, mark, rest = data.partition(b"\r\n\r\n")
    if not mark:
        return None
    first, *lines = head.split(b"\r\n")
    version, status, _ = first.split(b" ", 2)
    assert version == b"HTTP/1.1" and not any(each in line for line in lines for each in (b"\r", b"\n", b"\0")), head
    fields = [(name.decode().lower(), value.strip().decode()) for name, _, value in (line.partition(b":") for line in lines)]
    reply = Reply(int(status), fields, b"")
    length, coding = reply.field("content-length"), reply.field("transfer-encoding")
    if reply.status == 100 or head_only:
        return reply, rest
    if coding is None:
        assert length is not None, head
        if len(rest) < int(length):
            return None
        reply.body, rest = rest[: int(length)], rest[int(length) :]
        return reply, rest
    assert coding == "chunked" and length is None, head
    while True:
        size, mark, rest = rest.partition(b"\r\n")
        if not mark or len(rest) < int(size, 16) + 2:
            return None
        reply.body, rest = reply.body + rest[: int(size, 16)], rest[int(size, 16) :]
        assert rest[:2] == b"\r\n"
        rest = rest[2:]
        if int(size, 16) == 0:
            return reply, rest


class Incoming:
    """The replies of one connection. Whatever is not a clean end (a reset, a TLS stream without its close_notify) raises."""

    def __init__(self, peer, heads_only=False):
        self.peer, self.heads_only = peer, heads_only
        self.data, self.replies = b"", []

    def take(self):
        while (parsed := parse(self.data, self.heads_only)) is not None:
            reply, self.data = parsed
            self.replies.append(reply)

    def read(self):
        block = self.peer.recv(65536)
        self.data += block
        self.take()
        return block

    def until(self, count):
        while len(self.replies) < count:
            assert self.read(), f"ended after {self.replies} {self.data!r}"

    def to_the_end(self):
        while self.read():
            pass
        assert self.data == b"", f"half a reply: {self.data!r}"


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
        incoming = Incoming(peer, heads_only=data.startswith(b"HEAD "))
        for piece in delivery(data, case):
            peer.sendall(piece)
        if case.fin:
            socket.socket.shutdown(peer, socket.SHUT_WR)  # of a TLS socket too: it goes on reading
        if case.then == "kept":
            incoming.until(len(case.replies))
            replies = list(incoming.replies)
            peer.sendall(HEALTH)
            incoming.until(len(replies) + 1)
            assert incoming.data == b"" and (incoming.heads_only or incoming.replies[-1].body == b'{"status":"ok"}')
        else:
            incoming.to_the_end()
            replies = incoming.replies
    here.ledger += [(each.field("x-request-id"), each.status) for each in incoming.replies if each.status != 100]

    assert [each.status for each in replies] == [
        reply.status if reply.status in statuses else statuses for reply, (statuses, _) in zip(replies, case.replies, strict=False)
    ] and len(replies) == len(case.replies), f"{replies} and not {case.replies}"
    for reply, (_, code) in zip(replies, case.replies, strict=True):
        check_told(reply)
        if not incoming.heads_only:
            assert reply.code == code, reply
    if case.then == "closed" and replies:
        assert replies[-1].field("connection") == "close"
    told = b"\n".join(each.head.encode() + b"\n\n" + each.body for each in replies).lower()
    assert not [each for each in case.expand(case.has, door) if each.lower() not in told], told
    assert not [each for each in case.expand(case.lacks, door) if each.lower() in told], told


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
    count = 0
    for door in case.doors:
        for delivery in DELIVERIES:
            seen, connections = len(upstream.seen), upstream.connections
            try:
                play(here, dial, wire, case, door, delivery)
                check_upstream(upstream, seen, case, door)
                assert case.upstream or upstream.connections == connections
            except BaseException as fault:
                fault.add_note(f"{case.name}: {case.why}\n{door or 'as it stands'}, {wire}, {delivery.__name__}\n{case.bytes(door)[:2000]!r}")
                raise
            count += 1
    assert good(here, dial, wire).status == 200, "a request in order, after these"
    record_property("deliveries", count)
