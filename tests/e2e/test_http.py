"""The wire as programs speak it that are no SDK: HTTP/1.0, HEAD, curl, readers that are slow; and silence that is filled."""

import concurrent.futures
import json
import socket
import subprocess
import threading

import httpx
import openai
import pytest
from processes import poll
from stubs import ROLE, Chat, Reply, Toolkit, chat_reply, chat_text, chunk, fingerprint, stream_of, streamed, web_page

HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))


@pytest.fixture(scope="module")
def toolkit(start_once):
    return start_once.keep(Toolkit())


@pytest.fixture(scope="module")
def llm(start_once):
    return start_once.keep(Chat())


@pytest.fixture(scope="module")
def second(start_once):
    return start_once.keep(Chat())


@pytest.fixture(scope="module")
def here(start_once, toolkit, llm, second):
    upstreams = {
        "toolkit": {"kind": "dedicated", "url": toolkit.url},
        "llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"},
        "second": {"kind": "dedicated", "url": second.url, "engine": "openai"},
    }
    models = {
        "org/vit": {"task": "image-classification", "route": ["toolkit"]},
        "org/chat": {"task": "chat-completion", "route": ["llm"]},
        "org/two": {"task": "chat-completion", "route": ["llm", "second"]},
    }
    return start_once({"upstreams": upstreams, "models": models, "limits": {"waiting_comment": "200ms"}})


@pytest.fixture(autouse=True)
def calm(llm, second, toolkit):
    yield
    for each in (llm, second, toolkit):
        each.calm()


def exchange(here, request):
    """Everything that comes until the gateway closes."""
    with socket.create_connection(("127.0.0.1", httpx.URL(here.url).port), 30) as peer:
        peer.sendall(request)
        reply = b""
        while block := peer.recv(65536):
            reply += block
    head, _, body = reply.partition(b"\r\n\r\n")
    return head.decode().lower(), body


def chat_body(**more):
    return json.dumps({"model": "org/chat", "messages": HELLO, **more}).encode()


def http10(path, body):
    return b"POST %s HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        path,
        len(body),
        body,
    )


def test_http_1_0(here, llm):
    head, body = exchange(here, http10(b"/v1/chat/completions", chat_body()))
    assert head.startswith("http/1.1 200 ") and "connection: close" in head
    assert json.loads(body)["choices"][0]["message"]["content"] == chat_text(HELLO)
    # A stream has no length: it ends with the connection, without chunks.
    head, body = exchange(here, http10(b"/v1/chat/completions", chat_body(stream=True)))
    assert "transfer-encoding" not in head and "text/event-stream" in head
    assert body.startswith(b"data: {") and body.endswith(b"data: [DONE]\n\n")
    head, body = exchange(here, b"GET /health HTTP/1.0\r\n\r\n")
    assert head.startswith("http/1.1 200 ")


def test_head(here):
    full, short = here.http.get("/health"), here.http.head("/health")
    assert (full.status_code, short.status_code, short.content) == (200, 200, b"")
    assert short.headers["content-length"] == str(len(full.content))
    assert here.http.head("/v1/models").status_code == 200
    assert here.http.get("/health").json() == {"status": "ok"}, "the connection is still in step"


