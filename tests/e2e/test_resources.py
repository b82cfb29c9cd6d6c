"""What one client, or many, can make the gateway spend; and what it does when the machine has no more to give."""

import base64
import contextlib
import fcntl
import functools
import gzip
import json
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time

import pytest
import trustme
from gateway import BINARY, environment, metric
from peer import Peer
from processes import free_port, poll
from stubs import Chat, Custom, Toolkit, fingerprint

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
HELLO = [{"role": "user", "content": "hello"}]
KIB, MIB = 1 << 10, 1 << 20
# The undefined behaviour sanitizer opens a pipe to look at an object's type, and takes it for wrong when it cannot.
NEEDS_ITS_PIPES = pytest.mark.skipif("UBSAN_OPTIONS" in os.environ, reason="the sanitizer needs descriptors of its own")
SANITIZED = "SAN_OPTIONS" in "".join(os.environ)  # memory and times are not those of the product then


def rss(process):
    return int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def cpu(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def post(path, body, kind="image/png", *fields):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


GOOD = post("/models/org/vit", PNG)


def served(url):
    with Peer(url) as peer:
        answer = peer.send(GOOD).answer()
    return answer is not None and answer.status == 200 and answer.json[0]["label"] == fingerprint(PNG)


@pytest.fixture(scope="module")
def toolkit(start_once):
    return start_once.keep(Toolkit())


@pytest.fixture(scope="module")
def custom(start_once):
    return start_once.keep(Custom())


@pytest.fixture(scope="module")
def llm(start_once):
    return start_once.keep(Chat())


@pytest.fixture(scope="module")
def policy(toolkit, custom, llm):
    upstreams = {
        "toolkit": {"kind": "dedicated", "url": toolkit.url},
        "custom": {"kind": "dedicated", "url": custom.url, "engine": "custom", "request": {"image": "$base64"}, "answer": "/predictions"},
        "urls": {"kind": "dedicated", "url": custom.url, "engine": "custom", "request": {"image": "$data_url"}, "answer": "/predictions"},
        "binary": {"kind": "dedicated", "url": toolkit.url, "payload": "binary"},
        "base64": {"kind": "dedicated", "url": toolkit.url, "payload": "base64"},
        "llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"},
    }
    vit = {"task": "image-classification"}
    models = {"org/vit": {**vit, "route": ["toolkit"]}, "org/chat": {"task": "chat-completion", "route": ["llm"]}}
    models["org/two-ways"] = {**vit, "route": ["binary", "toolkit"]}
    models |= {f"org/{name}": {**vit, "route": [name]} for name in ("custom", "urls", "binary", "base64")}
    return {"upstreams": upstreams, "models": models}


# ---- connections ----


def limited_to(files):
    """Runs in the child before the binary: as many open files as that, and no more."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@pytest.fixture
def start_with(start, monkeypatch):
    """start, with something done in the gateway's process before it begins."""

    def started(policy, before, **how):
        whole = subprocess.Popen

        def popen(*args, **more):
            return whole(*args, **more, preexec_fn=before)

        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", popen)
            return start(policy, **how)

    return started


