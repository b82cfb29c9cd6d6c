"""A client that shows what the gateway did to it: which bytes came, whether the answer is whole, how the connection ended."""

import dataclasses
import socket
import ssl
import struct

PATIENCE = 30


@dataclasses.dataclass
class Answer:
    """`whole`: its framing says that all of it came. `ended`: None (the connection lives), "eof" or "reset"."""

    status: int
    fields: dict
    body: bytes
    whole: bool
    ended: str | None
    raw: bytes


class RawClient:
    def __init__(self, url, tls=None, buffers=None):
        scheme, _, rest = url.partition("://")
        host, _, port = rest.rstrip("/").rpartition(":")
        self.socket = socket.socket()
        if buffers:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "https":
            self.socket = (tls or ssl.create_default_context()).wrap_socket(self.socket, server_hostname=host)
        self.held, self.ended = b"", None

    def send(self, data):
        self.socket.sendall(data)

    def post(self, path, body, content_type="application/json", fields=(), length=None, version="1.1"):
        lines = [f"POST {path} HTTP/{version}", "host: 127.0.0.1", f"content-type: {content_type}", *fields]
        lines.append(f"content-length: {len(body) if length is None else length}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def more(self, most=65536):
        """False: nothing more comes."""
        if self.ended:
            return False
        try:
            got = self.socket.recv(most)
        except (ConnectionError, ssl.SSLError):
            self.ended = "reset"
            return False
        self.held += got
        if not got:
            self.ended = "eof"
        return bool(got)

    def until(self, what):
        """Reads until these bytes have come; False: they never will."""
        while what not in self.held:
            if not self.more():
                return False
        return True

    def answer(self):
        """The next answer, or as much of it as comes; None: there is none."""
        if not self.until(b"\r\n\r\n"):
            return None
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        made = Answer(int(status.split()[1]), fields, b"", False, None, head + b"\r\n\r\n")
        if made.status == 100:
            return made
        if fields.get("transfer-encoding") == "chunked":
            self.read_chunks_(made)
        elif "content-length" in fields:
            size = int(fields["content-length"])
            while len(self.held) < size and self.more():
                pass
            made.body, self.held = self.held[:size], self.held[size:]
            made.whole = len(made.body) == size
            made.raw += made.body
        else:
            while self.more():
                pass
            made.body, made.whole = self.held, self.ended == "eof"
            made.raw += made.body
            self.held = b""
        made.ended = self.ended
        return made

    def read_chunks_(self, made):
        while self.until(b"\r\n"):
            size = int(self.held.split(b"\r\n", 1)[0], 16)
            begin = self.held.index(b"\r\n") + 2
            while len(self.held) < begin + size + 2 and self.more():
                pass
            made.raw += self.held[: begin + size + 2]
            made.body += self.held[begin : begin + size]
            whole = len(self.held) >= begin + size + 2
            self.held = self.held[begin + size + 2 :]
            if not whole:
                return
            if size == 0:
                made.whole = True
                return

    def at_end(self):
        """Waits for the end of the connection; how it ended, or False when bytes came instead."""
        return self.ended if not self.more() else False

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
