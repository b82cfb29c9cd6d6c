"""Ten times the load that an upstream bears: it stays busy, the others are told so at once, and nothing grows."""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import metric
from soak import Load, LongGateway, Stage, Upstream, Watch, slope

SLOTS, SERVICE = 4, 20  # so 200 a second at most
RATE = 2000
CONNECTIONS = 1000
NEEDED = {"good a second": 180, "median refusal": 10}  # 1/s, ms


def policy(upstream, **bounds):
    return {
        "upstreams": {"vit": {"kind": "dedicated", "url": upstream.url, **bounds}},
        "models": {"soak/image-0": {"task": "image-classification", "route": ["vit"]}},
        "limits": {"connections": 8192, "connections_per_client": 4096},
    }


def overload(stage, label, full, **bounds):
    print(f"{label}:", flush=True)
    with contextlib.ExitStack() as keep:
        folder = stage.folder / full
        folder.mkdir()
        upstream = keep.enter_context(Upstream(slots=SLOTS, service=SERVICE, full=full))
        here = keep.enter_context(LongGateway(policy(upstream, **bounds), folder))

        def figures():
            return metric(here.metrics(), "fourways_requests_total"), here.memory(), here.descriptors()

        with Watch(figures, every=0.25) as watch:
            load = keep.enter_context(
                Load(here.url, folder, rate=RATE, seconds=stage.seconds, connections=CONNECTIONS, doors="path")
            )
            told = load.result()
        refused, good = told.get("refused", {"count": 0, "p50_ms": 0, "p99_ms": 0}), told["good"]
        most = upstream.stats()["most"]
        asked_again = sum(1 for _, _, what in upstream.seen() if what == "429")
        internal = metric(here.metrics(), "fourways_internal_errors_total")
        code = here.stop()
    stage.say("  offered a second", told["asked"] / stage.seconds)
    stage.say("  good answers a second", told["good_per_second"], at_least=NEEDED["good a second"])
    stage.say("  good answers, p50, p99", f"{good['p50_ms']:.1f} {good['p99_ms']:.1f} ms")
    stage.say("  refusals", refused["count"])
    stage.say("  refusals, median", refused["p50_ms"], at_most=NEEDED["median refusal"], unit="ms")
    stage.say("  refusals, p99", refused["p99_ms"], unit="ms")
    stage.say("  other outcomes", told["asked"] - good["count"] - refused["count"], at_most=0)
    stage.say("  at the upstream at once, at most", most)
    stage.say("  429 of the upstream", asked_again)
    flat = [sample for at, sample in watch.samples if at >= stage.seconds / 3]
    memory = [kib / 1024 for _, kib, _ in flat]
    stage.say("  memory, most", max(memory), unit="MiB")
    stage.say("  memory, growth after the first third", slope((i / len(flat), m) for i, m in enumerate(memory)), at_most=2.0, unit="MiB")
    stage.say("  internal errors", internal, at_most=0)
    stage.say("  exit code", code, at_most=0)


def main():
    stage = Stage(__doc__, seconds=10)
    overload(stage, "an upstream that answers 429 without a time over its slots", "refuse")
    overload(stage, "an upstream that queues, with max_in_flight", "queue", max_in_flight=SLOTS)
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
