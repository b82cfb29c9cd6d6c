"""How a gateway ends: it says so, serves what has arrived, tells who is cut, and is in nobody's way."""

import concurrent.futures
import contextlib
import itertools
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest
from gateway import BINARY, environment
from processes import free_port, poll
from stubs import ROLE, Chat, Reply, Toolkit, chat_text, chunk, fingerprint, limited, streamed

HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(100))


@pytest.fixture
def llm(start):
    return start.keep(Chat())


@pytest.fixture
def toolkit(start):
    return start.keep(Toolkit())


def policy(toolkit, llm, limits=None, **more):
    upstreams = {"toolkit": {"kind": "dedicated", "url": toolkit.url}, "llm": {"kind": "dedicated", "url": llm.url, "engine": "openai", **more}}
    models = {"org/vit": {"task": "image-classification", "route": ["toolkit"]}, "org/chat": {"task": "chat-completion", "route": ["llm"]}}
    return {"upstreams": upstreams, "models": models, "limits": limits or {}}


def chat(here, **more):
    return here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO, **more})


def listed(port, close=False):
    """A GET as bytes."""
    return f"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{'Connection: close' if close else 'X-A: b'}\r\n\r\n".encode()


def connect(here):
    return socket.create_connection(("127.0.0.1", httpx.URL(here.url).port), timeout=30)


def everything(wire):
    """All that comes until the other side closes. A reset is an error."""
    told = b""
    while part := wire.recv(65536):
        told += part
    return told


def settled(here, wanted=1):
    """So many records, told while the gateway ended."""
    assert here.process.wait(60) == 0
    poll(lambda: len(here.records) >= wanted, what="its records")
    return here.records


@contextlib.contextmanager
def held(stub, times=1):
    """The stub's next answers wait until the test is over with them."""
    gate = threading.Event()
    stub.when(lambda seen: gate.wait(60) and stub.usual(seen), times=times)
    try:
        yield gate
    finally:
        gate.set()


# ---- who is still served ----


@pytest.mark.fault("a")
@pytest.mark.limit("pre_stop")
def test_listeners_stay_open_before_the_stop_and_say_so(start, toolkit, llm):
    here = start(policy(toolkit, llm, {"pre_stop": "1s"}))
    here.signal(signal.SIGTERM)
    poll(lambda: here.admin_http.get("/ready").status_code == 503, what="not ready any more")
    assert here.admin_http.get("/live").status_code == 200
    for _ in range(3):
        reply = httpx.post(here.url + "/models/org/vit", content=PNG)
        assert reply.json()[0]["label"] == fingerprint(PNG) and reply.headers["connection"] == "close"
    assert here.process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(here.url + "/health")


@pytest.mark.fault("a")
def test_a_second_signal_ends_it_before_its_listeners_would_close(start, toolkit, llm):
    here = start(policy(toolkit, llm, {"pre_stop": "10m", "drain": "10m"}))
    here.signal(signal.SIGTERM)
    here.logged("draining")
    here.signal(signal.SIGTERM)
    assert here.process.wait(30) == 0


@pytest.mark.fault("a")
@pytest.mark.parametrize("fresh", [False, True])
def test_a_request_that_has_arrived_when_the_signal_comes_is_answered(start, toolkit, llm, fresh):
    """The gateway is stopped in its tracks meanwhile, so that both lie before it when it goes on."""
    here = start(policy(toolkit, llm))
    with contextlib.ExitStack() as open_:
        wires = [] if fresh else [open_.enter_context(connect(here)) for _ in range(8)]
        for wire in wires:  # kept connections
            wire.sendall(listed(1))
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
        here.signal(signal.SIGSTOP)
        if fresh:  # the kernel connects them
            wires = [open_.enter_context(connect(here)) for _ in range(8)]
        for wire in wires:
            wire.sendall(listed(1))
        here.signal(signal.SIGTERM)
        here.signal(signal.SIGCONT)
        for wire in wires:
            told = everything(wire)
            assert told.startswith(b"HTTP/1.1 200") and told.endswith(b"}"), told
    assert here.process.wait(30) == 0


@pytest.mark.fault("a")
def test_an_idle_connection_does_not_hold_it_up(start, toolkit, llm):
    here = start(policy(toolkit, llm, {"drain": "10m"}))
    with connect(here) as kept, connect(here) as silent:
        kept.sendall(listed(1))
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        assert here.stop(20) == 0
        assert kept.recv(1) == b"" and silent.recv(1) == b"", "closed, not reset"


@pytest.mark.fault("a")
def test_a_stop_under_load_answers_whoever_got_through(start, toolkit, llm):
    """Fresh connections as fast as four threads make them: each is refused, or answered."""
    here = start(policy(toolkit, llm))
    port, answered, lost, over = httpx.URL(here.url).port, itertools.count(), [], threading.Event()

    def hammer():
        while not over.is_set():
            try:
                wire = socket.create_connection(("127.0.0.1", port), timeout=30)
            except OSError:
                return  # refused: the end
            with wire:
                try:
                    wire.sendall(listed(port, close=True))
                    told = everything(wire)
                except OSError as fault:
                    told = repr(fault)
                if isinstance(told, str) or not told.startswith(b"HTTP/1.1 200"):
                    lost.append(told)
                next(answered)

    with concurrent.futures.ThreadPoolExecutor(4) as crowd:
        asking = [crowd.submit(hammer) for _ in range(4)]
        try:
            poll(lambda: next(answered) > 200, what="the load is on")
            assert here.stop(30) == 0
        finally:
            over.set()
        for each in asking:
            each.result(30)
    assert not lost, lost[:3]


