"""The warm bridge: while a dedicated endpoint wakes, others answer or requests wait; one waker asks it; traffic comes back by itself."""

import concurrent.futures
import itertools
import signal
import threading
import time

import httpx
import pytest
from gateway import metric
from processes import poll
from stubs import Reply, Sleeper, Toolkit, output_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(100))
ANSWER = output_of("image-classification", PNG)
SECRETS = {"ONE": "hf_canary_one_0123456789", "TWO": "hf_canary_two_0123456789"}
PAUSED = Reply({"error": "Bad Request: The endpoint is paused, ask a maintainer to restart it"}, 400)


def policy(sleeper, second=None, tokens=("one",), models=("org/vit",), fallback=None, **upstream):
    upstreams = {"vit-prod": {"kind": "dedicated", "url": sleeper.url, "tokens": list(tokens), **upstream}}
    if second is not None:
        upstreams["second"] = {"kind": "dedicated", "url": second.url}
    entry = {"task": "image-classification", "route": list(upstreams), **({"fallback": fallback} if fallback else {})}
    secrets = {"one": {"secret": "${ONE}"}, "two": {"secret": "${TWO}"}}
    return {"tokens": secrets, "upstreams": upstreams, "models": {name: entry for name in models}}


def ask(here, model="org/vit"):
    return here.http.post(f"/models/{model}", content=PNG)


def route(reply):
    return reply.headers["x-fourways-route"]


def is_good(reply):
    return reply.status_code == 200 and reply.json() == ANSWER


def waking(here):
    return metric(here.metrics(), "fourways_waking", upstream="vit-prod")


def ended(here, result):
    return metric(here.metrics(), "fourways_wakes_total", upstream="vit-prod", result=result)


class Load:
    """Fifty requests a second until it is left: .replies, each with the time at which it came."""

    def __init__(self, here):
        self.here, self.replies, self.over = here, [], threading.Event()
        self.http = httpx.Client(base_url=here.url, timeout=60, trust_env=False)
        self.pool = concurrent.futures.ThreadPoolExecutor(16)
        self.asked = []
        self.thread = threading.Thread(target=self.run)

    def run(self):
        began = time.monotonic()
        for number in itertools.count(1):
            self.asked.append(self.pool.submit(self.one))
            if self.over.wait(max(0, began + number / 50 - time.monotonic())):
                return

    def one(self):
        reply = self.http.post("/models/org/vit", content=PNG)
        self.replies.append((time.monotonic(), reply))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for each in self.asked:
            each.result()
        self.pool.shutdown()
        self.http.close()


