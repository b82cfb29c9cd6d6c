"""A gateway that stays up: the admin listener, reloads of good and bad files, a graceful end under load."""

import concurrent.futures
import json
import re
import signal
import threading

import httpx
import openai
import pytest
from gateway import metric
from processes import poll
from raw_client import RawClient
from stubs import ROLE, Chat, Reply, Toolkit, chat_text, chunk, fingerprint, streamed

HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(100))


@pytest.fixture
def llm(start):
    return start.keep(Chat())


@pytest.fixture
def toolkit(start):
    return start.keep(Toolkit())


def policy(toolkit, llm, **models):
    upstreams = {"toolkit": {"kind": "dedicated", "url": toolkit.url}, "llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"}}
    known = {"org/vit": {"task": "image-classification", "route": ["toolkit"]}, "org/chat": {"task": "chat-completion", "route": ["llm"]}}
    return {"upstreams": upstreams, "models": known | models}


def chat(here, **more):
    return here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO, **more})


# ---- the admin listener ----


@pytest.mark.threat("R14")
def test_health_of_both_listeners(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    assert here.http.get("/health").json() == {"status": "ok"}
    for path, text in (("/live", "live\n"), ("/ready", "ready\n")):
        reply = here.admin_http.get(path)
        assert (reply.status_code, reply.text) == (200, text)
    assert here.admin_http.get("/nothing").status_code == 404
    assert here.admin_http.get("/reload").status_code == 405
    for path in ("/metrics", "/reload", "/workers", "/live", "/ready"):
        assert here.http.get(path).status_code == 404, "nothing of it on the public listener"
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "localhost@evil.example", "localhost:x@evil.example", "[::2]"):
        for path in ("/metrics", "/live", "/workers"):
            assert here.admin_http.get(path, headers={"host": host}).status_code == 403, (host, path)
    for first, second in (("127.0.0.1", "evil.example"), ("evil.example", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")):
        with RawClient(here.admin) as client:
            client.send(f"GET /metrics HTTP/1.1\r\nHost: {first}\r\nHost: {second}\r\n\r\n".encode())
            assert client.answer().status == 403
    for host in ("localhost", "127.0.0.1:1", "[::1]:9090", "127.8.8.8"):
        assert here.admin_http.get("/metrics", headers={"host": host}).status_code == 200, host
    assert here.admin_http.post("/reload", headers={"origin": "https://evil.example"}).status_code == 403
    assert here.workers() == []


SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)(\{(?:[a-z_][a-z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+-]+|NaN|\+Inf)$', re.I)


def samples(text):
    """The Prometheus text format, strictly: HELP and TYPE before a name's samples, all of them together, none twice."""
    types, seen, current = {}, set(), None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, *rest = line.split(" ", 3)
            assert what in ("HELP", "TYPE") and rest
            if what == "TYPE":
                assert name not in types, f"{name} stands in two places"
                types[name], current = rest[0], name
            continue
        found = SAMPLE.match(line)
        assert found, line
        name, labels = found[1], found[2] or ""
        base = re.sub("_(bucket|sum|count)$", "", name) if types.get(current) == "histogram" else name
        assert base == current, f"{name} outside of its own samples"
        assert (name, labels) not in seen, f"{name}{labels} twice"
        seen.add((name, labels))
        assert types[current] != "counter" or name.endswith("_total")
    return types


def test_metrics(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    samples(here.metrics())
    for _ in range(3):
        assert here.http.post("/models/org/vit", content=PNG).status_code == 200
    here.http.post("/models/no/such", content=PNG)
    toolkit.when(Reply({"error": "boom"}, 500), times=1)
    here.http.post("/models/org/vit", content=PNG)
    chat(here)
    text = here.metrics()
    types = samples(text)
    assert all(name.startswith("fourways_") for name in types)
    assert metric(text, "fourways_requests_total", model="org/vit", status="200") == 3
    assert metric(text, "fourways_requests_total", model="org/vit", status="502") == 1
    assert metric(text, "fourways_requests_total", status="404") == 1
    assert metric(text, "fourways_attempts_total", upstream="toolkit", outcome="ok") == 3
    assert metric(text, "fourways_attempts_total", upstream="toolkit", outcome="unavailable") == 1
    assert metric(text, "fourways_build_info") == 1
    assert metric(text, "fourways_requests_in_flight") == 0
    assert "histogram" in types.values() and metric(text, "fourways_request_seconds_count", model="org/vit") == 4
    assert metric(text, "fourways_upstream_sent_bytes_total", upstream="toolkit") >= 4 * len(PNG)


def test_labels_are_bounded(start, toolkit, llm):
    """A client that makes up names makes no metrics."""
    here = start(policy(toolkit, llm, **{"any/*": {"task": "image-classification", "route": ["toolkit"]}}))
    for n in range(50):
        here.http.post(f"/models/any/model-{n}", content=PNG)
        here.http.post(f"/models/none/model-{n}", content=PNG)
    text = here.metrics()
    assert "model-7" not in text
    assert metric(text, "fourways_requests_total", model="any/*") == 50


# ---- reloads ----


def by_signal(here):
    here.signal(signal.SIGHUP)


def by_request(here):
    here.admin_http.post("/reload")


def by_file(here):
    pass  # the change of the file is enough


@pytest.mark.parametrize("how", [by_signal, by_request, by_file])
def test_a_reload_takes_the_new_policy(start, toolkit, llm, how):
    here = start(policy(toolkit, llm))
    assert here.http.post("/models/new/one", content=PNG).status_code == 404
    here.write(policy(toolkit, llm, **{"new/one": {"task": "image-classification", "route": ["toolkit"]}}))
    how(here)
    reply = poll(
        lambda: (lambda got: got if got.status_code == 200 else None)(here.http.post("/models/new/one", content=PNG)), 30, "the new model"
    )
    assert reply.json()[0]["label"] == fingerprint(PNG)
    assert metric(here.metrics(), "fourways_reloads_total") >= 1
    assert here.logged("reloaded")


@pytest.mark.parametrize("how", [by_signal, by_request, by_file])
def test_a_bad_file_leaves_the_old_policy_serving(start, toolkit, llm, how):
    here = start(policy(toolkit, llm))
    here.write("models: { org/vit: { route: [nowhere] }, a: { rout: [] } }\n")
    how(here)
    line = here.logged("reload failed, the old settings stay")
    assert line["level"] == "error" and "policy.yaml:1:" in line["problem"]
    assert here.http.post("/models/org/vit", content=PNG).status_code == 200
    assert metric(here.metrics(), "fourways_reload_failed_total") >= 1
    here.write(policy(toolkit, llm, **{"new/one": {"task": "image-classification", "route": ["toolkit"]}}))
    how(here)
    poll(lambda: here.http.post("/models/new/one", content=PNG).status_code == 200, 30, "a good file again")


def test_a_reload_by_request_tells_every_problem(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    here.config.write_text("models: { org/vit: { route: [nowhere] }, a: { rout: [] } }\n")
    reply = here.admin_http.post("/reload")
    assert reply.status_code == 422 and reply.json()["reloaded"] is False
    assert len(reply.json()["problems"]) >= 2 and all("policy.yaml:1" in each for each in reply.json()["problems"])
    here.write(policy(toolkit, llm))
    assert here.admin_http.post("/reload").json() == {"reloaded": True, "models": 2}


def test_another_address_needs_a_restart_and_says_so(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    here.write({**policy(toolkit, llm), "listen": "127.0.0.1:1"})
    here.admin_http.post("/reload")
    assert here.logged("needs a restart")["level"] == "warning"
    assert here.http.get("/health").status_code == 200


def test_a_request_keeps_the_policy_that_it_began_with(start, toolkit, llm):
    """Reloads while a stream runs and while a crowd asks: nobody notices."""
    here = start(policy(toolkit, llm))
    turn = threading.Semaphore(0)

    def talk():
        yield ROLE
        for n in range(10):
            assert turn.acquire(timeout=60)
            yield chunk({"content": str(n)})
        yield b"data: [DONE]\n\n"

    llm.when(lambda seen: streamed(talk()), times=1)
    client = openai.OpenAI(base_url=here.url + "/v1", api_key="x", max_retries=0)
    turn.release()
    said = ""
    with concurrent.futures.ThreadPoolExecutor(4) as crowd:
        stop = threading.Event()

        def ask():
            with httpx.Client(base_url=here.url, timeout=60) as one:
                while not stop.is_set():
                    assert one.post("/models/org/vit", content=PNG).status_code == 200

        asking = [crowd.submit(ask) for _ in range(3)]
        try:
            for each in client.chat.completions.create(model="org/chat", messages=HELLO, stream=True):
                said += each.choices[0].delta.content or ""
                here.write(policy(toolkit, llm, **{f"new/{len(said)}": {"route": ["toolkit"]}}) if said else policy(toolkit, llm))
                assert here.admin_http.post("/reload").status_code == 200
                turn.release()
        finally:
            stop.set()
        for each in asking:
            each.result()
    assert said == "0123456789"


def test_cooldowns_outlive_a_reload(start, toolkit, llm):
    here = start(
        {**policy(toolkit, llm), "models": {"org/chat": {"task": "chat-completion", "route": ["llm"], "fallback": {"max_wait": "100ms"}}}}
    )
    llm.when(Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "60"}))
    assert chat(here).status_code == 429
    asked = len(llm.seen)
    assert here.admin_http.post("/reload").status_code == 200
    reply = chat(here)
    assert (reply.status_code, reply.headers["x-fourways-route"]) == (429, "llm(cooling)") and len(llm.seen) == asked


# ---- the end ----


def test_a_graceful_end_finishes_what_is_in_flight(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    gate = threading.Event()
    llm.when(lambda seen: gate.wait(60) and llm.usual(seen), times=2)
    with concurrent.futures.ThreadPoolExecutor(2) as aside:
        plain = aside.submit(chat, here)
        streamed_one = aside.submit(chat, here, stream=True)
        try:
            poll(lambda: len(llm.seen) == 2, what="both are up")
            here.signal(signal.SIGTERM)
            poll(lambda: here.admin_http.get("/ready").status_code == 503, what="not ready any more")
            assert here.admin_http.get("/live").status_code == 200

            def refused():
                try:
                    return httpx.get(here.url + "/health", timeout=5).status_code == 0
                except httpx.TransportError:
                    return True

            poll(refused, what="new connections are refused")
            assert here.process.poll() is None
        finally:
            gate.set()
        assert plain.result(60).json()["choices"][0]["message"]["content"] == chat_text(HELLO)
        assert streamed_one.result(60).text.endswith("data: [DONE]\n\n")
    assert here.process.wait(30) == 0
    assert len(here.records) >= 2, "records are flushed"


def test_the_drain_has_a_limit(start, toolkit, llm):
    here = start({**policy(toolkit, llm), "limits": {"drain": "300ms"}})
    gate = threading.Event()
    llm.when(lambda seen: gate.wait(60) and llm.usual(seen))
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        asked = aside.submit(chat, here)
        try:
            poll(lambda: len(llm.seen) == 1, what="the request is up")
            assert here.stop(30) == 0
            assert (asked.result(30).status_code, asked.result(30).json()["error"]["code"]) == (503, "overloaded")
        finally:
            gate.set()


def test_a_second_signal_ends_at_once(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    gate = threading.Event()
    llm.when(lambda seen: gate.wait(60) and llm.usual(seen))
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        asked = aside.submit(chat, here)
        try:
            poll(lambda: len(llm.seen) == 1, what="the request is up")
            here.signal(signal.SIGTERM)
            here.logged("draining")
            here.signal(signal.SIGTERM)
            assert here.process.wait(15) == 0
            assert (asked.result(30).status_code, asked.result(30).json()["error"]["code"]) == (503, "overloaded")
        finally:
            gate.set()


def test_every_request_has_one_record(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    replies = [here.http.get("/health"), here.http.get("/v1/models"), here.http.get("/nothing"), chat(here), chat(here, stream=True)]
    replies += [here.http.post("/models/org/vit", content=PNG, headers={"x-request-id": name}) for name in ("a" * 128, "sane-1")]
    replies.append(here.http.post("/models/org/vit", content=PNG, headers={"x-request-id": 'no "sane" one'}))
    assert here.stop() == 0
    for reply in replies:
        mine = [each for each in here.records if each["request_id"] == reply.headers["x-request-id"]]
        assert len(mine) == 1 and mine[0]["status"] == reply.status_code
    assert len(here.records) == len(replies)
    assert [reply.headers["x-request-id"] for reply in replies[5:7]] == ["a" * 128, "sane-1"] and '"' not in replies[7].headers[
        "x-request-id"
    ]
    needed = {"time", "request_id", "client", "dialect", "door", "model", "route", "status", "bytes_in", "bytes_out", "ms"}
    assert all(needed <= set(each) for each in here.records)
    assert json.dumps(here.records[3]["usage"]) == json.dumps({"input_tokens": 7, "output_tokens": 9})
