"""Reads what the gateway answers byte by byte, strictly: what no client library would show, a library does not hide here."""

import json


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