# ---- who is cut, and how it is told ----


@pytest.mark.fault("a")
@pytest.mark.limit("drain")
@pytest.mark.parametrize("twice", [False, True])
def test_a_stream_at_the_drain_limit_gets_an_error_event_and_a_cut(start, toolkit, llm, twice):
    here = start(policy(toolkit, llm, {"drain": "10m" if twice else "200ms"}))
    gate = threading.Event()

    def talk():
        yield ROLE
        yield chunk({"content": "one"})
        gate.wait(60)

    llm.when(lambda seen: streamed(talk()))
    try:
        with connect(here) as wire:
            body = json.dumps({"model": "org/chat", "messages": HELLO, "stream": True}).encode()
            wire.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            wire.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            told = b""
            while b'"one"' not in told:
                told += wire.recv(65536)
            here.signal(signal.SIGTERM)
            if twice:
                here.logged("draining")
                here.signal(signal.SIGTERM)
            told += everything(wire)
    finally:
        gate.set()
    assert not told.endswith(b"0\r\n\r\n") and b"[DONE]" not in told, "nobody may take it for whole"
    last = json.loads(told.rpartition(b"data: ")[2].partition(b"\n")[0])
    assert last["error"]["code"] == "overloaded" and "being stopped" in last["error"]["message"]
    (record,) = settled(here)
    assert (record["status"], record["error"]) == (200, "stopping")
    assert record["route"][0]["outcome"] == "stopping"


