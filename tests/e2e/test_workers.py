"""Processes that the gateway owns: one start for many, none left behind, whoever dies first."""

import concurrent.futures
import os
import pathlib
import signal
import socket
import sys

import httpx
import pytest
from gateway import metric, worker_command
from make_gguf import SENTENCE
from processes import TOP, poll
from stubs import Chat, chat_text

HELLO = [{"role": "user", "content": "hello"}]
COUNT = [{"role": "user", "content": "count"}]


@pytest.fixture
def made(parrot_file):
    """A policy with one worker, `parrot`."""
    flags = ["--gguf", parrot_file, "--ctx", 50_000, "--parallel", 2, "--threads", 1]
    upstreams = {"llama": {"kind": "local", "engine": "openai", "command": worker_command("llama_worker.py", *flags), "stop_timeout": "5s"}}
    return {"upstreams": upstreams, "models": {"parrot": {"task": "chat-completion", "route": ["llama"]}}}


def chat(here, model="parrot", **more):
    return here.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO, **more})


def said(reply):
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]["content"]


def alive(pid):
    """A process that is there and no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def family(pid):
    """A process and all below it."""
    children = [child for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    return [pid] + [each for child in children for each in family(int(child))]


def refuses(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_starts_before_it_is_asked_for(start, made):
    here = start(made)
    assert here.http.get("/v1/models").json()["data"][0]["id"] == "parrot"
    assert here.workers() == [] and len(family(here.process.pid)) == 1


def test_many_first_requests_one_start(start, made):
    here = start(made)
    with concurrent.futures.ThreadPoolExecutor(16) as crowd:
        assert {said(each) for each in crowd.map(lambda _: chat(here), range(16))} == {SENTENCE}
    (worker,) = here.workers()
    assert (worker["starts"], worker["crashes"], worker["state"], worker["in_flight"]) == (1, 0, "ready", 0)
    assert metric(here.metrics(), "fourways_worker_starts_total", upstream="llama", model="parrot") == 1
    assert here.logged("ready on port", worker="llama", **{"from": "worker"}), "its own lines are in the log"
    assert not [line for line in here.records if "ready on port" in str(line)], "and never on stdout"


def test_workers_stop_with_the_gateway(start, made):
    here = start(made)
    assert said(chat(here)) == SENTENCE
    port, pids = here.workers()[0]["port"], family(here.process.pid)
    assert len(pids) > 1 and not refuses(port)
    assert here.stop() == 0
    assert not [pid for pid in pids if alive(pid)], "at once: the gateway ends last"
    assert refuses(port)


@pytest.mark.fault("h")
def test_a_killed_gateway_leaves_no_worker_behind(start, made):
    here = start(made)
    assert said(chat(here)) == SENTENCE
    port, pids = here.workers()[0]["port"], family(here.process.pid)
    here.process.kill()
    poll(lambda: not [pid for pid in pids if alive(pid)], 30, "every process is gone")
    assert refuses(port)


@pytest.mark.fault("h")
def test_a_gateway_killed_in_mid_stream_leaves_no_worker_behind(start, made):
    here = start(made)
    with pytest.raises(httpx.TransportError):
        with here.http.stream("POST", "/v1/chat/completions", json={"model": "parrot", "messages": COUNT, "stream": True}) as reply:
            lines = reply.iter_lines()
            next(lines)
            pids = family(here.process.pid)
            here.process.kill()
            list(lines)
    poll(lambda: not [pid for pid in pids if alive(pid)], 30, "every process is gone")


@pytest.mark.fault("i", "l")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_started_again(start, made, number):
    here = start(made)
    assert said(chat(here)) == SENTENCE
    victim = next(
        pid for pid in family(here.process.pid) if "llama_worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_text() and listens(pid)
    )
    os.kill(victim, number)
    poll(lambda: not alive(victim), what="it is dead")
    reply = poll(lambda: (lambda got: got if got.status_code == 200 else None)(chat(here)), 60, "it answers again")
    assert said(reply) == SENTENCE
    (worker,) = here.workers()
    assert (worker["starts"], worker["crashes"]) == (2, 1)
    assert "killed by signal" in here.logged("killed by signal", worker="llama")["text"]


def listens(pid):
    """This process, not the launcher before it, whose command line holds the same words."""
    return pathlib.Path(f"/proc/{pid}/exe").resolve().name.startswith("python")


@pytest.mark.fault("i")
def test_a_worker_that_dies_in_mid_stream_is_told_as_a_broken_stream(start, made):
    here = start(made)
    assert said(chat(here)) == SENTENCE
    text = ""
    with pytest.raises(httpx.TransportError):
        with here.http.stream("POST", "/v1/chat/completions", json={"model": "parrot", "messages": COUNT, "stream": True}) as reply:
            for line in reply.iter_lines():
                if not text:
                    os.kill(next(pid for pid in family(here.process.pid) if listens(pid)), signal.SIGKILL)
                text += line
    assert "broken_stream" in text and "[DONE]" not in text
    assert here.record(reply)["route"][0]["outcome"] == "broken_stream"
    reply = poll(lambda: (lambda got: got if got.status_code == 200 else None)(chat(here)), 60, "it answers again")
    assert said(reply) == SENTENCE


def test_an_idle_worker_stops_and_comes_back(start, made):
    made["upstreams"]["llama"]["idle_stop"] = "300ms"
    here = start(made)
    assert said(chat(here)) == SENTENCE
    poll(lambda: here.workers()[0]["state"] == "stopped", 30, "it idled out")
    assert said(chat(here)) == SENTENCE
    (worker,) = here.workers()
    assert (worker["starts"], worker["crashes"]) == (2, 0)


@pytest.mark.fault("k")
def test_while_it_starts_the_next_candidate_answers(start, made):
    """The start goes on meanwhile and is not repeated."""
    llm = start.keep(Chat())
    made["upstreams"]["other"] = {"kind": "dedicated", "url": llm.url, "engine": "openai"}
    made["models"]["parrot"]["route"] = ["llama", "other"]
    here = start(made)
    reply = chat(here)
    assert (reply.headers["x-fourways-route"], said(reply)) == ("llama(warming) other(200)", chat_text(HELLO))
    poll(lambda: here.workers()[0]["state"] == "ready", 60, "it is ready")
    reply = chat(here)
    assert (reply.headers["x-fourways-route"], said(reply)) == ("llama(200)", SENTENCE)
    assert here.workers()[0]["starts"] == 1


def test_a_reload_keeps_a_worker_that_stays_the_same(start, made):
    here = start(made)
    assert said(chat(here)) == SENTENCE
    before = here.workers()[0]
    here.write({**made, "models": {**made["models"], "second": {"task": "chat-completion", "route": ["llama"]}}})
    assert here.admin_http.post("/reload").status_code == 200
    assert said(chat(here)) == SENTENCE
    assert [(each["pid"], each["starts"]) for each in here.workers() if each["model"] == "parrot"] == [(before["pid"], 1)]
    made["upstreams"]["llama"]["env"] = {"COLOR": "blue"}
    here.write(made)
    assert here.admin_http.post("/reload").status_code == 200
    assert said(chat(here)) == SENTENCE
    poll(lambda: not alive(before["pid"]), 30, "the old one is gone")


def test_slots_bound_what_a_worker_is_given(start, made):
    made["upstreams"]["llama"] |= {"max_in_flight": 1, "max_waiting": 1}
    here = start(made)
    assert said(chat(here)) == SENTENCE
    body = {"model": "parrot", "messages": COUNT, "stream": True}
    with here.http.stream("POST", "/v1/chat/completions", json=body) as reply:
        lines = reply.iter_lines()
        next(line for line in lines if '"1"' in line)
        with concurrent.futures.ThreadPoolExecutor(1) as aside:
            waits = aside.submit(chat, here)
            poll(lambda: metric(here.metrics(), "fourways_requests_waiting") == 1, what="one waits")
            refused = chat(here)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), "said on OpenAI's doors only"
            assert refused.json()["error"]["code"] == "overloaded" and "llama" in refused.json()["error"]["message"]
            elsewhere = here.http.post("/models/parrot/v1/chat/completions", json={"messages": HELLO})
            assert (elsewhere.status_code, elsewhere.headers["retry-after"], elsewhere.json()["code"]) == (429, "1", "overloaded")
            assert not waits.done()
            reply.close()
            assert said(waits.result(60)) == SENTENCE
    assert said(chat(here)) == SENTENCE


# ---- workers that misbehave ----


@pytest.fixture
def unruly(start):
    command = [sys.executable, TOP / "tests" / "support" / "unruly_worker.py", "$port"]
    own = {"kind": "local", "command": list(map(str, command)), "stop_timeout": "10m"}
    models = {
        "m": {"task": "image-classification", "route": ["own"]},
        "bytes": {"task": "text-to-image", "route": ["own"]},
    }
    here = start({"upstreams": {"own": own}, "models": models, "limits": {"payload_bytes": "1MiB", "json_bytes": "1MiB"}})
    yield here
    if here.process.poll() is None:  # its workers would use their 10 minutes
        here.signal(signal.SIGTERM)
        here.logged("draining")
        here.signal(signal.SIGTERM)
        assert here.process.wait(30) == 0


def classify(here, what=b"", **headers):
    return here.http.post("/models/m", content=b"\x89PNG\r\n\x1a\n" + what, headers=headers)


def replaced(here, why):
    """The worker is stopped and, since it does not care, killed within seconds; the next request gets another one."""
    assert why in here.logged("worker is replaced")["text"]
    reply = poll(lambda: (lambda got: got if got.status_code == 200 else None)(classify(here)), 60, "it answers again")
    assert reply.json()[0]["label"] == "good"
    (worker,) = [each for each in here.workers() if each["model"] == "m"]
    assert (worker["starts"], worker["crashes"]) == (2, 1) and "killed by signal 9" in worker["last_end"]


@pytest.mark.fault("j")
def test_a_worker_that_hangs_is_replaced(unruly):
    """The deadline ends the request; that the worker does not even answer for its health ends the worker."""
    assert classify(unruly).status_code == 200
    reply = classify(unruly, b"DEAF", **{"x-fourways-timeout": "1s"})
    assert reply.status_code == 504 and reply.json()["code"] == "timeout"
    replaced(unruly, "no longer listens")


@pytest.mark.fault("m")
def test_a_worker_that_speaks_no_http_is_replaced(unruly):
    assert classify(unruly).status_code == 200
    reply = classify(unruly, b"GARBAGE")
    assert reply.status_code == 502 and reply.json()["code"] == "unavailable" and "Segmentation" not in reply.text
    replaced(unruly, "no HTTP")


@pytest.mark.fault("m")
def test_a_worker_that_answers_for_ever_is_replaced(unruly):
    before = memory(unruly)
    with pytest.raises(httpx.TransportError):
        unruly.http.post("/models/bytes", json={"inputs": "ENDLESS"})
    line = unruly.logged("worker is replaced")
    assert "without end" in line["text"] and line["model"] == "bytes"
    assert memory(unruly) < before + 20_000, "KiB: what nobody keeps costs nothing"
    assert classify(unruly).status_code == 200, "another one's worker is another matter"


@pytest.mark.fault("a", "j")
def test_a_second_signal_does_not_wait_for_a_worker_that_hangs(unruly):
    assert classify(unruly).status_code == 200
    pids = family(unruly.process.pid)
    unruly.signal(signal.SIGTERM)
    unruly.logged("worker is being stopped")
    assert unruly.process.poll() is None, "it has 10 minutes"
    unruly.signal(signal.SIGTERM)
    assert unruly.process.wait(30) == 0
    assert not [pid for pid in pids if alive(pid)]


def memory(here):
    status = pathlib.Path(f"/proc/{here.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
