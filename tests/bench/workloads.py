"""The workloads: each a class with its peers and measure(peer) -> figures of one round. bench.py runs them in turn and judges nothing."""

import asyncio
import contextlib
import dataclasses
import json
import pathlib
import shutil
import ssl
import subprocess
import urllib.request

import load
import peers

KIB = 1024
MIB = KIB * KIB


@dataclasses.dataclass
class Setting:
    """What a run has: its folder, the upstream, seconds per measurement; `smoke`: every answer is checked, no figure means anything."""

    folder: pathlib.Path
    behind: peers.Process
    seconds: float
    smoke: bool

    def whole_seconds(self):
        return max(1, round(self.seconds))


def ask(port, request, tls=None):
    """One request; its status and body. The proof that the measured path does what it should."""
    context = ssl.create_default_context(cafile=tls.certificate) if tls else None
    made = urllib.request.Request(
        f"{'https' if tls else 'http'}://127.0.0.1:{port}{request.path}", data=request.body, headers=request.fields, method="POST"
    )
    with urllib.request.urlopen(made, timeout=60, context=context) as answer:
        return answer.status, answer.read()


def expect(name, got, wanted):
    if got != wanted:
        raise peers.Failed(f"{name}: {str(got)[:400]}, and not {str(wanted)[:400]}")


class Workload:
    name = what = ""
    columns = ("cpu_us", "rps", "p50", "p99", "rss_mib")
    rounds = None  # fewer than asked for, where one round takes long
    base = "haproxy"  # whose figure the ratios are taken to

    def __init__(self, setting):
        self.setting = setting
        self.stack = contextlib.ExitStack()
        self.peers = {}

    def start(self, make, label=None, **how):
        folder = self.setting.folder / self.name
        folder.mkdir(parents=True, exist_ok=True)
        made = make(folder, self.setting.behind, **how)
        self.stack.callback(made.stop)
        self.peers[label or made.name] = made
        return made

    def expect_chat(self, peer, request=None, tls=None):
        """The upstream's own answer, byte for byte."""
        wanted = ask(self.setting.behind.port, load.chat())
        expect(peer.name, ask(peer.port, request or load.chat(), tls), wanted)

    def expect_sum(self, peer, request, arrived):
        """The upstream tells what arrived there."""
        status, body = ask(peer.port, request)
        expect(peer.name, (status, json.loads(body)), (200, [{"label": load.body_sum(arrived), "score": 0.5}]))

    def prepare(self):
        raise NotImplementedError

    def measure(self, name, peer):
        raise NotImplementedError

    # Processor time per request under wrk.
    def under_wrk(self, peer, request, connections, **how):
        before = peer.cpu()
        told = load.wrk(self.setting.folder, peer.port, request, connections, self.setting.whole_seconds(), **how)
        spent = peer.cpu() - before
        return {
            "cpu_us": spent / told["requests"] * 1e6, "rps": told["rps"], "p50": told["p50"], "p99": told["p99"],
            "rss_mib": peer.rss("VmHWM") / KIB,
        }


class Chat(Workload):
    name, what = "P1", "chat JSON, 1 KB in, 1.7 KB out, 32 kept connections"

    def prepare(self):
        for make in (peers.relay, peers.haproxy, peers.nginx, peers.fourways):
            self.expect_chat(self.start(make))

    def measure(self, _, peer):
        return self.under_wrk(peer, load.chat(), 32)


class HalfLoad(Workload):
    name, what = "P1-half", "the same at half of HAProxy's rate"
    columns = ("cpu_us", "p50", "p99")
    rate = None

    def prepare(self):
        for make in (peers.haproxy, peers.fourways):
            self.expect_chat(self.start(make))
        self.rate = load.wrk(self.setting.folder, self.peers["haproxy"].port, load.chat(), 32, 1)["rps"] / 2

    def measure(self, _, peer):
        before = peer.cpu()
        told = load.h2load(self.setting.folder, peer.port, load.chat(), 32, self.rate, self.setting.whole_seconds())
        return {"cpu_us": (peer.cpu() - before) / told["requests"] * 1e6, "p50": told["p50"], "p99": told["p99"]}