@pytest.mark.threat("D2")
@pytest.mark.limit("connections")
@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_more_idle_connections_than_files(start_with, policy, secure, tmp_path):
    """Half of the files are for clients; upstreams, administration and whoever has a place go on. What an idle one costs is bounded."""
    company = trustme.CA()
    company.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "gateway.pem")
    files = 512 if secure else 1024
    tls = {name: str(tmp_path / "gateway.pem") for name in ("certificate", "key")}
    listen = ["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": tls}]
    gateway = start_with({**policy, "listen": listen, "limits": {"connections": 10_000, "idle_timeout": "10m"}}, limited_to(files))
    first = Peer(gateway.url)
    assert first.send(GOOD).answer().status == 200
    most = int(next(each for each in gateway.log if "limits.connections is more than" in each["text"])["connections"])
    assert files // 2 <= most < files, "beside what is held back"
    url = gateway.urls[1 if secure else 0]
    peers = [Peer(url, company) for _ in range(20)]
    for peer in peers if secure else []:
        assert peer.send(GOOD).answer().status == 200
    before = rss(gateway.process)
    count = most - 1 - len(peers)
    peers += [Peer(url, company) for _ in range(count)]
    poll(lambda: metric(gateway.metrics(), "fourways_connections_open") >= most, what="all of them")
    each = (rss(gateway.process) - before) / count
    print(f"an idle connection takes {each / KIB:.1f} KiB")
    assert SANITIZED or each <= (96 if secure else 16) * KIB
    late = [Peer(url, company) for _ in range(100)]
    for peer in late:
        assert peer.answer().status == 429
        peer.close()
    assert gateway.admin_http.get("/ready").text == "ready\n"
    assert first.send(GOOD).answer().status == 200, "there are descriptors for upstreams"
    assert descriptors(gateway.process) < files
    peers.pop().close()
    poll(lambda: served(gateway.url), what="a place that became free")
    for peer in (*peers, first):
        peer.close()


@NEEDS_ITS_PIPES
@pytest.mark.fault("d")
def test_no_descriptors(start, policy, toolkit):
    """Accepting pauses without a spin, administration answers, what is in flight ends well, and it recovers by itself."""
    gateway = start(policy)
    released = threading.Event()

    def slowly(seen):
        released.wait(60)
        return toolkit.usual(seen)

    toolkit.when(slowly, times=3)
    flying = [Peer(gateway.url).send(GOOD) for _ in range(3)]
    idle = [Peer(gateway.url) for _ in range(5)]
    poll(lambda: metric(gateway.metrics(), "fourways_requests_in_flight") == 3 and descriptors(gateway.process) > 20, what="all are there")
    usual = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in pathlib.Path(f"/proc/{gateway.process.pid}/fd").iterdir())
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (highest + 1, usual[1]))  # those it has, and what is free between them
    waiting = [Peer(gateway.url).send(GOOD) for _ in range(10)]  # in the kernel's queue
    gateway.logged("cannot accept")
    spent, began = cpu(gateway.process), time.monotonic()

    def ready():
        with Peer(gateway.admin) as peer:
            answer = peer.send(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").answer()
            return (answer.status, answer.body) == (200, b"ready\n")

    for _ in range(8):  # more than the descriptors that are held back
        assert ready()
    # What one of these leaves free goes to no client that waits.
    poll(lambda: ready() and time.monotonic() - began > 2, what="two seconds without descriptors")
    assert SANITIZED or cpu(gateway.process) - spent < 0.5, "no spin"
    assert len([each for each in gateway.log if "cannot accept" in each["text"]]) <= 2, "said once by each core"
    released.set()
    for peer in flying:
        assert peer.answer().json[0]["label"] == fingerprint(PNG), "what was in flight does not notice"
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, usual)
    for peer in waiting:  # served, or told that it was too early: when an end made room for it, but for nothing to an upstream
        answer = peer.answer()
        assert answer.status == 200 or (answer.status, answer.error[0]) == (429, "overloaded"), answer
    assert served(gateway.url)
    gateway.logged("accepts connections again")
    for peer in (*flying, *idle, *waiting):
        peer.close()


@NEEDS_ITS_PIPES
@pytest.mark.fault("d")
def test_no_descriptors_for_an_upstream_is_held_against_none(start, policy, toolkit):
    gateway = start(policy)
    peers = [Peer(gateway.url) for _ in range(30)]
    for peer in peers[:2]:
        peer.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert peer.answer().status == 200
    poll(lambda: metric(gateway.metrics(), "fourways_connections_open") == 30, what="all are there")
    usual = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (20, usual[1]))
    for peer in peers[:12]:  # more than a breaker would take
        answer = peer.send(GOOD).answer()
        assert (answer.status, answer.error[0]) == (429, "overloaded") and answer.fields["retry-after"] == "1", answer
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, usual)
    for peer in peers:
        assert peer.send(GOOD).answer().status == 200
        peer.close()


