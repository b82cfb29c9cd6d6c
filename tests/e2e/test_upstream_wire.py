"""Every literal answer of tests/data/wire/upstream, played by an upstream to the built gateway: at once and byte by byte."""

import json
import threading

import pytest
import trustme
from raw_client import RawClient
from raw_upstream import RawUpstream, answering, http
from tls_server import server
from upstream_cases import read_all

TOKEN = "hf_canary_upstream_wire_0123456789"
PNG = b"\x89PNG\r\n\x1a\n0000"
HELLO = [{"role": "user", "content": "hello"}]

# Each way that a request may take, to an upstream of its own: all doors, kinds and engines.
WAYS = {
    "path": ({"kind": "dedicated", "engine": "toolkit"}, "image-classification"),
    "bytes": ({"kind": "serverless"}, "image-classification"),
    "json": ({"kind": "dedicated", "engine": "custom", "request": {"image": "$base64"}}, "image-classification"),
    "chat": ({"kind": "dedicated", "engine": "openai"}, "chat-completion"),
    "stream": ({"kind": "local", "engine": "openai"}, "chat-completion"),
}


def send(client, way, request_id):
    fields = [f"x-request-id: {request_id}"]
    if way == "path":
        client.post(f"/models/org/{way}", PNG, "image/png", fields)
    elif way == "bytes":
        client.post(f"/v1/inference?model=org/{way}", PNG, "image/png", fields)
    elif way == "json":
        client.post("/v1/inference", json.dumps({"model": f"org/{way}", "inputs": {"base64": "iVBORw0KGgo="}}).encode(), fields=fields)
    else:
        body = {"model": f"org/{way}", "messages": HELLO, "stream": way == "stream"}
        client.post("/v1/chat/completions", json.dumps(body).encode(), fields=fields)


class World:
    """One gateway, and behind it an upstream for each way; `secure`: over TLS."""

    def __init__(self, start_once, folder, secure):
        company = trustme.CA()
        company.cert_pem.write_to_path(folder / "company.pem")
        tls = server(company.issue_cert("127.0.0.1")) if secure else None
        self.ups = {way: start_once.keep(RawUpstream(None, tls=tls)) for way in WAYS}
        more = {"token": "t", "timeout": {"idle": "20s"}} | ({"ca_file": str(folder / "company.pem")} if secure else {})
        policy = {
            "tokens": {"t": {"secret": "${T}"}},
            "upstreams": {way: {**how, "url": self.ups[way].url, **more} for way, (how, _) in WAYS.items()},
            "models": {f"org/{way}": {"task": task, "route": [way]} for way, (_, task) in WAYS.items()},
        }
        self.here = start_once(policy, env={"T": TOKEN}, threads=1)  # one pool
        self.asked = []  # request id, status and error of the access record it must have

    def ask(self, way, status, error=None, when=None):
        """`when`: bytes of the answer, and what is done once they are here."""
        request_id = f"wire-{len(self.asked)}"
        self.asked.append((request_id, status, error))
        with RawClient(self.here.url) as client:
            send(client, way, request_id)
            if when:
                assert client.until(when[0]), client.held
                when[1]()
            return client.answer()

    def check_records(self):
        """All at once: a record may take 200 ms to be written out."""
        for request_id, *expected in self.asked:
            record = self.here.record(request_id)
            assert [record["status"], record.get("error")] == expected, record


@pytest.fixture(scope="module")
def clear(start_once, tmp_path_factory):
    made = World(start_once, tmp_path_factory.mktemp("clear"), secure=False)
    yield made
    made.check_records()


@pytest.fixture(scope="module")
def secure(start_once, tmp_path_factory):
    made = World(start_once, tmp_path_factory.mktemp("secure"), secure=True)
    yield made
    made.check_records()


def code_of(answer):
    error = json.loads(answer.body)
    return error["code"] if isinstance(error["error"], str) else error["error"]["code"]


def good(request):
    """What a healthy upstream says to this request; no connection is left over for the next test, whose script is another one."""
    last = ["connection: close"]
    if request.target != "/v1/chat/completions":
        return http(b"[1]", fields=last)
    if not json.loads(request.body).get("stream"):
        return http(b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}', fields=last)
    events = [b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"]
    return http(b"", "text/event-stream", fields=last, chunks=[*events, b""])


def play(world, case, way, piece):
    up = world.ups[way]
    before = len(up.requests)
    data = case.bytes(token=TOKEN)
    seen = threading.Event()  # a reset takes along what was not read yet
    up.reply = lambda _: data

    def script(peer):
        while True:
            request = peer.request()
            peer.send(up.reply(request), piece)
            if case.ends == "fin":
                return peer.fin()
            if case.ends == "reset":
                seen.wait(30)
                return peer.reset()

    up.script = script
    error = "broken_stream" if case.cut else case.code
    answer = world.ask(way, case.status, error, (case.body, seen.set) if case.ends == "reset" else None)
    assert answer is not None, "no answer at all"
    assert answer.status == case.status, answer.raw
    assert TOKEN.encode() not in answer.raw
    if case.code:
        assert (code_of(answer), answer.whole) == (case.code, True)
    else:
        assert answer.whole is not case.cut, f"whole: {answer.whole}, {answer.raw}"
    if case.body is not None:
        assert answer.body == case.body
    if case.lacks:
        assert case.lacks.encode() not in answer.raw
    assert len(up.requests) == before + 1, "a POST is sent once"
    used = up.peers[-1]
    if case.kept is not True:
        used.wait_closed()

    # The fault is lifted: a normal request succeeds, on this connection or not on it.
    connections = up.connections
    up.reply, up.script = good, answering(good)
    if case.kept is True:
        assert used.ended is None and not used.closed
    after = world.ask(way, 200)
    assert (after.status, after.whole) == (200, True), after.raw
    if case.kept is True:
        assert len(used.requests) >= 2, "this connection was good for more"
    else:
        assert up.connections == connections + 1 and len(used.requests) == 1, "this connection is not used again"


def marked(cases):
    def param(case):
        marks = [pytest.mark.fault(each) if len(each) == 1 else pytest.mark.threat(each) for each in case.ids]
        marks += [pytest.mark.limit(each) for each in case.limits]
        return pytest.param(case, id=case.name, marks=[*marks, pytest.mark.wire_case(f"upstream/{case.name}")])

    return [param(case) for case in cases]


CASES = read_all()


@pytest.mark.parametrize("piece", [None, 1], ids=["at_once", "byte_by_byte"])
@pytest.mark.parametrize("case", marked(CASES))
def test_an_answer_in_clear_text(clear, case, piece):
    if piece and len(case.bytes(token=TOKEN)) > 20_000:
        piece = 97  # byte by byte it would be minutes
    play(clear, case, "path", piece)


@pytest.mark.parametrize("case", marked(CASES))
def test_an_answer_over_tls(secure, case):
    play(secure, case, "path", None)


@pytest.mark.parametrize("way", [each for each in WAYS if each != "path"])
@pytest.mark.parametrize("case", marked(each for each in CASES if each.code))
def test_a_refused_answer_at_every_door(clear, secure, case, way):
    play(secure if way in ("bytes", "chat") else clear, case, way, None)