class Streams(Workload):
    name, what = "P2", "64 event streams, events of 120 bytes 5 ms apart"
    columns = ("cpu_us_event", "first_ms", "freed_ms")
    count = 64

    def prepare(self):
        for make in (peers.relay, peers.haproxy, peers.nginx, peers.fourways):
            self.check(self.start(make, streams=True))

    def check(self, peer):
        request = self.request()
        made = urllib.request.Request(f"http://127.0.0.1:{peer.port}{request.path}", data=request.body, headers=request.fields, method="POST")
        with urllib.request.urlopen(made, timeout=60) as answer:
            expect(peer.name, answer.read(30 * 120), b"".join(load.event(number) for number in range(30)))

    def request(self):
        return load.chat(stream=True)

    def measure(self, name, peer):
        with load.Streams(self.setting.folder, peer.port, self.count, self.setting.seconds, self.setting.behind, self.request()) as streams:
            before = peer.cpu()
            counted = streams.flow()
            spent = peer.cpu() - before
            told = streams.leave()
        if told["failed"] or not counted or len(told["first_ms"]) < self.count:
            raise peers.Failed(f"{name}: {told}")
        return {"cpu_us_event": spent / counted * 1e6, "first_ms": told["first_ms"][len(told["first_ms"]) // 2], "freed_ms": told["freed_ms"]}


class Binary(Workload):
    name, what = "P3", "1 MiB binary to an upstream that takes it so"
    columns = ("cpu_us", "rps", "p50", "rss_mib")

    def prepare(self):
        request = load.raw("vit-raw", MIB)
        for make in (peers.relay, peers.haproxy, peers.nginx, peers.fourways):
            self.expect_sum(self.start(make), request, request.body)

    def measure(self, _, peer):
        return self.under_wrk(peer, load.raw("vit-raw", MIB), 8)


class Translated(Workload):
    name, what = "P4", "1 MiB translated; HAProxy passes the same bytes as they are"
    columns = ("cpu_us", "rps", "p50", "rss_mib")

    def prepare(self):
        binary = load.raw("vit-json", MIB)
        text = load.as_json("vit-raw", MIB)
        self.requests = {"haproxy": load.raw("vit-raw", MIB), "haproxy-json": text, "fourways": binary, "fourways-json": text}
        self.expect_sum(self.start(peers.haproxy), binary, binary.body)
        self.expect_sum(self.peers["haproxy"], text, text.body)
        self.peers["haproxy-json"] = self.peers["haproxy"]
        self.start(peers.fourways)
        self.peers["fourways-json"] = self.peers["fourways"]
        self.expect_sum(self.peers["fourways"], binary, load.as_sent(MIB))
        self.expect_sum(self.peers["fourways"], text, binary.body)

    def measure(self, name, peer):
        return self.under_wrk(peer, self.requests[name], 8)


class Cooling(Workload):
    name, what = "P5", "chat whose first way is cooling down (`limited-first`) beside chat without one"
    base = "direct"

    def prepare(self):
        peer = self.start(peers.fourways, "direct")
        self.peers["limited-first"] = peer
        self.requests = {"direct": load.chat(), "limited-first": load.chat("limited-first")}
        for request in self.requests.values():
            self.expect_chat(peer, request)

    def measure(self, name, peer):
        return self.under_wrk(peer, self.requests[name], 32)


class Limited(Workload):
    name, what = "P5-limit", "a first way that answers 429 with `Retry-After: 2`, six seconds of load"
    columns = ("hits", "most_in_a_second", "p50", "p99")
    base = "direct"
    rounds = 1

    def prepare(self):
        peer = self.start(peers.fourways, "direct")
        self.peers["limited-first"] = peer
        self.expect_chat(peer)

    def hits(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.setting.behind.port}/hits", timeout=10) as answer:
            return json.load(answer)

    def measure(self, name, peer):
        had = len(self.hits())
        request = load.chat() if name == "direct" else load.chat("limited-first")
        told = load.wrk(self.setting.folder, peer.port, request, 32, 1 if self.setting.smoke else 6)
        hits = self.hits()[had:]
        if (name == "direct") == bool(hits):
            raise peers.Failed(f"{name}: the first way was asked {len(hits)} times")
        most = max((sum(1 for other in hits if each <= other < each + 1000) for each in hits), default=0)
        return {"hits": len(hits), "most_in_a_second": most, "p50": told["p50"], "p99": told["p99"]}


class Uploads(Workload):
    name, what = "P6", "40 uploads of 16 MiB at 1 MiB/s, translated and kept for a second candidate; others pass them as they are"
    columns = ("peak_over_idle_mib", "cpu_ms")
    rounds = 1

    def prepare(self):
        for make in (peers.haproxy, peers.nginx, peers.fourways):
            self.start(make)
        self.size = MIB if self.setting.smoke else 16 * MIB
        self.count = 8 if self.setting.smoke else 40

    def measure(self, name, peer):
        request = load.raw("vit-twice" if name == "fourways" else "vit-raw", self.size)
        seen = load.body_sum(load.as_sent(self.size) if name == "fourways" else request.body)
        idle, before = peer.rss(), peer.cpu()
        peer.forget_peak()
        answers = asyncio.run(load.upload_all(peer.port, request, self.count, 4 * MIB if self.setting.smoke else MIB))
        for status, body in answers:
            expect(name, (status, json.loads(body)[0]["label"]), (200, seen))
        return {"peak_over_idle_mib": (peer.rss("VmHWM") - idle) / KIB, "cpu_ms": (peer.cpu() - before) / self.count * 1e3}


class Held(Workload):
    name, what = "P7", "idle event streams"
    columns = ("streams", "kib_per_stream")
    rounds = 1

    def prepare(self):
        self.count = min(200 if self.setting.smoke else 5000, peers.CONNECTIONS)
        for make in (peers.haproxy, peers.nginx, peers.fourways):
            self.start(make, streams=True)

    def measure(self, name, peer):
        request = load.chat(stream=True, user="hold still")
        self.expect_chat(peer)
        idle = peer.rss()

        async def held():
            return peer.rss()

        full = asyncio.run(load.hold(peer.port, request, self.count, held))
        return {"streams": self.count, "kib_per_stream": (full - idle) / self.count}


class Models(Workload):
    name, what = "P8", "10,000 models in the policy beside 10"
    columns = ("cpu_us", "p50", "rss_mib", "start_cpu_s")
    base = "10"

    def prepare(self):
        self.began = {}
        for models in (10, 10_000):
            peer = self.start(peers.fourways, str(models), models=models, name=f"models-{models}")
            self.began[str(models)] = peer.cpu()
            self.expect_chat(peer, load.chat(peers.alias(models // 2)))

    def measure(self, name, peer):
        return {**self.under_wrk(peer, load.chat(peers.alias(int(name) // 2)), 32), "start_cpu_s": self.began[name]}


@dataclasses.dataclass
class Certificate:
    certificate: pathlib.Path
    key: pathlib.Path


def certificate(folder):
    made = Certificate(folder / "tls.pem", folder / "tls.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made.key, "-out", made.certificate],
        check=True, capture_output=True,
    )
    return made


class Tls(Workload):
    name, what = "P9", "P1 over TLS on the listener, kept connections"

    def prepare(self):
        tls = certificate(self.setting.folder)
        for make in (peers.haproxy, peers.nginx, peers.fourways):
            self.expect_chat(self.start(make, tls=tls), tls=tls)

    def measure(self, _, peer):
        return self.under_wrk(peer, load.chat(), 32, tls=True)


class Threads(Workload):
    name, what = "threads", "P1 with two threads on the same core beside one"
    base = "1"

    def prepare(self):
        for threads in (1, 2):
            self.expect_chat(self.start(peers.fourways, str(threads), threads=threads, name=f"threads-{threads}"))

    def measure(self, _, peer):
        return self.under_wrk(peer, load.chat(), 32)


class Calls(Workload):
    name, what = "calls", "system calls per exchange of P1; `worked`: without those that came to EAGAIN"
    columns = ("worked", "all")
    rounds = 1

    def prepare(self):
        for make in (peers.haproxy, peers.nginx, peers.fourways):
            peer = self.start(make, counting=self.setting.folder / f"{make.__name__}.calls")
            self.expect_chat(peer)

    def measure(self, _, peer):
        counted = load.calls(self.setting.folder, peer, load.chat()).values()
        return {"worked": sum(calls - again for calls, again in counted), "all": sum(calls for calls, _ in counted)}


ALL = [Chat, HalfLoad, Streams, Binary, Translated, Cooling, Limited, Uploads, Held, Models, Tls, Threads, Calls]


def missing_programs():
    return [name for name in ("wrk", "h2load", "haproxy", "nginx", "taskset", "setpriv", "openssl") if shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin") is None]