@pytest.mark.parametrize("holds", [True, False], ids=["holds the waking request", "answers 503 at once"])
def test_under_load_with_a_second_way(start, holds):
    sleeper, second = start.keep(Sleeper(takes=2, holds=holds)), start.keep(Toolkit())
    here = start(policy(sleeper, second), env=SECRETS)
    back = "vit-prod(200)"

    with Load(here) as load:
        poll(lambda: sleeper.waking, what="a waking request")
        poll(lambda: waking(here) == 1 or sleeper.awake.is_set(), what="the metric")
        first = poll(lambda: next((at for at, each in list(load.replies) if route(each) == back), None), what="traffic is back")
        woken = len(sleeper.waking)
        count = len(load.replies)
        poll(lambda: len(load.replies) >= count + 50, what="a second more")

    replies = [each for _, each in load.replies]
    assert all(is_good(each) for each in replies), "no request failed"
    routes = {route(each) for each in replies}
    assert routes <= {back, "vit-prod(503) second(200)", "vit-prod(warming) second(200)", "vit-prod(probing) second(200)"}
    assert "vit-prod(warming) second(200)" in routes
    assert [route(each) for _, each in load.replies[-10:]] == [back] * 10
    assert sleeper.refused <= 16, "no client's request is a probe: only those under way at the beginning met it asleep"

    times = [at for at, _ in sleeper.waking]
    print(f"back {first - sleeper.ready_at:.3f} s after it was ready, {woken} waking requests, {sleeper.refused} refused")
    assert len(sleeper.waking) == woken, "what is ready is not asked"
    assert sleeper.most_held == 1
    if holds:
        assert woken == 1
        assert first - sleeper.ready_at < 5
    else:
        assert 2 <= woken <= 1 + (times[-1] - times[0]) / 0.99, "one a second at most"
        assert first - sleeper.ready_at < 20
    for _, seen in sleeper.waking:
        assert (seen.method, seen.target, seen.body, seen.token) == ("GET", "/health", b"", SECRETS["ONE"])
        assert 1 <= int(seen.field("x-scale-up-timeout")) <= 55

    assert ended(here, "ready") == 1 and waking(here) == 0
    assert metric(here.metrics(), "fourways_waking_requests_total", upstream="vit-prod") == woken
    assert metric(here.metrics(), "fourways_wake_last_seconds", upstream="vit-prod") > 1
    passed = next(each for each in replies if route(each) == "vit-prod(warming) second(200)")
    skipped, answered = here.record(passed)["route"]
    assert (skipped["upstream"], skipped["outcome"], skipped.get("status")) == ("vit-prod", "warming", None)
    assert (answered["upstream"], answered["status"]) == ("second", 200)
    here.logged("an endpoint sleeps and is woken", upstream="vit-prod")
    here.logged("an endpoint is awake", upstream="vit-prod", result="ready")


def test_it_falls_asleep_again_and_nobody_keeps_it_awake(start):
    sleeper, second = start.keep(Sleeper(takes=0.2, holds=True)), start.keep(Toolkit())
    here = start(policy(sleeper, second), env=SECRETS)
    for turn in range(1, 4):
        assert is_good(ask(here))
        poll(lambda: route(ask(here)) == "vit-prod(200)", what="it is back")
        assert ended(here, "ready") == turn
        assert len(sleeper.waking) == turn, "asked while it slept, and never since"
        sleeper.awake.clear()
        sleeper.alarm_ = None


@pytest.mark.parametrize("holds", [True, False])
def test_the_only_way_is_waited_for(start, holds):
    """Two models, twelve requests, one waker: none fails, and none is sent to find out how it is."""
    sleeper = start.keep(Sleeper(takes=2, holds=holds))
    here = start(policy(sleeper, models=("org/vit", "org/other")), env=SECRETS)
    assert sleeper.refused == 0
    with concurrent.futures.ThreadPoolExecutor(12) as crowd:
        first = crowd.submit(ask, here)
        poll(lambda: sleeper.waking, what="a waking request")
        others = [crowd.submit(ask, here, model) for model in ["org/other", "org/vit"] * 5]
        assert is_good(first.result()) and route(first.result()) == "vit-prod(503) vit-prod(200)"
        assert {(each.result().status_code, route(each.result())) for each in others} == {(200, "vit-prod(200)")}
    assert sleeper.refused == 1 and sleeper.most_held == 1
    assert len(sleeper.waking) == 1 or not holds


def test_two_names_of_one_endpoint_have_one_waker(start):
    sleeper = start.keep(Sleeper(takes=1, holds=True))
    made = policy(sleeper)
    made["upstreams"]["again"] = {**made["upstreams"]["vit-prod"], "token": "two"}
    del made["upstreams"]["again"]["tokens"]
    made["models"]["org/again"] = {"task": "image-classification", "route": ["again"]}
    here = start(made, env=SECRETS)
    with concurrent.futures.ThreadPoolExecutor(8) as crowd:
        asked = [crowd.submit(ask, here, model) for model in ["org/vit", "org/again"] * 4]
        assert all(is_good(each.result()) for each in asked)
    assert len(sleeper.waking) == 1


