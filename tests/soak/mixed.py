"""Load over all doors, in clear text and over TLS, a tenth of what upstreams do is wrong, settings are reloaded, clients leave: nothing is lost or repeated."""

import collections
import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import certificates
from gateway import metric
from processes import poll
from soak import Load, LongGateway, Stage, Upstream, Watch, more_than_once, slope

MODELS = 8
CONNECTIONS = 24  # in clear text, and as many over TLS
RELOAD_EVERY = 10  # seconds
LEAVE = 0.02
POOLED_FOR = 30  # seconds, the longest that an idle connection to an upstream is kept
# Faults that one answer is worth, and a few that make a whole upstream rest for a second or a minute.
KINDS = "reset:20,reset_body:20,cut:20,garbage:10,drip:15,stall:1,500:20,503:5,429:5,429wait:0.3,loading:0.3"
ROUTER_KINDS = KINDS + ",402:0.05,401:0.02,403:0.02"


def policy(router, first, second, tls, reloads=0):
    upstreams = {
        "router": {"kind": "serverless", "url": router.url, "tokens": ["acme", "spare"]},
        "vit": {"kind": "dedicated", "url": first.url, "token": "acme", "insecure_http": True},
        "vit-json": {"kind": "dedicated", "url": second.url, "payload": "base64"},
        "llm": {"kind": "dedicated", "url": first.url, "engine": "openai"},
        "llm-two": {"kind": "dedicated", "url": second.url, "engine": "openai", "max_in_flight": 64},
    }
    images = {"task": "image-classification", "route": ["vit", "router", "vit-json"]}
    others = {"task": "image-classification", "route": ["router", "vit-json", "vit"]}
    chats = {"task": "chat-completion", "route": [["llm", "llm-two"], "router"]}
    models = {f"soak/image-{n}": others if n % 2 else images for n in range(MODELS)}
    models |= {f"soak/chat-{n}": chats for n in range(MODELS)}
    models |= {f"reloaded/{n}": chats for n in range(reloads % 3)}  # every reload changes something
    return {
        "listen": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": tls}],
        "tokens": {"acme": {"secret": "${SOAK_ONE}"}, "spare": {"secret": "${SOAK_TWO}"}},
        "upstreams": upstreams,
        "models": models,
        "limits": {"connections": 8192, "connections_per_client": 4096},
    }


def agree(door, outcome, status, recorded, failed):
    """Whether what the client saw and what the record says (its status, and whether it names an error) are the same."""
    if outcome in ("good", "refused"):
        return recorded == status and failed == (outcome == "refused")
    if outcome == ("event" if door == "stream" else "cut"):  # the head was out already, and the record says how it ended
        return recorded == 200 and failed
    return outcome == "left"  # the answer may have been written just before


