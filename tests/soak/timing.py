"""Whether the time of a refusal tells how near a wrong key is to a good one: keys that share nothing, and all but the last byte."""

import hashlib
import math
import pathlib
import random
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from soak import LongGateway, Stage  # noqa: E402

GOOD = "hf_timing_key_0123456789abcdefghijklmnopqrstuv"
FAR = "zz" + "#" * (len(GOOD) - 2)
NEAR = GOOD[:-1] + "#"
SAMPLES, WARM_UP = 20_000, 500  # of each key


def request(key):
    return f"GET /v1/models HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def measure(port):
    """Nanoseconds of the refusals of each key: pairs, each in random order, over one kept-alive connection."""
    asked, times = (request(FAR), request(NEAR)), ([], [])
    coin = random.Random(7)
    order = [which for _ in range(WARM_UP + SAMPLES) for which in coin.sample((0, 1), 2)]
    with socket.create_connection(("127.0.0.1", port)) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for which in order:
            began = time.perf_counter_ns()
            wire.sendall(asked[which])
            reply = wire.recv(65536)
            times[which].append(time.perf_counter_ns() - began)
            assert reply.startswith(b"HTTP/1.1 401 ") and b"connection: close" not in reply.lower(), reply
    return [each[WARM_UP:] for each in times]


def welch(one, other):
    spread = math.sqrt(statistics.variance(one) / len(one) + statistics.variance(other) / len(other))
    return (statistics.fmean(one) - statistics.fmean(other)) / spread


stage = Stage(__doc__, 0)
policy = {
    "upstreams": {"own": {"kind": "dedicated", "url": "http://127.0.0.1:9"}},
    "models": {"*": {"route": ["own"]}},
    "clients": {"app": {"keys": ["sha256:" + hashlib.sha256(GOOD.encode()).hexdigest()]}},
}
with LongGateway(policy, stage.folder) as here:
    far, near = measure(int(here.url.rpartition(":")[2]))

# The slowest tenth is what else the machine did: it is cut off at one place for both, and told with it too.
cut = statistics.quantiles(far + near, n=10)[-1]
stage.say("samples of each key", len(far))
stage.say("median, nothing shared", statistics.median(far) / 1000, unit="us")
stage.say("median, all but the last byte shared", statistics.median(near) / 1000, unit="us")
stage.say("gap of the medians", abs(statistics.median(far) - statistics.median(near)) / 1000, at_most=1, unit="us")
stage.say("Welch's |t|", abs(welch(far, near)), at_most=4.5)
stage.say("Welch's |t| of the faster nine tenths", abs(welch([t for t in far if t < cut], [t for t in near if t < cut])), at_most=4.5)
sys.exit(stage.end())
