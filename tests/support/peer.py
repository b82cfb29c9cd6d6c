"""A client that sends bytes as they are and reads answers one by one, in clear text or over TLS: what HTTP libraries do not let a test do."""

import dataclasses
import functools
import json
import socket
import ssl

import httpx


@dataclasses.dataclass
class Answer:
    status: int
    fields: dict
    body: bytes = b""
    whole: bool = True  # its framing was complete

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """Code and text of an error, in whichever of the three shapes."""
        body = self.json
        if isinstance(body["error"], str):
            return body["code"], body["error"]
        return body["error"]["code"], body["error"]["message"]


@functools.cache
def context_of(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


class Peer:
    """A connection to `url`; `authority` (a trustme.CA) for an https one. `receive`: the size of its receive buffer."""

    def __init__(self, url, authority=None, receive=None, timeout=60):
        at = httpx.URL(url)
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.connect((at.host, at.port))
        if at.scheme == "https":
            self.socket = context_of(authority).wrap_socket(self.socket, server_hostname=at.host)
        self.held = b""

    def send(self, data):
        self.socket.sendall(data)
        return self

    def more(self):
        try:
            block = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            block = b""
        self.held += block
        return block

    def upto(self, mark):
        while mark not in self.held:
            if not self.more():
                return None
        found, _, self.held = self.held.partition(mark)
        return found

    def take(self, size):
        while len(self.held) < size and self.more():
            pass
        found, self.held = self.held[:size], self.held[size:]
        return found

    def answer(self):
        """The next answer; None: the connection ended before one."""
        head = self.upto(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        answer = Answer(int(first.split(" ")[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)})
        if answer.status < 200:
            return answer
        if answer.fields.get("transfer-encoding") == "chunked":
            while True:
                line = self.upto(b"\r\n")
                size = int(line, 16) if line else 0
                chunk = self.take(size + 2)
                answer.body += chunk[:size]
                if not line or len(chunk) < size + 2:
                    answer.whole = False
                    return answer
                if size == 0:
                    return answer
        if "content-length" in answer.fields:
            size = int(answer.fields["content-length"])
            answer.body = self.take(size)
            answer.whole = len(answer.body) == size
            return answer
        while self.more():
            pass
        answer.body, self.held = self.held, b""
        return answer

    def ended(self):
        """The other side closes, and says nothing more before."""
        return self.held == b"" and self.more() == b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