WORKER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = open("/proc/self/limits", "rb").read().partition(b"Max open files")[2].split()[0]
        body = b'[{"label":"%s","score":1}]' % body
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def test_the_limit_of_open_files_is_used_whole(start_with):
    """Here, and not in workers, which may not bear it."""
    upstreams = {"here": {"kind": "local", "command": [sys.executable, "-c", WORKER, "$port"]}}
    models = {"org/vit": {"task": "image-classification", "route": ["here"]}}
    before = functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (300, 2000))
    gateway = start_with({"upstreams": upstreams, "models": models}, before)
    gateway.logged("raised the limit of open files", **{"from": "300", "to": "2000"})
    assert resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE) == (2000, 2000)
    assert gateway.http.post("/models/org/vit", content=PNG).json()[0]["label"] == "300"


@pytest.mark.limit("connections", "connections_per_client")
def test_a_reload_changes_how_many_there_may_be(start, policy):
    gateway = start({**policy, "limits": {"connections": 3}})
    peers = [Peer(gateway.url) for _ in range(3)]
    for peer in peers:
        assert peer.send(GOOD).answer().status == 200
    assert Peer(gateway.url).answer().status == 429
    gateway.write({**policy, "limits": {"connections": 4, "connections_per_client": 3}})
    assert gateway.admin_http.post("/reload").json()["reloaded"]
    with Peer(gateway.url) as peer:
        poll(lambda: "`limits.connections_per_client`" in peer.send(GOOD).answer().error[1])  # each core gets it a moment later
    for peer in peers:
        assert peer.send(GOOD).answer().status == 200
        peer.close()


# ---- bodies ----


@pytest.mark.threat("D4")
def test_deep_json_is_refused_fast(start, policy):
    gateway = start(policy)
    with Peer(gateway.url) as peer:
        for path in ("/v1/inference", "/models/org/vit", "/v1/chat/completions", "/models/org/chat/v1/chat/completions"):
            began = time.monotonic()
            answer = peer.send(post(path, b"[" * 100_000, "application/json")).answer()
            assert (answer.status, answer.error[0]) == (400, "invalid_json") and "`limits.json_depth`" in answer.error[1]
            assert time.monotonic() - began < 0.4
            if answer.fields.get("connection") == "close":
                peer.close()
                peer.__init__(gateway.url)


def peak_of(process, work):
    """How much more memory than before it had at most while it worked."""
    before = rss(process)
    pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # forgets the peak
    work()
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * KIB - before


@pytest.mark.threat("D5")
@pytest.mark.parametrize("way", ["binary to base64", "base64 to binary"])
def test_a_translated_upload_takes_the_same_memory_at_any_size(start, policy, toolkit, way):
    """Kept for a second candidate too."""
    routes = {"org/up": ["base64", "toolkit"], "org/down": ["binary", "toolkit"]}
    models = {name: {"task": "image-classification", "route": route} for name, route in routes.items()}
    gateway = start({**policy, "models": {**policy["models"], **models}})

    def upload(size):
        payload = PNG + os.urandom(size)
        if way == "binary to base64":
            request = post("/models/org/up", payload)
        else:
            request = post("/models/org/down", b'{"inputs":"' + base64.b64encode(payload) + b'"}', "application/json")
        with Peer(gateway.url) as peer:
            answer = peer.send(request).answer()
        assert answer.status == 200 and answer.json[0]["label"] == fingerprint(payload)

    upload(4 * MIB)  # what is allocated once is there
    small = peak_of(gateway.process, lambda: upload(4 * MIB))
    large = peak_of(gateway.process, lambda: upload(60 * MIB))
    print(f"{way}: 4 MiB took {small / MIB:.2f} MiB, 60 MiB took {large / MIB:.2f} MiB")
    assert SANITIZED or large < 4 * MIB


