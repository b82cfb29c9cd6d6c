"""Memory does not grow with payloads, nor with connections that were busy once."""

import base64
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import socket
import threading

import pytest
import trustme
from gateway import metric
from peer import Peer
from processes import poll
from stubs import DONE, Chat, Toolkit, fingerprint, stream_of, streamed

KIB, MIB = 1 << 10, 1 << 20
SANITIZED = "SAN_OPTIONS" in "".join(os.environ)  # memory is not that of the product then
SIZES = (8, 64, 256)  # MiB
GROWS = 4 * MIB  # by at most this from the first size to the last
PEAK = 16 * MIB  # over idle
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
BLOCK = b"\x89PNG\r\n\x1a\n" + hashlib.shake_256(b"payload").digest(768 * KIB - 8)  # a multiple of 3: its base64 can be repeated too


class Summing:
    """An upstream that reads with a small buffer, keeps nothing, and answers what it counted: size and SHA-256. `refuse`: how many first get a 500."""

    def __init__(self):
        self.refuse = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=self.socket.accept()[:1], daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb", 64 * KIB) as reader, contextlib.suppress(OSError):
            while line := reader.readline():
                length = 0
                while line != b"\r\n":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                    line = reader.readline()
                digest, got, room = hashlib.sha256(), 0, memoryview(bytearray(64 * KIB))
                while got < length and (size := reader.readinto(room[: length - got])):
                    digest.update(room[:size])
                    got += size
                status, answer = b"200 OK", [{"label": f"{got} {digest.hexdigest()}", "score": 1}]
                if self.refuse:
                    self.refuse -= 1
                    status, answer = b"500 Internal Server Error", {"error": "boom"}
                body = json.dumps(answer).encode()
                connection.sendall(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@functools.cache
def label(form, count):
    """What Summing says of `count` blocks that arrive in this form."""
    start, block, end = FORMS[form]
    digest = hashlib.sha256(start)
    for _ in range(count):
        digest.update(block)
    digest.update(end)
    return f"{len(start) + count * len(block) + len(end)} {digest.hexdigest()}"


FORMS = {  # before the blocks, a block, behind them
    "binary": (b"", BLOCK, b""),
    "json": (b'{"inputs":"', base64.b64encode(BLOCK), b'"}'),
    "sent": (b'{"inputs":"', base64.b64encode(BLOCK), b'","parameters":{}}'),
}


def upload(url, model, form, count):
    start, block, end = FORMS[form]
    kind = "image/png" if form == "binary" else "application/json"
    size = len(start) + count * len(block) + len(end)
    with Peer(url, timeout=120) as peer:
        peer.send(f"POST /models/{model} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + start)
        for _ in range(count):
            peer.send(block)
        return peer.send(end).answer()


def memory(process, what="VmRSS"):
    """Bytes; VmHWM is the most there ever was."""
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith(what + ":"))


def spool_files(process, folder):
    links = []
    for each in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(each.readlink()))
    return [link for link in links if link.startswith(f"{folder}/")]


@pytest.fixture(scope="module")
def summing(start_once):
    return start_once.keep(Summing())


@pytest.fixture
def policy(summing):
    upstreams = {
        "binary": {"kind": "dedicated", "url": summing.url, "payload": "binary"},
        "base64": {"kind": "dedicated", "url": summing.url, "payload": "base64"},
    }
    routes = {"to/json": ["base64"], "to/binary": ["binary"], "two/ways": ["binary", "base64"]}
    models = {name: {"task": "image-classification", "route": route} for name, route in routes.items()}
    return {"upstreams": upstreams, "models": models, "limits": {"payload_bytes": "1GiB"}}


@pytest.mark.threat("D3")
@pytest.mark.limit("payload_bytes")
@pytest.mark.parametrize("form, model, arrives", [
    ("binary", "to/json", "sent"), ("json", "to/binary", "binary"), ("binary", "two/ways", "sent"), ("json", "two/ways", "json"),
], ids=["encoded", "decoded", "again_encoded", "again_as_it_was"])  # fmt: skip
def test_a_translated_upload_of_any_size(start, policy, summing, form, model, arrives):
    """The peak of 256 MiB is that of 8 MiB, also when the whole of it is sent a second time."""
    gateway = start(policy, threads=1)
    assert upload(gateway.url, "to/json", "binary", 1).status == 200
    idle, peaks = memory(gateway.process), []
    for size in SIZES:
        count = int(size * MIB / len(BLOCK))
        summing.refuse = 1 if model == "two/ways" else 0
        answer = upload(gateway.url, model, form, count)
        assert answer.status == 200, answer
        assert answer.json[0]["label"] == label(arrives, count)
        assert answer.fields["x-fourways-route"] == {"two/ways": "binary(500) base64(200)", "to/json": "base64(200)", "to/binary": "binary(200)"}[model]
        peaks.append(memory(gateway.process, "VmHWM"))
    print("; ".join(f"{size} MiB: {(peak - idle) / MIB:.1f} MiB over idle" for size, peak in zip(SIZES, peaks, strict=True)))
    assert SANITIZED or (peaks[0] - idle < PEAK and peaks[-1] - peaks[0] < GROWS)