@pytest.mark.fault("a")
def test_a_plain_answer_at_the_drain_limit_is_cut(start, toolkit, llm):
    here = start(policy(toolkit, llm, {"drain": "200ms"}))
    gate = threading.Event()

    def talk():
        yield b'[{"label": "one", '
        gate.wait(60)

    toolkit.when(lambda seen: Reply(pieces=talk()))
    try:
        with connect(here) as wire:
            wire.sendall(b"POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(PNG), PNG))
            told = b""
            while b"one" not in told:
                told += wire.recv(65536)
            here.signal(signal.SIGTERM)
            told += everything(wire)
    finally:
        gate.set()
    assert told.rstrip().endswith(b","), "no terminal chunk, nothing of ours inside"
    (record,) = settled(here)
    assert (record["status"], record["error"]) == (200, "stopping")


@pytest.mark.fault("a")
def test_who_has_no_answer_yet_at_the_drain_limit_is_told(start, toolkit, llm):
    """At work upstream, waiting for a slot, resting after a 429, still sending: each gets an answer that says why."""
    here = start(policy(toolkit, llm, {"drain": "300ms"}, max_in_flight=1))
    toolkit.when(limited("20"))
    with held(llm, times=3), concurrent.futures.ThreadPoolExecutor(4) as aside, connect(here) as sending:
        asked = [aside.submit(chat, here)]
        poll(lambda: len(llm.seen) == 1, what="the first is up")
        asked.append(aside.submit(chat, here, stream=True))  # waits for its slot
        asked.append(aside.submit(here.http.post, "/models/org/vit", content=PNG))  # waits for the 429's time
        poll(lambda: len(toolkit.seen) == 1, what="the third was refused")
        sending.sendall(b"POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + PNG)
        poll(lambda: "fourways_requests_in_flight 4" in here.metrics(), what="all are in")
        here.signal(signal.SIGTERM)
        replies = [each.result(30) for each in asked]
        told = everything(sending)
    for reply in replies[:2]:
        assert (reply.status_code, reply.json()["error"]["code"], reply.headers["retry-after"]) == (503, "overloaded", "1"), reply.text
        assert "being stopped" in reply.text and reply.headers["connection"] == "close"
    assert replies[2].status_code == 429 and "being stopped" in replies[2].text
    assert told.startswith(b"HTTP/1.1 429") and b"being stopped" in told
    assert [each["error"] for each in settled(here, 4)] == ["stopping"] * 4
    assert len(llm.seen) == 1, "nothing is sent again"


@pytest.mark.fault("a")
def test_waiting_for_a_slot_survives_the_signal(start, toolkit, llm):
    here = start(policy(toolkit, llm, max_in_flight=1))
    with held(llm) as gate, concurrent.futures.ThreadPoolExecutor(2) as aside:
        first = aside.submit(chat, here)
        poll(lambda: len(llm.seen) == 1, what="the first is up")
        second = aside.submit(chat, here)
        poll(lambda: "fourways_requests_waiting 1" in here.metrics(), what="the second waits")
        here.signal(signal.SIGTERM)
        here.logged("draining")
        gate.set()
        for each in (first, second):
            assert each.result(30).json()["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert here.process.wait(30) == 0


@pytest.mark.fault("a")
def test_an_upload_that_has_begun_is_finished(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    payload = PNG * 10_000
    with connect(here) as wire:
        wire.sendall(b"POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(payload))
        wire.sendall(payload[: len(payload) // 2])
        poll(lambda: "fourways_requests_in_flight 1" in here.metrics(), what="it has begun")
        here.signal(signal.SIGTERM)
        here.logged("draining")
        wire.sendall(payload[len(payload) // 2 :])
        told = everything(wire)
    assert told.startswith(b"HTTP/1.1 200") and fingerprint(payload).encode() in told
    assert here.process.wait(30) == 0


@pytest.mark.fault("a")
def test_a_reload_while_it_drains_changes_nothing_of_the_end(start, toolkit, llm):
    here = start(policy(toolkit, llm))
    with held(llm) as gate, concurrent.futures.ThreadPoolExecutor(1) as aside:
        asked = aside.submit(chat, here)
        poll(lambda: len(llm.seen) == 1, what="the request is up")
        here.signal(signal.SIGTERM)
        here.logged("draining")
        here.write(policy(toolkit, llm, {"drain": "1s"}))
        assert here.admin_http.post("/reload").status_code == 200
        here.signal(signal.SIGHUP)
        assert here.admin_http.get("/ready").status_code == 503
        gate.set()
        assert asked.result(30).status_code == 200
    assert here.process.wait(30) == 0


@pytest.mark.fault("a")
def test_signals_in_a_crowd(start, toolkit, llm):
    """Reloads and the end at once."""
    here = start(policy(toolkit, llm))
    for _ in range(20):
        here.signal(signal.SIGHUP)
    here.signal(signal.SIGTERM)
    for _ in range(5):
        with contextlib.suppress(ProcessLookupError):
            here.signal(signal.SIGHUP)
    assert here.process.wait(30) == 0


@pytest.mark.fault("a")
@pytest.mark.fault("k")
def test_a_stop_while_a_worker_starts(start, tmp_path):
    pid = tmp_path / "pid"
    stubborn = f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    worker = {"kind": "local", "command": [sys.executable, "-c", stubborn, "$port"], "start_timeout": "10m"}
    here = start({"upstreams": {"own": worker}, "models": {"m": {"task": "image-classification", "route": ["own"]}}, "limits": {"drain": "200ms"}})
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        asked = aside.submit(here.http.post, "/models/m", content=PNG)
        poll(lambda: pid.exists() and pid.read_text(), what="the worker is up")
        assert here.stop(30) == 0
        reply = asked.result(30)
    assert (reply.status_code, reply.json()["code"]) == (429, "overloaded")
    assert not pathlib.Path(f"/proc/{pid.read_text()}").exists(), "it ended first"


# ---- the next one ----


def outcome(asked):
    try:
        reply = asked.result(30)
    except httpx.TransportError:
        return "TransportError"
    return f"{reply.status_code} {reply.headers.get('x-fourways-route')} {reply.text}"


def second(config, *args):
    return subprocess.run(
        [BINARY, "serve", "--config", config, *args], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.fault("h")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("which", ["listen", "admin"])
def test_a_second_instance_on_a_port_in_use_ends_at_once(start, toolkit, llm, which, host):
    here = start({**policy(toolkit, llm), "listen": f"{host}:0", "admin": f"{host}:0"})
    assert here.url.startswith(f"http://{host}:") and here.admin.startswith(f"http://{host}:")
    assert here.http.get("/health").status_code == 200 and here.admin_http.get("/live").status_code == 200
    taken = httpx.URL(here.url if which == "listen" else here.admin).netloc.decode()
    told = second(here.config, f"--{which}", taken)
    assert told.returncode == 1 and told.stdout == "", told.stdout
    assert f"cannot listen on {taken}" in told.stderr and "another fourways" in told.stderr
    assert here.http.get("/health").status_code == 200


@pytest.mark.fault("h")
def test_a_killed_gateway_is_followed_by_another_on_the_same_port(start, toolkit, llm, tmp_path):
    """Bodies in files, connections open: nothing of the first is in the way of the second, and nothing is left."""
    spool = tmp_path / "spool"
    spool.mkdir()
    wanted = {**policy(toolkit, llm), "listen": f"127.0.0.1:{free_port()}", "spool": {"dir": str(spool), "memory_per_body": "4KiB"}}
    here = start(wanted)
    with held(toolkit, 2), concurrent.futures.ThreadPoolExecutor(2) as aside:
        asked = [aside.submit(here.http.post, "/models/org/vit", content=PNG * 10_000) for _ in range(2)]
        poll(lambda: len(toolkit.seen) == 2, what="both are up")
        here.process.kill()
        assert [outcome(each) for each in asked] == ["TransportError"] * 2
    here.process.wait(30)
    assert not list(spool.iterdir())
    again = start(wanted)
    assert again.url == here.url
    assert again.http.post("/models/org/vit", content=PNG).status_code == 200