@pytest.mark.threat("D5")
def test_many_large_base64_bodies_at_once(start, policy, toolkit):
    """What is kept in memory does not grow with them."""
    gateway = start({**policy, "spool": {"memory": "8MiB"}})
    assert served(gateway.url)
    size, count = 6 * MIB, 12
    body = b'{"inputs":"' + base64.b64encode(PNG + os.urandom(size)) + b'"}'
    before, most = rss(gateway.process), 0
    answers = []

    def one():
        with Peer(gateway.url) as peer:
            answers.append(peer.send(post("/models/org/binary", body, "application/json")).answer().status)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, rss(gateway.process) - before)
        threads[0].join(0.01)
        for thread in threads:
            thread.join(0.005)
    assert answers == [200] * count
    print(f"{count} bodies of {len(body) / MIB:.0f} MiB took {most / MIB:.1f} MiB")
    assert SANITIZED or most < 40 * MIB
    assert {len(seen.body) for seen in toolkit.seen[-count:]} == {len(PNG) + size}


@pytest.mark.limit("body_grace")
def test_the_end_of_a_body_behind_a_pause(start, policy):
    """Bodies that are paused for the disk, some just before their end: what was read meanwhile is the rest of it, and nothing more comes."""
    gateway = start({**policy, "limits": {"body_grace": "2s"}})
    request = post("/v1/chat/completions", json.dumps({"model": "org/chat", "messages": [{"role": "user", "content": "a b" * 266_000}]}).encode())
    request = request.replace(b"image/png", b"application/json", 1)
    for number in range(150):
        with Peer(gateway.url) as peer:
            assert peer.send(request).answer().status == 200, number