def curl(*args, data=None):
    done = subprocess.run(["curl", "-sS", "-m", "60", *args], input=data, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("size", [100, 60_000, 2_000_000])
def test_curl_that_expects_to_be_asked(here, size):
    data = PNG + bytes(size)
    code, out, err = curl("-v", "-H", "Expect: 100-continue", "--data-binary", "@-", here.url + "/models/org/vit", data=data)
    assert code == 0 and json.loads(out) == [{"label": fingerprint(data), "score": 0.5}]
    assert "100 Continue" in err
    code, out, err = curl("-v", "-H", "Expect: 100-continue", "--data-binary", "@-", here.url + "/models/no/such", data=data)
    assert code == 0 and json.loads(out)["code"] == "unknown_model"


@pytest.mark.parametrize(
    "more",
    [
        ("-H", "Content-Type: image/png"),
        ("-H", "Transfer-Encoding: chunked", "-H", "Content-Type: image/png"),
        ("-0",),
        ("-T", "-", "-X", "POST"),
    ],
)
def test_curl_in_other_ways(here, more):
    data = PNG + bytes(300_000)
    how = () if "-T" in more else ("--data-binary", "@-")
    code, out, err = curl(*more, *how, here.url + "/models/org/vit", data=data)
    assert code == 0, err
    assert json.loads(out) == [{"label": fingerprint(data), "score": 0.5}]


def test_curl_streams(here):
    code, out, _ = curl(
        "-N", "-H", "Content-Type: application/json", "-d", chat_body(stream=True).decode(), here.url + "/v1/chat/completions"
    )
    assert code == 0 and out.endswith(b"data: [DONE]\n\n")


def test_curl_is_told_of_a_cut(here, toolkit):
    toolkit.when(Reply(json.dumps([{"label": "x" * 2_000_000}]), cut=True), times=1)
    code, out, _ = curl("--data-binary", "@-", here.url + "/models/org/vit", data=PNG)
    assert code in (18, 56) or json.loads(out)["code"] == "unavailable", "a transfer that is shorter than it said"
    assert here.http.post("/models/org/vit", content=PNG).status_code == 200


def test_pipelined_requests_are_answered_in_order(here):
    one = b"POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: %d\r\n%s\r\n%s"
    bodies = [PNG + bytes([n]) for n in range(8)]
    request = b"".join(one % (len(body), b"Connection: close\r\n" if body is bodies[-1] else b"", body) for body in bodies)
    head, rest = exchange(here, request)
    said = head + rest.decode()
    places = [said.index(fingerprint(body)) for body in bodies]
    assert places == sorted(places) and said.lower().count("http/1.1 200 ok") == len(bodies)


# ---- slow readers ----


def test_a_slow_reader_of_a_stream_gets_every_event(here, llm):
    words = " ".join(f"word{n}" + "x" * 300 for n in range(4000))
    llm.when(streamed(stream_of(words)), times=1)
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(60)
        peer.connect(("127.0.0.1", httpx.URL(here.url).port))
        body = chat_body(stream=True)
        peer.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        said = b""
        while block := peer.recv(1500):
            said += block
            if len(said) < 20_000:  # while this one dawdles, others are served
                assert here.http.post("/models/org/vit", content=PNG).status_code == 200
    text = unchunked(said.partition(b"\r\n\r\n")[2]).decode()
    pieces = [json.loads(frame[6:])["choices"] for frame in text.split("\n\n") if frame.startswith("data: {")]
    assert "".join(each[0]["delta"].get("content") or "" for each in pieces if each) == words
    assert text.endswith("data: [DONE]\n\n")


def unchunked(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        out, data = out + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return out


def test_a_slow_writer_is_waited_for(here, toolkit):
    """Byte by byte, over the edges of head and body; nothing goes up before the head is whole."""
    before = len(toolkit.seen)
    request = (
        b"POST /models/org/vit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%s"
        % (len(PNG), PNG)
    )
    with socket.create_connection(("127.0.0.1", httpx.URL(here.url).port), 30) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(len(request)):
            assert n > 100 or len(toolkit.seen) == before
            peer.sendall(request[n : n + 1])
        reply = b""
        while block := peer.recv(4096):
            reply += block
    assert fingerprint(PNG).encode() in reply


def test_a_hundred_clients_at_once_get_their_own(here):
    def ask(n):
        body = PNG + str(n).encode()
        with httpx.Client(base_url=here.url, timeout=60) as client:
            return [client.post("/models/org/vit", content=body).json()[0]["label"] == fingerprint(body) for _ in range(3)]

    with concurrent.futures.ThreadPoolExecutor(32) as crowd:
        assert all(all(each) for each in crowd.map(ask, range(100)))


# ---- silence ----


def test_silence_is_filled_and_the_next_candidate_may_still_answer(here, llm, second):
    gate = threading.Event()
    llm.when(lambda seen: gate.wait(60) and web_page(502), times=1)
    lines = []
    try:
        with here.http.stream("POST", "/v1/chat/completions", json={"model": "org/two", "messages": HELLO, "stream": True}) as reply:
            for line in reply.iter_lines():
                lines.append(line)
                if line == ": waiting" and not gate.is_set():
                    assert len(second.seen) == 0
                    gate.set()
    finally:
        gate.set()
    assert lines[0] == ": waiting" and reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"]) == chat_text(HELLO)
    # What the head could not know yet stands in the last comment and in the record.
    events = [line for line in lines if line]
    assert events[-1] == "data: [DONE]"
    assert events[-2].startswith(":") and "llm(502) second(200)" in events[-2]
    assert [(each["upstream"], each["outcome"]) for each in here.record(reply)["route"]] == [("llm", "unavailable"), ("second", "ok")]


def lines_of(here, gate, path="/v1/chat/completions", model="org/chat"):
    """A streamed chat's lines; the gate opens with the first. Whether it was cut."""
    lines, cut = [], False
    try:
        with here.http.stream("POST", path, json={"model": model, "messages": HELLO, "stream": True}) as reply:
            assert reply.status_code == 200
            for line in reply.iter_lines():
                lines.append(line)
                gate.set()
    except httpx.RemoteProtocolError:
        cut = True
    finally:
        gate.set()
    return lines, cut


def test_silence_before_a_json_answer(here, llm):
    """A non-streaming upstream's answer is rendered as chunks behind the comment."""
    gate = threading.Event()
    llm.when(lambda seen: gate.wait(60) and chat_reply({**seen.json, "stream": False}), times=1)
    lines, cut = lines_of(here, gate)
    assert (lines[0], [line for line in lines if line][-1], cut) == (": waiting", "data: [DONE]", False)
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"]) == chat_text(HELLO)


@pytest.mark.parametrize("door", ["/v1/chat/completions", "/models/org/chat/v1/chat/completions"])
def test_a_final_failure_after_a_comment_is_one_error_event(here, llm, door):
    gate = threading.Event()
    llm.when(lambda seen: gate.wait(60) and Reply({"error": {"message": "boom"}}, 500), times=1)
    lines, _ = lines_of(here, gate, door)
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert lines[0] == ": waiting" and len(events) == 1
    assert events[0]["error"]["code"] == "unavailable" and "boom" in events[0]["error"]["message"]
    assert here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO}).status_code == 200


