"""A local worker that misbehaves when its payload says so: deaf, garbage, endless. Else it answers like the toolkit.

usage: unruly_worker.py PORT
"""

import signal
import socket
import sys
import threading

signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only SIGKILL ends it
server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)


def request(wire):
    """Its first line and its body."""
    told = b""
    while b"\r\n\r\n" not in told:
        part = wire.recv(65536)
        if not part:
            return None, b""
        told += part
    head, _, body = told.partition(b"\r\n\r\n")
    size = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < size:
        body += wire.recv(65536)
    return head.split(b"\r\n")[0], body


def serve(wire):
    with wire:
        line, body = request(wire)
        if line is None:
            return
        if b"DEAF" in body:
            server.shutdown(socket.SHUT_RDWR)  # nobody gets through any more, and this one waits
            threading.Event().wait()
        elif b"GARBAGE" in body:
            wire.sendall(b"Segmentation fault (core dumped)\r\n" * 100)
        elif b"ENDLESS" in body:
            wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                wire.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        else:
            told = b"Ok" if line.startswith(b"GET") else b'[{"label": "good", "score": 1.0}]'
            wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(told), told))


while True:
    try:
        accepted, _ = server.accept()
    except OSError:
        threading.Event().wait()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
