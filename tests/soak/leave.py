"""How soon an upstream sees the end after a client left, in mid stream and in mid upload."""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import metric
from soak import Load, LongGateway, Stage, Upstream, percentile

CLIENTS = 400
NEEDED = 100  # ms, 99 of 100


def policy(upstream):
    return {
        "upstreams": {
            "vit": {"kind": "dedicated", "url": upstream.url},
            "llm": {"kind": "dedicated", "url": upstream.url, "engine": "openai"},
        },
        "models": {
            "soak/image-0": {"task": "image-classification", "route": ["vit"]},
            "soak/chat-0": {"task": "chat-completion", "route": ["llm"]},
        },
    }


def leave(stage, label, door, upstream, connections=20, **how):
    print(f"{label}:", flush=True)
    with contextlib.ExitStack() as keep:
        upstream = keep.enter_context(upstream)
        folder = stage.folder / door
        folder.mkdir()
        here = keep.enter_context(LongGateway(policy(upstream), folder))
        load = Load(here.url, folder, requests=CLIENTS, connections=connections, doors=door, leave=1, linger=60, **how)
        load.result()
        left = {name: at + took for name, _, what, _, at, took in load.lines() if what == "left"}
        seen = {name: at for name, at, what in ((name, at, what) for at, name, what in upstream.seen()) if what == "gone"}
        took = [(seen[name] - at) / 1e3 for name, at in left.items() if name in seen]
        open_ = upstream.stats()["busy"]
        cancelled = metric(here.metrics(), "fourways_requests_total", status="499")
        stage.say("  exit code", here.stop(), at_most=0)
        records = {record["request_id"]: record["status"] for record in here.records()}
    stage.say("  clients that left", len(left))
    stage.say("  closed at the upstream", len(took), at_least=200)
    stage.say("  p50", percentile(took, 0.5), unit="ms")
    stage.say("  p99", percentile(took, 0.99), at_most=NEEDED, unit="ms")
    stage.say("  longest", max(took, default=0.0), unit="ms")
    stage.say("  still open at the upstream", open_, at_most=0)
    stage.none("  records of them that are no 499", [name for name in left if records.get(name) != 499])
    stage.say("  499 in the metrics", cancelled)


def main():
    stage = Stage(__doc__, seconds=0)
    leave(stage, "in mid stream", "stream", Upstream(hold=60_000), points=2)
    leave(stage, "before the answer", "chat", Upstream(service=60_000), points=1)
    leave(stage, "in mid upload", "path", Upstream(), connections=4, points=0, least=1 << 20)
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
