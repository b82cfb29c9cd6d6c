"""More than an upstream bears, and upstreams that fail all at once: bounds 20 times as wide as those that scripts/soak measures."""

import collections

import pytest
from processes import poll
from soak import Load, Upstream, percentile

ROOMY = {"connections": 8192, "connections_per_client": 4096}


def policy(*upstreams, max_wait="30s", **bounds):
    names = [f"up-{n}" for n in range(len(upstreams))]
    return {
        "upstreams": {name: {"kind": "dedicated", "url": each.url, **bounds} for name, each in zip(names, upstreams)},
        "models": {"soak/image-0": {"task": "image-classification", "route": names, "fallback": {"max_wait": max_wait}}},
        "limits": ROOMY,
    }


def load(here, folder, **how):
    with Load(here.url, folder, doors="path", **how) as running:
        told = running.result(120)
        assert running.process.returncode == 0, "an answer that was another's, or none"
    return told, list(running.lines())


def twice(upstream):
    return {name: n for name, n in collections.Counter(name for _, name, _ in upstream.seen()).items() if n > 1}


@pytest.mark.threat("D9")
@pytest.mark.parametrize("full, bounds", [("refuse", {}), ("queue", {"max_in_flight": 4})])
def test_five_times_the_load(start, tmp_path, full, bounds):
    """4 slots of 20 ms each bear 200 a second: as many are answered, and the rest is refused at once."""
    upstream = start.keep(Upstream(slots=4, service=20, full=full))
    here = start(policy(upstream, **bounds))
    told, lines = load(here, tmp_path, rate=1000, seconds=2, connections=400)
    outcomes = collections.Counter(what for _, _, what, *_ in lines)
    assert set(outcomes) == {"good", "refused"} and set(told["statuses"]) == {"200", "429"}
    assert told["good_per_second"] >= 180 / 20
    assert told["refused"]["p50_ms"] < 10 * 20
    most = upstream.stats()["most"]
    assert most <= 4 if bounds else most < 400, "the limit was learned"


@pytest.mark.threat("D8")
@pytest.mark.fault("W")
@pytest.mark.parametrize("fault", ["503", "reset"])
def test_an_outage_of_everything(start, tmp_path, fault):
    both = [start.keep(Upstream(service=5)) for _ in range(2)]
    here = start(policy(*both, max_wait="0s"))
    for each in both:
        each.set(faults=1, kinds=fault)
    told, lines = load(here, tmp_path, requests=400, connections=40)
    assert told["refused"]["count"] == 400 and set(told["statuses"]) <= {"429", "502"}
    assert not twice(both[0]) and not twice(both[1])
    assert sum(each.stats()["seen"] for each in both) <= 1.2 * 400 + 40
    at_rest = [took / 1000 for _, _, _, status, _, took in lines if status == 429]
    assert percentile(at_rest, 0.5) < 5 * 20, "while all rest, the last answer is there at once"

    for each in both:
        each.set(faults=0)
    ask = {"content": b"\x89PNG\r\n\x1a\n", "headers": {"content-type": "image/png"}}
    poll(lambda: here.http.post("/models/soak/image-0", **ask).status_code == 200, 20, "normal again")
    told, _ = load(here, tmp_path, requests=100, connections=10, name="after")
    assert told["good"]["count"] == 100


@pytest.mark.threat("D8")
@pytest.mark.fault("D")
def test_a_healthy_second_answers_all_that_the_primary_reset(start, tmp_path):
    primary = start.keep(Upstream(service=60_000))
    second = start.keep(Upstream())
    here = start(policy(primary, second))
    with Load(here.url, tmp_path, doors="path", requests=100, connections=100) as running:
        poll(lambda: primary.stats()["busy"] == 100, what="all are in flight there")
        primary.reset()
        told = running.result(60)
    assert told["good"]["count"] == 100
    assert not twice(primary) and not twice(second)


@pytest.mark.threat("D10")
@pytest.mark.fault("L")
def test_a_crowd_that_wants_a_model_that_loads(start, tmp_path):
    upstream = start.keep(Upstream(faults=1, kinds="loading"))
    here = start(policy(upstream))
    with Load(here.url, tmp_path, doors="path", requests=200, connections=200) as running:
        poll(lambda: upstream.stats()["seen"] > 0, what="the first asks")
        poll(lambda: here.http.get("/health").status_code == 200 and twice(upstream), what="a probe after the first crowd")
        crowd = upstream.stats()["seen"]
        assert crowd <= 200 + 20, "the crowd waits for one probe"
        upstream.set(faults=0)
        told = running.result(60)
    assert told["good"]["count"] >= 195, "the crowd follows; who probed three times was told to come back"
    assert max(collections.Counter(name for _, name, _ in upstream.seen()).values()) <= 3
