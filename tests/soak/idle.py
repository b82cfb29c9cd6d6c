"""Ten thousand connections that ask nothing: with few open files, and with enough of them; then 32 large base64 bodies at once."""

import base64
import contextlib
import json
import os
import pathlib
import resource
import sys
import threading
import time

import trustme

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import metric
from peer import Peer
from processes import poll
from soak import LongGateway, Stage, Watch, get, percentile
from stubs import Toolkit, fingerprint

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
HEAD = "POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
GOOD = HEAD.format("image/png", len(PNG)).encode() + PNG
CONNECTIONS, SECURE = 10_000, 2_000
BODIES, BODY = 32, 16 << 20


def policy(upstream, folder, company, **limits):
    company.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "gateway.pem")
    tls = {name: str(folder / "gateway.pem") for name in ("certificate", "key")}
    return {
        "listen": ["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": tls}],
        "upstreams": {"toolkit": {"kind": "dedicated", "url": upstream.url, "payload": "binary"}},
        "models": {"org/vit": {"task": "image-classification", "route": ["toolkit"]}},
        "limits": {"idle_timeout": "10m", **limits},
    }


def few_files(stage, upstream, company):
    """1,024 files: half of them are clients'. Whoever has a place, and administration, go on; all others are told."""
    folder = stage.folder / "few"
    folder.mkdir()
    command = ["prlimit", "--nofile=1024:1024"]
    with LongGateway(policy(upstream, folder, company), folder, under=command) as gateway, contextlib.closing(Peer(gateway.url)) as first:
        assert first.send(GOOD).answer().status == 200
        took, peers, told = [], [], 0
        for number in range(CONNECTIONS):
            peers.append(Peer(gateway.url))
            if number > 511:
                told += peers[-1].answer().status == 429
                peers.pop().close()
            if number % 500 == 0:
                began = time.monotonic()
                assert first.send(GOOD).answer().status == 200
                assert get(f"{gateway.admin}/ready") == "ready\n"
                took.append(time.monotonic() - began)
        stage.say("few files: connections that were told", told, at_least=CONNECTIONS - 512)
        stage.say("few files: a request and administration meanwhile, slowest", max(took) * 1000, at_most=2000, unit="ms")
        stage.say("few files: descriptors", gateway.descriptors(), at_most=1023)
        for peer in peers:
            peer.close()
        stage.say("few files: exit code", gateway.stop(), at_most=0)


def idle(stage, gateway, company, url, count, name, bound):
    before = gateway.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(contextlib.closing(Peer(url, company)))
        poll(lambda: metric(gateway.metrics(), "fourways_connections_open") >= count, 120, "all of them")
        stage.say(f"{name}: memory of each", (gateway.memory() - before) / count, at_most=bound, unit="KiB")
        took = []
        for _ in range(50):
            began = time.monotonic()
            with contextlib.closing(Peer(gateway.url)) as peer:
                assert peer.send(GOOD).answer().json[0]["label"] == fingerprint(PNG)
            took.append(time.monotonic() - began)
        stage.say(f"{name}: a request meanwhile, p50", percentile(took, 0.5) * 1000, at_most=100, unit="ms")
    poll(lambda: metric(gateway.metrics(), "fourways_connections_open") <= 1, 60, "all are gone")


def large(stage, gateway):
    """Kept in memory is what `spool.memory` says, not what they hold."""
    body = json.dumps({"inputs": base64.b64encode(PNG + os.urandom(BODY * 3 // 4)).decode()}).encode()
    wrong = body[:-100] + b"*" + body[-99:]
    before, statuses = gateway.memory(), []

    def one(data):
        with contextlib.closing(Peer(gateway.url)) as peer:
            statuses.append(peer.send(HEAD.format("application/json", len(data)).encode() + data).answer().status)

    with Watch(gateway.memory, 0.02) as memory:
        for data in (body, wrong):
            threads = [threading.Thread(target=one, args=(data,)) for _ in range(BODIES)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    stage.say("large bodies: memory grew by", (max(value for _, value in memory.samples) - before) / 1024, at_most=96, unit="MiB")
    stage.say("large bodies: good ones that were served", statuses[:BODIES].count(200), at_least=BODIES)
    stage.say("large bodies: wrong ones that were refused", statuses[BODIES:].count(400), at_least=BODIES)


def main():
    stage = Stage(__doc__, 0)
    company = trustme.CA()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * CONNECTIONS), hard))
    with Toolkit() as upstream:
        few_files(stage, upstream, company)
        with LongGateway(policy(upstream, stage.folder, company, connections=2 * CONNECTIONS), stage.folder) as gateway:
            idle(stage, gateway, company, gateway.url, CONNECTIONS, "idle", 16)
            idle(stage, gateway, company, gateway.urls[1], SECURE, "idle over TLS", 96)
            large(stage, gateway)
            stage.say("exit code", gateway.stop(), at_most=0)
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
