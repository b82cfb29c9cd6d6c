"""No secret of a gateway may be told on any way out: what watches the ways, and what looks.

Every gateway that a test starts is searched at its end (gateway.py): its standard output and error at debug level, its metrics, its environment
and command line in /proc (at its start too, for those that are killed), and every byte that this process reads from it, whichever client
library reads: the sockets of Python themselves are watched. What a TLS client of asyncio or a program such as curl reads is not seen here.
"""

import os
import pathlib
import socket
import ssl
import weakref

_secrets = {}  # port -> what may not come from there, a gateway's own list
_found = {}  # port -> how often one did
_tails = weakref.WeakKeyDictionary()  # socket -> (port, last bytes: a secret may lie across two reads)


def watch(port, secrets):
    _secrets[port] = secrets
    _found[port] = 0


def unwatch(port):
    """How often a secret came from there."""
    _secrets.pop(port, None)
    return _found.pop(port, 0)


def _saw(sock, data):
    if not _secrets or not data:
        return
    port, tail = _tails.get(sock, (None, b""))
    if port is None:
        try:
            peer = sock.getpeername()
        except OSError:
            return
        port = peer[1] if isinstance(peer, tuple) else 0
    tail += bytes(data)
    for secret in _secrets.get(port, ()):
        if secret.encode() in tail:
            _found[port] += 1
    _tails[sock] = (port, tail[-200:])


def _watched(kind, name):
    plain = getattr(kind, name)

    if name.endswith("_into"):

        def read(self, buffer, *more):
            size = plain(self, buffer, *more)
            _saw(self, memoryview(buffer).cast("B")[:size])
            return size
    else:

        def read(self, *more):
            data = plain(self, *more)
            _saw(self, data)
            return data

    setattr(kind, name, read)


_watched(ssl.SSLSocket, "recv")
_watched(ssl.SSLSocket, "recv_into")
_watched(socket.socket, "recv")
_watched(socket.socket, "recv_into")


def proc_files(pid):
    """{name: text} of what /proc shows of a process. Read as root: what root cannot read counts as a failure; nobody else may try."""
    if os.geteuid() != 0:
        return {}
    return {name: pathlib.Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace") for name in ("environ", "cmdline")}


def places(secrets, texts):
    """Where one of them stands."""
    return sorted(where for where, text in texts.items() if any(secret in text for secret in secrets))