def test_patience_ends_with_429_and_a_time(start):
    sleeper = start.keep(Sleeper(takes=None, holds=True))
    here = start(policy(sleeper, fallback={"max_wait": "50ms"}), env=SECRETS)
    for expected in ("vit-prod(503)", "vit-prod(warming)", "vit-prod(warming)"):
        reply = ask(here)
        assert (reply.status_code, route(reply)) == (429, expected)
        assert 1 <= int(reply.headers["retry-after"]) <= 5
        assert reply.json()["code"] == "warming" and reply.json()["error"]
    assert "the gateway wakes it" in reply.json()["error"]
    assert sleeper.refused == 1
    assert here.stop(30) == 0, "a waking request that is held ends at once"


def test_a_paused_endpoint_is_not_woken(start):
    """It fell asleep and was paused then: 503 to the first, 400 to the waker."""
    sleeper, second = start.keep(Sleeper(takes=None)), start.keep(Toolkit())
    here = start(policy(sleeper, second), env=SECRETS)
    sleeper.when(Reply(b"", 503), times=1)
    sleeper.when(PAUSED)
    assert is_good(ask(here))
    line = here.logged("an endpoint is no longer woken", upstream="vit-prod", result="paused")
    assert line["level"] == "warning" and "resume" in line["problem"]
    poll(lambda: route(ask(here)) == "vit-prod(400) second(200)", what="a request finds out how it is")
    assert [each.method for each in sleeper.seen].count("GET") == 1 and waking(here) == 0

    alone = start(policy(sleeper, fallback={"max_wait": "10ms"}), env=SECRETS)
    reply = ask(alone)
    assert reply.status_code == 502 and "paused" in reply.json()["error"] and "resumes it" in reply.json()["error"]
    sleeper.calm()
    sleeper.wake()
    poll(lambda: route(ask(here)) == "vit-prod(200)", what="it was resumed")


@pytest.mark.parametrize("status, result", [(401, "refused"), (403, "refused"), (404, "no_route"), (302, "no_route")])
def test_a_health_route_that_tells_nothing_leaves_it_to_requests(start, status, result):
    sleeper, second = start.keep(Sleeper(takes=None)), start.keep(Toolkit())
    sleeper.usual = lambda seen: Reply(b"", status if seen.method == "GET" else 503)
    here = start(policy(sleeper, second, tokens=("one", "two")), env=SECRETS)
    assert is_good(ask(here))
    line = here.logged("an endpoint is no longer woken", upstream="vit-prod", result=result)
    assert line["level"] == "warning" and line["last"] == f"it answered {status}"
    asked = [seen.token for seen in sleeper.seen if seen.method == "GET"]
    assert asked == ([SECRETS["ONE"], SECRETS["TWO"]] if result == "refused" else [SECRETS["ONE"]])

    before = len(sleeper.seen)
    poll(lambda: is_good(ask(here)) and len(sleeper.seen) > before, what="a request finds out")
    assert sleeper.seen[-1].method == "POST" and len([each for each in here.log if each["text"] == line["text"]]) == 1
    sleeper.usual = lambda seen: Toolkit.usual(sleeper, seen)
    poll(lambda: route(ask(here)) == "vit-prod(200)", what="it is back")


def test_one_that_never_starts_is_given_up(start):
    sleeper, second = start.keep(Sleeper(takes=None)), start.keep(Toolkit())
    here = start(policy(sleeper, second, wake_timeout="1500ms"), env=SECRETS)
    assert is_good(ask(here))
    here.logged("an endpoint is no longer woken", upstream="vit-prod", result="given_up")

    # From now on it is broken. (Much later it would be tried again: then once more.)
    def broken():
        reply = ask(here)
        assert is_good(reply)
        return here.record(reply)["route"][0]["outcome"] == "unavailable"

    poll(broken, what="it counts as unavailable")

    alone = start(policy(sleeper, wake_timeout="3s", fallback={"max_wait": "10ms", "attempts": 1}), env=SECRETS)
    poll(lambda: ask(alone).status_code == 502, 60, "it is given up")
    reply = poll(lambda: next((each for each in [ask(alone)] if each.status_code == 502), None), 60, "the words")
    assert reply.json()["code"] == "unavailable"
    assert "did not start within 3 s" in reply.json()["error"] and "status" in reply.json()["error"]

    sleeper.wake()
    poll(lambda: route(ask(here)) == "vit-prod(200)", what="it is back all the same")