def test_comments_of_an_upstream_do_not_count_as_content(here, llm, second):
    llm.when(streamed([b": ping\n\n", ROLE, b": ping\n\n"], cut=True), times=1)
    client = openai.OpenAI(base_url=here.url + "/v1", api_key="x", max_retries=0)
    stream = client.chat.completions.create(model="org/two", messages=HELLO, stream=True)
    assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == chat_text(HELLO)
    assert len(second.seen) > 0


def test_a_plain_answer_is_never_committed_early(here, llm, second):
    gate, streamed_too, before = threading.Event(), threading.Event(), len(llm.seen)
    llm.when(lambda seen: gate.wait(60) and Reply({"error": "boom"}, 500), times=1)
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        asked = aside.submit(here.http.post, "/v1/chat/completions", json={"model": "org/chat", "messages": HELLO})
        try:
            poll(lambda: len(llm.seen) > before, what="the plain request is up")
            llm.when(lambda seen: streamed_too.wait(60) and chat_reply(seen.json), times=1)
            lines, _ = lines_of(here, streamed_too)
            assert lines[0] == ": waiting" and not asked.done(), "the time for a comment was over for the plain one, too"
        finally:
            gate.set()
        assert asked.result(60).status_code == 502


def test_chunks_are_sent_on_as_they_come(here, llm):
    """Each event reaches the client before the next one exists."""
    turn = threading.Semaphore(0)

    def talk():
        yield ROLE
        for n in range(5):
            assert turn.acquire(timeout=60)
            yield chunk({"content": f"<{n}>"})
        yield b"data: [DONE]\n\n"

    llm.when(lambda seen: streamed(talk()), times=1)
    turn.release()
    heard = []
    with here.http.stream("POST", "/v1/chat/completions", json={"model": "org/chat", "messages": HELLO, "stream": True}) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {") and "<" in line:
                heard.append(line[line.index("<") :][:3])
                turn.release()
    assert heard == [f"<{n}>" for n in range(5)]