def test_a_copy_is_a_file_without_a_name(start, policy, tmp_path):
    """What is kept for a second candidate: up to `memory_per_body` in memory, above it in a file that ends with the body, or with the process."""
    (folder := tmp_path / "spool").mkdir()
    gateway = start({**policy, "spool": {"dir": str(folder), "memory_per_body": "64KiB"}}, threads=1)
    files = functools.partial(spool_files, gateway.process, folder)
    begun = []
    for size, kept in ((48 * KIB, 0), (2 * MIB, 1), (3 * MIB, 2)):
        head = f"POST /models/two/ways HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {size + 1}\r\n\r\n".encode()
        begun.append(Peer(gateway.url).send(head + (BLOCK * 4)[:size]))
        poll(lambda kept=kept: len(files()) == kept, what=f"{kept} files")
        poll(lambda: metric(gateway.metrics(), "fourways_requests_in_flight") == len(begun))
    assert len(files()) == 2 and all(link.endswith(" (deleted)") for link in files()) and not list(folder.iterdir())
    for peer in begun[:2]:
        assert peer.send(b"x").answer().status == 200
    begun[2].close()  # leaves
    poll(lambda: not files(), what="they are gone")


@pytest.mark.threat("D7")
@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_idle_connections_give_their_buffers_back(start, tmp_path, secure):
    """Connections that carried large requests, and idle now, leave their memory to those that come after them."""
    company = trustme.CA()
    company.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "gateway.pem")
    tls = {name: str(tmp_path / "gateway.pem") for name in ("certificate", "key")}
    listen = [{"address": "127.0.0.1:0", **({"tls": tls} if secure else {})}]
    stub = start.keep(Toolkit())
    upstreams = {"binary": {"kind": "dedicated", "url": stub.url, "payload": "binary"}}
    models = {"org/vit": {"task": "image-classification", "route": ["binary"]}}
    limits = {"connections_per_client": 1000, "idle_timeout": "10m"}
    gateway = start({"listen": listen, "upstreams": upstreams, "models": models, "limits": limits}, threads=1)
    size, count, usual = 200 * KIB, 100, stub.usual
    head = f"POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {size}\r\n\r\n".encode()

    def wave(peers):
        """All of them upload and wait for their answer at the same time; the most memory so far."""
        released = threading.Event()

        def slowly(seen):
            released.wait(60)
            return usual(seen)

        stub.when(slowly, times=count)
        for peer in peers:
            peer.send(head + BLOCK[:size])
        poll(lambda: metric(gateway.metrics(), "fourways_requests_in_flight") == count, what="all are in flight")
        released.set()
        for peer in peers:
            assert peer.answer().json[0]["label"] == fingerprint(BLOCK[:size])
        poll(lambda: metric(gateway.metrics(), "fourways_requests_in_flight") == 0)
        return memory(gateway.process, "VmHWM")

    with contextlib.ExitStack() as stack:
        waves, idle = [], memory(gateway.process)
        for _ in range(8):
            waves.append(wave([stack.enter_context(Peer(gateway.url, company)) for _ in range(count)]))  # they stay, and idle
        each = (waves[-1] - waves[0]) / (len(waves) - 1) / count
        print(f"{(waves[0] - idle) / count / KIB:.1f} KiB for each that is busy, {each / KIB:.1f} KiB for each that is idle afterwards")
        assert SANITIZED or each < (56 if secure else 32) * KIB  # a buffer that stayed would be 64 KiB more


@pytest.mark.threat("D7")
def test_what_a_held_stream_takes(start):
    """A stream whose first content went out holds neither its request nor what only another attempt would need."""
    stub = start.keep(Chat())
    upstreams = {"llm": {"kind": "dedicated", "url": stub.url, "engine": "openai"}}
    models = {"org/chat": {"task": "chat-completion", "route": ["llm"]}}
    gateway = start({"upstreams": upstreams, "models": models, "limits": {"connections_per_client": 1000}}, threads=1)
    events, released = stream_of("held still"), threading.Event()
    body = json.dumps({"model": "org/chat", "stream": True, "messages": [{"role": "user", "content": "lorem ipsum " * 80}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

    def held(_):
        def pieces():
            yield from events[:2]
            released.wait(60)
            yield from events[2:]

        return streamed(pieces())

    def opened():
        """One after the other, so that what is let go serves the next."""
        peer = stack.enter_context(Peer(gateway.url)).send(head.encode() + body)
        assert peer.upto(events[1]) is not None
        return peer

    with contextlib.ExitStack() as stack:
        stack.callback(released.set)
        stub.when(held, times=400)
        for _ in range(100):
            opened()
        before = memory(gateway.process)
        peers = [opened() for _ in range(300)]
        each = (memory(gateway.process) - before) / len(peers)
        print(f"a held stream takes {each / KIB:.1f} KiB")
        assert SANITIZED or each < 16 * KIB  # with its request and the way to its first content 28
        released.set()
        for peer in peers:
            assert peer.upto(DONE) is not None