def test_an_endpoint_that_is_gone_is_unreachable(start):
    sleeper, second = start.keep(Sleeper(takes=None, holds=True)), start.keep(Toolkit())

    def hang_up(seen):
        raise ConnectionAbortedError

    sleeper.usual = lambda seen: hang_up(seen) if seen.method == "GET" else Reply(b"", 503)
    here = start(policy(sleeper, second), env=SECRETS)
    assert is_good(ask(here))
    here.logged("an endpoint is no longer woken", upstream="vit-prod", result="unreachable")
    assert len([seen for seen in sleeper.seen if seen.method == "GET"]) == 5


def test_without_a_waker_requests_probe(start):
    sleeper, second = start.keep(Sleeper(takes=0.1)), start.keep(Toolkit())
    here = start(policy(sleeper, second, wake_timeout=0), env=SECRETS)
    assert route(ask(here)) == "vit-prod(503) second(200)"
    poll(lambda: route(ask(here)) == "vit-prod(200)", what="a probe finds it awake")
    assert not sleeper.waking


def test_a_path_of_its_own(start):
    sleeper, second = start.keep(Sleeper(takes=None)), start.keep(Toolkit())
    made = policy(sleeper, second, health="/alive?deep=1")
    made["upstreams"]["vit-prod"]["url"] += "/prefix"
    here = start(made, env=SECRETS)
    assert is_good(ask(here))
    poll(lambda: sleeper.waking, what="a waking request")
    assert sleeper.waking[0][1].target == "/prefix/alive?deep=1"


# ---- reload and stop ----


def reloaded(here, made):
    here.write(made)
    reply = here.admin_http.post("/reload")
    assert reply.status_code == 200, reply.text


def test_reloads_while_it_wakes(start):
    sleeper, second = start.keep(Sleeper(takes=None, holds=True)), start.keep(Toolkit())
    here = start(policy(sleeper, second), env=SECRETS)
    assert is_good(ask(here))
    poll(lambda: sleeper.waking, what="a waking request")

    # Still named: it goes on.
    reloaded(here, policy(sleeper, second, tokens=("two",), max_in_flight=7))
    assert route(ask(here)) == "vit-prod(warming) second(200)"
    sleeper.wake()
    poll(lambda: route(ask(here)) == "vit-prod(200)", what="it is back")
    assert len(sleeper.waking) == 1 and ended(here, "ready") == 1

    # Asleep again, and no longer named: nobody wakes it.
    sleeper.awake.clear()
    assert is_good(ask(here))
    poll(lambda: len(sleeper.waking) == 2, what="a waking request")
    assert sleeper.waking[1][1].token == SECRETS["TWO"]
    gone = policy(sleeper, second)
    del gone["upstreams"]["vit-prod"]
    gone["models"]["org/vit"]["route"] = ["second"]
    reloaded(here, gone)
    here.logged("an endpoint is no longer woken", result="gone")
    assert route(ask(here)) == "second(200)"
    reloaded(here, policy(sleeper, second))
    sleeper.wake()
    poll(lambda: route(ask(here)) == "vit-prod(200)", what="named again, it is asked as if nothing had been")
    assert len(sleeper.waking) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("holds", [True, False])
def test_stopping_while_it_wakes(start, holds, number):
    sleeper, second = start.keep(Sleeper(takes=None, holds=holds)), start.keep(Toolkit())
    here = start(policy(sleeper, second), env=SECRETS)
    assert is_good(ask(here))
    poll(lambda: sleeper.waking, what="a waking request")
    here.signal(number)
    assert here.process.wait(30) == 0
