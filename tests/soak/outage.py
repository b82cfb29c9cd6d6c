"""Every upstream fails at once: nobody is hammered, clients hear so at once, and all is well a moment after the fault is lifted."""

import collections
import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import metric
from processes import poll
from soak import Load, LongGateway, Stage, Upstream, percentile

REQUESTS, CONNECTIONS = 1000, 100
RECOVERIES = 5


def policy(*upstreams, max_waiting=256, **fallback):
    names = [f"up-{n}" for n in range(len(upstreams))]
    return {
        "upstreams": {name: {"kind": "dedicated", "url": each.url, "max_waiting": max_waiting} for name, each in zip(names, upstreams)},
        "models": {"soak/image-0": {"task": "image-classification", "route": names, "fallback": fallback}},
        "limits": {"connections": 8192, "connections_per_client": 4096},
    }


@contextlib.contextmanager
def gateway(stage, label, *upstreams, **how):
    print(f"{label}:", flush=True)
    folder = stage.folder / str(len(list(stage.folder.iterdir())))
    folder.mkdir()
    with LongGateway(policy(*upstreams, **how), folder) as here:
        here.folder = folder
        yield here
        stage.say("  exit code", here.stop(), at_most=0)


def outage(stage, label, fault, max_wait):
    with Upstream(service=5) as one, Upstream(service=5) as two, gateway(stage, label, one, two, max_wait=max_wait) as here:
        both = (one, two)
        for each in both:
            each.set(faults=1, kinds=fault)
        with Load(here.url, here.folder, requests=REQUESTS, connections=CONNECTIONS, doors="path") as load:
            told = load.result()
        seen = [each.seen() for each in both]
        for each in seen:
            stage.none("  requests that an upstream saw twice", twice(each))
        stage.say("  exchanges in all", sum(map(len, seen)), at_most=1.2 * REQUESTS + CONNECTIONS)
        stage.say("  answered with an error", told["refused"]["count"], at_least=REQUESTS)
        stage.say("  statuses", told["statuses"])
        routes = collections.Counter(" ".join(f"{e['upstream']}({e['outcome']})" for e in r["route"]) for r in here.records())
        for route, times in routes.most_common(4):
            print(f"    {times} {route}", flush=True)
        recovery(stage, here, both, fault)


def recovery(stage, here, both, fault):
    """The fault is lifted while clients keep asking, at different moments of the cooldown."""
    times, probes = [], []
    for n in range(RECOVERIES):
        for each in both:
            each.set(faults=1, kinds=fault)
        with Load(here.url, here.folder, seconds=5, connections=20, doors="path", name=f"lift-{n}") as load:
            began = time.monotonic()
            time.sleep(3 + 0.17 * n)
            probes += [rate(each.seen(), (began + 1) * 1e6) for each in both]
            for each in both:
                each.set(faults=0)
            lifted = time.monotonic() * 1e6
            load.result()
            # Normal: the moment after which every request is answered well.
            ends = [(at + took, what) for _, _, what, _, at, took in load.lines() if at + took > lifted]
            good = any(what == "good" for _, what in ends)
            times.append(max([(at - lifted) / 1e6 for at, what in ends if what != "good"], default=0) if good else float("inf"))
    stage.say("  probes of an upstream a second", max(probes), at_most=1.05)
    stage.say("  normal again after, worst", max(times), at_most=1.1, unit="s")  # a second between probes, and the probe
    stage.say("  normal again after", " ".join(f"{t:.2f}" for t in times), unit="s")


def twice(seen):
    return {name: n for name, n in collections.Counter(name for _, name, _ in seen).items() if n > 1}


def rate(seen, since):
    """Exchanges a second from then on."""
    after = [at for at, _, _ in seen if at > since]
    return (len(after) - 1) / ((after[-1] - after[0]) / 1e6) if len(after) > 1 else 0


def refusals(stage):
    with Upstream() as one, Upstream() as two, gateway(stage, "both say 503, and nobody waits", one, two, max_wait="0s") as here:
        for each in (one, two):
            each.set(faults=1, kinds="503")
        with Load(here.url, here.folder, seconds=5, connections=32, rate=500, doors="path") as load:
            load.result()
            quick = [took / 1e3 for _, _, _, status, _, took in load.lines() if status == 429]
        stage.say("  refusals while all rest", len(quick), at_least=1000)
        stage.say("  median", percentile(quick, 0.5), at_most=5, unit="ms")
        stage.say("  p99", percentile(quick, 0.99), unit="ms")


def failover(stage):
    """A primary breaks with 100 requests in it; the second is well."""
    with Upstream(service=60_000) as one, Upstream(service=5) as two:
        with gateway(stage, "the primary resets 100 requests", one, two) as here:
            with Load(here.url, here.folder, requests=100, connections=100, doors="path") as load:
                poll(lambda: one.stats()["busy"] == 100, 20, "all are in flight")
                one.reset()
                told = load.result()
        stage.say("  answered by the second", told["good"]["count"], at_least=100)
        stage.none("  requests that an upstream saw twice", twice(one.seen()) | twice(two.seen()))


def refused(stage):
    """Nobody listens on either address; then somebody does again."""
    with Upstream() as one, Upstream() as two:
        ports = [one.port, two.port]
    with gateway(stage, "both refuse", one, two, max_wait="300ms") as here, contextlib.ExitStack() as keep:
        with Load(here.url, here.folder, requests=REQUESTS, connections=CONNECTIONS, doors="path") as load:
            stage.say("  answered with an error", load.result()["refused"]["count"], at_least=REQUESTS)
        tries = metric(here.metrics(), "fourways_attempts_total", outcome="unavailable")
        stage.say("  attempts to connect", tries, at_most=1.2 * REQUESTS + CONNECTIONS)
        with Load(here.url, here.folder, seconds=4, connections=20, doors="path", name="back") as load:
            time.sleep(2)
            for port in ports:
                keep.enter_context(Upstream(port=port))
            lifted = time.monotonic() * 1e6
            load.result()
            bad = [(at + took - lifted) / 1e6 for _, _, what, _, at, took in load.lines() if what != "good"]
        stage.say("  normal again after", max(bad), at_most=1.1, unit="s")


def stampede(stage):
    """500 clients want a model that is loading."""
    with Upstream() as one, gateway(stage, "500 clients, 503 with an estimated_time of 1 s", one, max_waiting=500) as here:
        one.set(faults=1, kinds="loading")
        with Load(here.url, here.folder, requests=500, connections=500, doors="path") as load:
            time.sleep(8)
            crowd = len(one.seen())
            began = time.monotonic() - 6
            stage.say("  asked at once, before it was known", crowd)
            stage.say("  probes a second", rate(one.seen(), began * 1e6), at_most=1.05)
            one.set(faults=0)
            stage.say("  answered well", load.result()["good"]["count"], at_least=490)  # a few used their attempts up as probes
        again = {name: n for name, n in twice(one.seen()).items() if n > 3}
        stage.none("  requests that it saw more than three times", again)


def main():
    stage = Stage(__doc__, seconds=0)
    outage(stage, "both say 503, clients wait up to 300 ms", "503", "300ms")
    outage(stage, "both reset, clients wait up to 300 ms", "reset", "300ms")
    refused(stage)
    refusals(stage)
    failover(stage)
    stampede(stage)
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