FAULTS = {
    "a bad character": lambda text: text[: len(text) // 2] + "*" + text[len(text) // 2 + 1 :],
    "a bad character at the end": lambda text: text[:-3] + "*==" if text.endswith("==") else text[:-1] + "*",
    "padding inside": lambda text: text[:100] + "=" + text[101:],
    "a group cut short": lambda text: text.rstrip("=")[:-1] if len(text.rstrip("=")) % 4 != 2 else text.rstrip("=")[:-2] + "A",
    "line breaks": lambda text: text[:76] + "\\n" + text[76:],
    "the URL-safe alphabet": lambda text: text[:100] + "-_" + text[102:],
}


@pytest.mark.threat("D5")
@pytest.mark.parametrize("model", ["vit", "custom", "urls", "binary", "base64"])
@pytest.mark.parametrize("size", [300, 200_000, 600_000], ids=["small", "long", "spooled"])
@pytest.mark.parametrize("fault", FAULTS)
def test_base64_that_does_not_decode(start_once, base64s, toolkit, custom, fault, size, model):
    """At each engine: told to the client as its own fault; nothing that an upstream could take for a whole request arrives there."""
    gateway = base64s
    payload = PNG + os.urandom(size - size % 3 + 1 - len(PNG) % 3)
    text = FAULTS[fault](base64.b64encode(payload).decode())
    before = whole(toolkit, custom)
    inputs = ('{"inputs":"%s"}', '{"inputs":"data:image/png;base64,%s"}')[size % 2]
    for path, body in ((f"/models/org/{model}", inputs % text), ("/v1/inference", '{"model":"org/%s","inputs":{"base64":"%s"}}' % (model, text))):
        with Peer(gateway.url) as peer:
            answer = peer.send(post(path, body.encode(), "application/json")).answer()
        assert (answer.status, answer.error[0]) == (400, "invalid_base64"), (path, answer)
        assert "base64" in answer.error[1]
    assert whole(toolkit, custom) == before, "no whole request arrived"
    assert served(gateway.url)


def whole(*stubs):
    """Requests that arrived with all of their body."""
    return sum(len(seen.body) == int(seen.field("content-length") or 0) for stub in stubs for seen in stub.seen)


@pytest.fixture(scope="module")
def base64s(start_once, policy):
    return start_once(policy)


@pytest.mark.threat("D6")
def test_a_compressed_body_is_not_inflated(start, policy):
    gateway = start(policy)
    bomb = gzip.compress(bytes(64 * MIB))
    assert served(gateway.url)
    before = rss(gateway.process)
    for path in ("/v1/inference?model=org/vit", "/models/org/vit", "/v1/chat/completions"):
        for kind in ("image/png", "application/json"):
            with Peer(gateway.url) as peer:
                answer = peer.send(post(path, bomb, kind, "Content-Encoding: gzip")).answer()
            assert (answer.status, answer.error[0]) == (415, "unsupported_coding")
    assert SANITIZED or rss(gateway.process) - before < MIB


@pytest.mark.threat("D7")
@pytest.mark.parametrize("door", ["raw", "json", "chat"])
def test_what_a_request_in_flight_takes(start, policy, toolkit, llm, door):
    """10 KiB sent never hold more than a MiB."""
    gateway = start({**policy, "limits": {"connections_per_client": 1000}})
    released = threading.Event()
    count = 150
    inference = {"model": "org/vit", "inputs": base64.b64encode(PNG * 37).decode()}
    chat = {"model": "org/chat", "stream": True, "messages": HELLO * 300}
    path, kind, body, stub = {
        "raw": ("/models/org/vit", "image/png", PNG * 50, toolkit),
        "json": ("/v1/inference", "application/json", json.dumps(inference).encode(), toolkit),
        "chat": ("/v1/chat/completions", "application/json", json.dumps(chat).encode(), llm),
    }[door]
    with Peer(gateway.url) as peer:
        assert peer.send(post(path, body, kind)).answer().status == 200
    usual = stub.usual

    def slowly(seen):
        released.wait(60)
        return usual(seen)

    stub.when(slowly, times=count)
    before = rss(gateway.process)
    peers = [Peer(gateway.url).send(post(path, body, kind)) for _ in range(count)]
    poll(lambda: metric(gateway.metrics(), "fourways_requests_in_flight") == count, what="all are in flight")
    each = (rss(gateway.process) - before) / count
    released.set()
    for peer in peers:
        assert peer.answer().status == 200
        peer.close()
    print(f"a {door} request of {len(body)} bytes holds {each / KIB:.0f} KiB")
    assert SANITIZED or each < MIB


DENSE = {
    "nested": b"[" * 60 + b"]" * 60,
    "members": b"{" + b",".join(b'"%d":0' % number for number in range(100)) + b"}",
    "escapes": b'"' + b"\\u0041" * 200 + b'"',
    "numbers": b"[" + b",".join([b"-1.5e-7"] * 200) + b"]",
}


@pytest.mark.threat("D7")
@pytest.mark.parametrize("name", DENSE)
def test_what_dense_json_costs(start, policy, name):
    """A second of a client's work never costs a hundred of ours: 4 MiB of the densest JSON take no second, also where it is refused in the end."""
    gateway = start({**policy, "limits": {"json_tokens": 100_000_000}})
    body = b'{"model":"org/chat","messages":[{"role":"user","content":"x"}],"x":[' + b",".join([DENSE[name]] * (4 * MIB // len(DENSE[name]))) + b"]}"
    before = cpu(gateway.process)
    with Peer(gateway.url) as peer:
        assert peer.send(post("/v1/chat/completions", body, "application/json")).answer().status == 200
    spent = cpu(gateway.process) - before
    print(f"{len(body) / MIB:.1f} MiB of {name} took {spent:.2f} s")
    assert SANITIZED or spent < 10
    assert served(gateway.url)


@pytest.mark.threat("D9")
@pytest.mark.parametrize("door", ["native", "hf", "openai"])
def test_a_full_queue_refuses_at_once(start, policy, toolkit, llm, door):
    """One is worked on, one waits; the next is told so, and when to come back, without a wait."""
    upstreams = {name: {**upstream, "max_in_flight": 1, "max_waiting": 1} for name, upstream in policy["upstreams"].items()}
    gateway = start({**policy, "upstreams": upstreams})
    released = threading.Event()
    stub, path, body = {
        "native": (toolkit, "/v1/inference", {"model": "org/vit", "inputs": base64.b64encode(PNG).decode()}),
        "hf": (toolkit, "/models/org/vit", {"inputs": base64.b64encode(PNG).decode()}),
        "openai": (llm, "/v1/chat/completions", {"model": "org/chat", "messages": HELLO}),
    }[door]
    request = post(path, json.dumps(body).encode(), "application/json")
    usual = stub.usual

    def slowly(seen):
        released.wait(60)
        return usual(seen)

    stub.when(slowly, times=1)
    before = len(stub.seen)
    first = Peer(gateway.url).send(request)
    poll(lambda: len(stub.seen) == before + 1)
    second = Peer(gateway.url).send(request)
    poll(lambda: metric(gateway.metrics(), "fourways_requests_waiting") == 1)
    for _ in range(5):
        began = time.monotonic()
        with Peer(gateway.url) as peer:
            answer = peer.send(request).answer()
        assert time.monotonic() - began < 0.5
        assert (answer.status, answer.error[0]) == (503 if door == "openai" else 429, "overloaded"), answer
        assert answer.fields["retry-after"] == "1" and "`max_waiting`" in answer.error[1], answer
    released.set()
    assert first.answer().status == second.answer().status == 200
    assert len(stub.seen) == before + 2
    first.close()
    second.close()


# ---- no space ----


def no_such_folder(folder, gateway_policy):
    return {**gateway_policy, "spool": {"dir": str(folder / "gone")}}, None


def small_files(folder, gateway_policy):
    return {**gateway_policy, "spool": {"dir": str(folder)}}, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100 * KIB, 100 * KIB))


@pytest.mark.fault("e")
@pytest.mark.parametrize("why", [no_such_folder, small_files])
def test_no_place_for_copies(start_with, policy, toolkit, tmp_path, why):
    """What may stream goes on without a copy, and its record says so; what must be whole is refused, and told when to come back."""
    made, before = why(tmp_path, policy)
    gateway = start_with(made, before)
    payload = PNG + os.urandom(3 * MIB)
    reply = gateway.http.post("/models/org/two-ways", content=payload, headers={"content-type": "image/png"})
    assert reply.json()[0]["label"] == fingerprint(payload)
    assert gateway.record(reply).get("no_copy") is True
    for path in ("/models/org/vit", "/v1/chat/completions"):
        body = json.dumps({"model": "org/chat", "messages": HELLO, "inputs": base64.b64encode(payload).decode()})
        reply = gateway.http.post(path, content=body, headers={"content-type": "application/json"})
        code = reply.json()["code"] if path.startswith("/models") else reply.json()["error"]["code"]
        assert (reply.status_code, code) == (429 if path.startswith("/models") else 503, "overloaded"), reply.text
        assert reply.headers["retry-after"] == "1" and "`spool.dir`" in reply.text
        assert gateway.record(reply)["error"] == "overloaded"
    assert served(gateway.url), "small ones need no place"
    assert metric(gateway.metrics(), "fourways_spool_errors_total") >= 3
    assert metric(gateway.metrics(), "fourways_spool_refused_total") == 2
    gateway.logged("a body's file could not be written", **{"spool.dir": made["spool"]["dir"]})


@pytest.mark.fault("e", "f")
def test_no_room_for_copies(start, policy):
    """The budgets: memory and disk for all bodies together."""
    gateway = start({**policy, "spool": {"memory": "1MiB", "memory_per_body": "64KiB", "disk": "1MiB"}})
    payload = PNG + os.urandom(3 * MIB)
    reply = gateway.http.post("/models/org/two-ways", content=payload, headers={"content-type": "image/png"})
    assert reply.json()[0]["label"] == fingerprint(payload) and gateway.record(reply).get("no_copy") is True
    body = json.dumps({"inputs": base64.b64encode(payload).decode()})
    reply = gateway.http.post("/models/org/vit", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (429, "overloaded") and "`spool.disk`" in reply.text
    # Memory: bodies that never end hold their part of it; the next is refused, small ones are not.
    held = []
    while True:
        head, _, body = post("/models/org/vit", payload).partition(b"\r\n\r\n")
        held.append(Peer(gateway.url).send(head + b"\r\n\r\n" + body[: 64 * KIB]))
        assert len(held) < 20, "memory is bounded"
        reply = gateway.http.post("/models/org/vit", content=payload, headers={"content-type": "image/png"})
        if reply.status_code != 200:
            break
    assert (reply.status_code, reply.json()["code"]) == (429, "overloaded") and "`spool.memory`" in reply.text
    assert reply.headers["retry-after"] == "1"
    body = json.dumps({"model": "org/chat", "messages": HELLO, "more": "x" * len(payload)})
    reply = gateway.http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"], reply.headers["retry-after"]) == (503, "overloaded", "1"), reply.text
    assert served(gateway.url)
    for peer in held:
        peer.close()
    poll(lambda: gateway.http.post("/models/org/vit", content=payload, headers={"content-type": "image/png"}).status_code == 200)


class Bare:
    """The binary with standard streams that nobody reads, or that take nothing."""

    def __init__(self, policy, folder, **streams):
        self.port, admin = free_port(), free_port()
        self.url, self.admin, self.config = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{admin}", folder / "policy.yaml"
        self.config.write_text(json.dumps({**policy, "listen": self.url[7:], "admin": self.admin[7:]}))
        command = [BINARY, "serve", "--config", self.config, "--threads", "2"]
        self.process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, **streams)
        poll(self.listens, what="it listens")

    def listens(self):
        assert self.process.poll() is None
        with contextlib.suppress(ConnectionRefusedError):
            return Peer(self.admin)

    def ask(self, verb, path):
        with Peer(self.admin) as peer:
            return peer.send(f"{verb} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()).answer()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        try:
            code = self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
        assert kind is not None or code == 0


@pytest.mark.fault("e")
def test_a_full_disk_under_the_records(policy, tmp_path):
    """They are dropped and counted; no request waits for them, nothing ends."""
    with open("/dev/full", "wb") as full, Bare(policy, tmp_path, stdout=full, stderr=subprocess.DEVNULL) as gateway:
        for _ in range(20):
            assert served(gateway.url)
        name = "fourways_access_records_dropped_total"
        poll(lambda: metric(gateway.ask("GET", "/metrics").body.decode(), name) >= 20, what="all are counted")
        assert served(gateway.url)


@pytest.mark.fault("e")
def test_standard_streams_that_are_closed(policy, tmp_path):
    """Records must not go to whatever connection has their number."""
    with Bare(policy, tmp_path, preexec_fn=lambda: os.closerange(0, 3)) as gateway:
        for _ in range(20):
            assert served(gateway.url)
        assert {os.readlink(f"/proc/{gateway.process.pid}/fd/{number}") for number in range(3)} == {"/dev/null"}


@pytest.mark.fault("e")
def test_nobody_reads_the_records(policy, tmp_path):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with Bare(policy, tmp_path, stdout=writing, stderr=subprocess.DEVNULL) as gateway:
            for _ in range(100):
                assert served(gateway.url)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.fault("e")
def test_nobody_reads_the_log(policy, tmp_path):
    """No thread waits for whoever reads stderr: neither administration nor clients notice."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with Bare(policy, tmp_path, stdout=subprocess.DEVNULL, stderr=writing) as gateway:
            good = gateway.config.read_text()
            gateway.config.write_text("nonsense: true")
            for _ in range(60):
                assert gateway.ask("POST", "/reload").status == 422
                assert served(gateway.url)
            gateway.config.write_text(good)
            assert gateway.ask("POST", "/reload").status == 200
    finally:
        os.close(reading)
        os.close(writing)
