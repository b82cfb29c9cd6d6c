"""A thousand slow clients (heads, bodies, readers: slowhttptest) while others are served: what those notice, and what the slow ones take."""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import metric
from peer import Peer
from processes import TOP, poll
from soak import LongGateway, Stage, Watch, percentile
from stubs import Toolkit, fingerprint

CONNECTIONS = 1000
PAUSE = 0.02  # between two probes
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
MODEL = "/models/org/vit"
MODES = {
    "heads": ["-H", "-i", "5", "-x", "24", "-u", "/health"],
    "bodies": ["-B", "-i", "5", "-x", "10", "-s", "100000", "-f", "image/png", "-u", MODEL],
    "readers": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "10", "-u", "/v1/models"],
}


def policy(upstream):
    upstreams = {"toolkit": {"kind": "dedicated", "url": upstream.url}}
    models = {"org/vit": {"task": "image-classification", "route": ["toolkit"]}}
    # The list of these is what slow readers ask for.
    models |= {f"org/one-of-many-names-that-make-a-long-list-{n}": {"route": ["toolkit"]} for n in range(400)}
    # One machine plays all the clients. The slow ones are to be ended while we look.
    limits = {"connections_per_client": 4096, "header_timeout": "6s", "body_grace": "6s", "write_timeout": "6s"}
    return {"upstreams": upstreams, "models": models, "limits": limits}


def probe(gateway, kept):
    """One request on a kept connection, or on a new one: how long it took."""
    request = f"POST {MODEL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(PNG)}\r\n\r\n".encode() + PNG
    began = time.monotonic()
    peer = kept or Peer(gateway.url)
    answer = peer.send(request).answer()
    took = time.monotonic() - began
    assert answer.status == 200 and answer.json[0]["label"] == fingerprint(PNG), answer
    if not kept:
        peer.close()
    return took


def one(stage, gateway, name, flags, seconds):
    """slowhttptest beside probes, and beside samples of what the gateway holds."""
    *flags, path = flags
    tool = ["slowhttptest", "-c", CONNECTIONS, "-r", CONNECTIONS, "-l", int(seconds), "-p", "3", "-v", "1", *flags, gateway.url + path]
    took, failed = [], 0
    before = gateway.memory()
    with Watch(gateway.memory) as memory, Watch(lambda: metric(gateway.metrics(), "fourways_connections_open"), 0.25) as open_:
        attack = subprocess.Popen([str(each) for each in tool], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with contextlib.closing(Peer(gateway.url)) as kept:
            while attack.poll() is None:
                began = time.monotonic()
                try:
                    took.append(probe(gateway, kept if len(took) % 2 else None))
                except (AssertionError, OSError) as fault:
                    failed += 1
                    print(f"    {fault!r}")
                poll(lambda: time.monotonic() - began > PAUSE or attack.poll() is not None)
        told = re.sub(r"\x1b\[[0-9;]*m", "", attack.stdout.read())
    most = max((value for _, value in open_.samples), default=0)
    slow = [(at, value) for at, value in open_.samples if value >= CONNECTIONS / 2]
    stage.say(f"{name}: probes", len(took), at_least=seconds * 2)
    stage.say(f"{name}: probes that failed", failed, at_most=0)
    stage.say(f"{name}: probe p50", percentile(took, 0.5) * 1000, unit="ms")
    stage.say(f"{name}: probe p99", percentile(took, 0.99) * 1000, at_most=100, unit="ms")
    stage.say(f"{name}: slow connections at once", most, at_least=CONNECTIONS / 2)
    stage.say(f"{name}: the slow ones were there for", slow[-1][0] - slow[0][0] if slow else 0.0, unit="s")
    grown = max((value for _, value in memory.samples), default=before) - before
    stage.say(f"{name}: memory grew by", grown / 1024, at_most=CONNECTIONS * 128 / 1024, unit="MiB")
    if "unavailable" in told.lower():
        print("    " + "\n    ".join(told.splitlines()[-12:]))
    poll(lambda: metric(gateway.metrics(), "fourways_connections_open") <= 1, 60, "the slow ones are gone")


def main():
    stage = Stage(__doc__, 30)
    subprocess.run(["bash", "-euo", "pipefail", "-c", ". scripts/lib.sh; need_packages slowhttptest"], cwd=TOP, check=True)
    with Toolkit() as upstream, LongGateway(policy(upstream), stage.folder) as gateway:
        for name, flags in MODES.items():
            one(stage, gateway, name, flags, stage.seconds / len(MODES))
        stage.say("exit code", gateway.stop(), at_most=0)
        statuses = {}
        for record in gateway.records():
            statuses[record["status"]] = statuses.get(record["status"], 0) + 1
        print("records by status: " + json.dumps(statuses))
        stage.none("errors that it logged", gateway.logged('"level":"error"'))
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
