"""An upstream that does exactly what a test says, byte by byte, in clear text or over TLS.

A script is a function of the connection: `def script(peer): peer.request(); peer.send(b"HTTP/1.1 200 ..."); peer.reset()`. It runs in a
thread of its own; what it raises fails the test at the end. A connection whose script is over is read until the gateway closes it.
"""

import contextlib
import dataclasses
import re
import socket
import ssl
import struct
import threading
import time

from processes import poll

PATIENCE = 30  # seconds: far beyond what anything here takes


@dataclasses.dataclass
class Request:
    """A whole request as it came: its head, and its body by Content-Length."""

    head: bytes
    body: bytes

    @property
    def target(self):
        return self.head.split(b" ", 2)[1].decode()

    def field(self, name):
        found = re.search(rb"\r\n" + name.encode() + rb": *([^\r]*)\r\n", self.head + b"\r\n", re.IGNORECASE)
        return found[1].decode() if found else None


class Peer:
    """One connection, seen from the upstream's side. `received` is every byte that came, `ended` how the gateway ended it."""

    def __init__(self, of, plain, number):
        self.of, self.plain, self.number = of, plain, number
        self.socket = plain
        self.received, self.sent = b"", 0
        self.requests = []
        self.ended = self.ended_at = None  # "eof" or "reset", and when
        self.closed = False  # by us
        self.unread_ = 0  # where the bytes begin that no request() took

    # ---- what a script says ----

    def read_some(self, most=65536):
        """More bytes; b"": the gateway ended the connection."""
        try:
            got = self.socket.recv(most)
        except (ConnectionError, ssl.SSLError):
            got, how = b"", "reset"
        except OSError:
            if not self.of.closing_:
                raise
            got, how = b"", None
        else:
            how = "eof"
        if not got and self.ended is None and not self.closed:
            self.ended, self.ended_at = how, time.monotonic()
        self.received += got
        return got

    def head(self):
        """Reads until a request's head is whole."""
        while b"\r\n\r\n" not in self.received[self.unread_ :]:
            if not self.read_some():
                raise Left
        return self.received[self.unread_ :].partition(b"\r\n\r\n")[0] + b"\r\n"

    def request(self):
        """Reads until a request is whole, and takes it."""
        head = self.head()
        length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.IGNORECASE)
        size = len(head) + 2 + (int(length[1]) if length else 0)
        while len(self.received) - self.unread_ < size:
            if not self.read_some():
                raise Left
        body = self.received[self.unread_ + len(head) + 2 : self.unread_ + size]
        self.unread_ += size
        self.requests.append(Request(head, body))
        return self.requests[-1]

    def send(self, data, piece=None):
        """All at once, or in pieces of so many bytes, each a write of its own."""
        for at in range(0, len(data), piece or max(1, len(data))):
            part = data[at : at + (piece or len(data))]
            try:
                self.socket.sendall(part)
            except (ConnectionError, ssl.SSLError):
                raise Left from None
            self.sent += len(part)

    def fin(self, notify=True):
        """The clean end; over TLS with the notice that says so, unless `notify` is off."""
        if notify:
            self.notify_()
        self.close_()

    def half_close(self):
        """No more bytes from us; those that come are still read."""
        self.notify_()
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_()

    def stall(self):
        """Says and does nothing until the gateway ends it."""
        while self.read_some():
            pass

    def hang_up(self):
        """Ends a connection that idles, from another thread than the script's."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def notify_(self):
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket.settimeout(0)  # the notice goes out; nobody waits for the gateway's
            with contextlib.suppress(OSError, ValueError):
                self.socket.unwrap()
            self.socket.settimeout(None)

    def close_(self):
        self.closed = True
        self.socket.close()

    # ---- what a test asks ----

    def wait_closed(self, seconds=PATIENCE):
        """Waits until this connection has ended; how the gateway did it, or "ours"."""
        poll(lambda: self.ended or self.closed, seconds, f"the gateway closes connection {self.number}")
        return self.ended or "ours"


class Left(Exception):
    """The gateway ended the connection while the script still had something to do."""


class RawUpstream:
    """Runs `script` for each connection on a free port of loopback. `peers` are all connections so far, in order."""

    def __init__(self, script, tls=None, buffers=None):
        self.script, self.tls_, self.buffers_ = script, tls, buffers
        self.peers, self.failures, self.closing_ = [], [], False
        self.listen_(0)
        self.port = self.listener_.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def listen_(self, port):
        self.listener_ = socket.socket()
        self.listener_.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.buffers_:  # before listen(): accepted connections inherit them
            self.listener_.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffers_)
            self.listener_.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffers_)
        self.listener_.bind(("127.0.0.1", port))
        self.listener_.listen(128)
        self.thread_ = threading.Thread(target=self.accept_, args=(self.listener_,), daemon=True)
        self.thread_.start()

    def accept_(self, listener):
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(self, plain, len(self.peers) + 1)
            self.peers.append(peer)
            threading.Thread(target=self.run_, args=(peer,), daemon=True).start()

    def run_(self, peer):
        try:
            if self.tls_ is not None:
                try:
                    peer.socket = self.tls_.wrap_socket(peer.plain, server_side=True)
                except OSError:
                    peer.ended, peer.ended_at = "reset", time.monotonic()
                    return
            with contextlib.suppress(Left):
                self.script(peer)
            if not peer.closed:
                peer.stall()
        except Exception as problem:  # a script's own fault: told at the end
            if not self.closing_:
                self.failures.append(problem)
        finally:
            peer.socket.close()

    # ---- what a test asks ----

    @property
    def connections(self):
        return len(self.peers)

    @property
    def requests(self):
        """Every whole request of every connection, and heads whose bodies did not come whole."""
        whole = [each for peer in self.peers for each in peer.requests]
        begun = [peer for peer in self.peers if len(peer.received) > peer.unread_ and b"\r\n\r\n" in peer.received[peer.unread_ :]]
        return whole + [Request(peer.received[peer.unread_ :], b"") for peer in begun]

    # ---- what is done to it ----

    def refuse(self):
        """From here on connections are refused."""
        with contextlib.suppress(OSError):
            self.listener_.shutdown(socket.SHUT_RDWR)
        self.listener_.close()
        self.thread_.join(PATIENCE)

    def listen_again(self):
        self.listen_(self.port)

    def drop(self):
        """Ends every connection, so that the next request comes on a new one."""
        for peer in list(self.peers):
            if not peer.closed:
                peer.hang_up()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.closing_ = True
        self.refuse()
        self.drop()
        if kind is None and self.failures:
            raise self.failures[0]


# ---- scripts ----


def answering(reply, piece=None):
    """A healthy upstream: each request gets reply(request), bytes, and the connection lives on."""

    def script(peer):
        while True:
            request = peer.request()
            peer.send(reply(request) if callable(reply) else reply, piece)

    return script


def once(data=b"", then=Peer.stall, piece=None):
    """Each connection: a whole request is read, `data` sent, and then that is done."""

    def script(peer):
        peer.request()
        peer.send(data, piece)
        then(peer)

    return script


def http(body, content_type="application/json", status=200, fields=(), chunks=None, length=None):
    """An answer's bytes: with a Content-Length, or with `chunks` (a list; its end is the caller's when `chunks` ends with None)."""
    lines = [f"HTTP/1.1 {status} Status", f"content-type: {content_type}", *fields]
    if chunks is None:
        lines.append(f"content-length: {len(body) if length is None else length}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    lines.append("transfer-encoding: chunked")
    out = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return out + b"".join(chunk(each) for each in chunks)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