def main():
    stage = Stage(__doc__, seconds=60)
    with contextlib.ExitStack() as keep:
        router = keep.enter_context(Upstream(service=2, faults=0.1, kinds=ROUTER_KINDS))
        first = keep.enter_context(Upstream(service=2, faults=0.1, kinds=KINDS))
        second = keep.enter_context(Upstream(service=2, faults=0.1, kinds=KINDS, slots=32, full="refuse"))
        env = {"SOAK_ONE": "hf_soakONEsoakONEsoakONE", "SOAK_TWO": "hf_soakTWOsoakTWOsoakTWO"}
        company = certificates.authority()
        ca = stage.folder / "company.pem"
        ca.write_bytes(company.pem)
        tls = certificates.make("127.0.0.1", by=company).write(stage.folder, "leaf")
        here = keep.enter_context(LongGateway(policy(router, first, second, tls), stage.folder, env=env))
        idle = here.descriptors()
        how = {"connections": CONNECTIONS, "seconds": stage.seconds, "leave": LEAVE, "big": 0.01, "models": MODELS}
        loads = [
            keep.enter_context(Load(here.urls[0], stage.folder, name="clear", **how)),
            keep.enter_context(Load(here.urls[1], stage.folder, name="tls", ca=ca, **how)),
        ]

        def figures():
            return metric(here.metrics(), "fourways_requests_total"), here.memory(), here.descriptors()

        reloads = 0
        with Watch(figures) as watch:
            began, shown = time.monotonic(), 0
            while any(each.process.poll() is None for each in loads):
                time.sleep(0.1)
                passed = time.monotonic() - began
                if passed >= (reloads + 1) * RELOAD_EVERY:
                    reloads += 1
                    here.write(policy(router, first, second, tls, reloads))
                    here.reload()
                if passed >= shown + 15 and watch.samples:
                    shown = passed
                    done, memory, descriptors = watch.samples[-1][1]
                    print(f"  {passed:.0f} s: {done:.0f} requests, {memory / 1024:.1f} MiB, {descriptors} descriptors", flush=True)
        told = [each.result() for each in loads]
        # Kept connections come and go by the hundred: what counts is what stays when all of them have idled away.
        with contextlib.suppress(AssertionError):
            poll(lambda: here.descriptors() <= idle, POOLED_FOR + 10, "its connections idle away")
        left = here.descriptors() - idle
        metrics = here.metrics()
        code = here.stop()
        seen = {"router": router.seen(), "first": first.seen(), "second": second.seen()}

    # What was offered, and what became of it.
    lines = [line for each in loads for line in each.lines()]
    outcomes = collections.Counter(what for _, _, what, *_ in lines)
    answers = collections.Counter(what for each in seen.values() for _, _, what in each)
    asked = sum(each["asked"] for each in told)
    stage.say("requests", asked)
    stage.say("over TLS", told[1]["asked"], at_least=asked / 10)
    stage.say("requests a second", sum(each["asked"] / each["seconds"] for each in told))
    stage.say("outcomes", " ".join(f"{what} {n}" for what, n in outcomes.most_common()))
    stage.say("upstreams answered", " ".join(f"{what} {n}" for what, n in answers.most_common()))
    for way, each in zip(("in clear text", "over TLS"), told, strict=True):
        times = " ".join(f"{each['good'][p]:.1f}" for p in ("p50_ms", "p99_ms", "p100_ms"))
        stage.say(f"latency of good answers {way}, p50, p99, longest", times, unit="ms")
    stage.say("reloads", reloads)

    # Nothing is repeated, lost or mixed up.
    stage.none("answers that were another's or none", [line for line in lines if line[2] in ("FOREIGN", "BAD", "no_connection")])
    for name, each in seen.items():
        stage.none(f"sent again to {name} without its refusal", more_than_once(each))
    records = {}
    twice = []
    for record in here.records():
        if record["request_id"] in records:
            twice.append(record["request_id"])
        records[record["request_id"]] = (record["status"], "error" in record)
    stage.none("requests with two access records", twice)
    stage.none("requests without an access record", [line for line in lines if line[0] not in records])
    stage.none("access records without a request", set(records) - {line[0] for line in lines})
    differ = [(line, records[line[0]]) for line in lines if line[0] in records and not agree(*line[1:4], *records[line[0]])]
    stage.none("access records that differ from what the client saw", differ)

    # Nothing grows.
    settled = min(60, stage.seconds / 3)
    flat = [sample for at, sample in watch.samples if at >= settled]
    memory = slope((done / 1e5, kib / 1024) for done, kib, _ in flat)
    descriptors = slope((done / 1e5, fds) for done, _, fds in flat)
    hundred_thousands = asked / 1e5
    span = (flat[-1][0] - flat[0][0]) / 1e5
    # A short run shows a slope only where it came to something: bodies and TLS connections in flight are some MiB.
    stage.say("memory after the start", max(kib for _, kib, _ in flat) / 1024, unit="MiB at most")
    stage.say("memory, slope", memory, at_most=max(1, 4 / span), unit="MiB per 100,000 requests")
    stage.say("descriptors in use, slope", descriptors, unit="per 100,000 requests, most of it connections that are kept")
    stage.say("descriptors that stayed", left, at_most=max(0.5 * hundred_thousands, 2))
    stage.say("internal errors", metric(metrics, "fourways_internal_errors_total"), at_most=0)
    stage.say("log lines that tell of one", len(here.logged("internal error")), at_most=0)
    stage.say("exit code", code, at_most=0)
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
