"""What an upstream does wrong, from each door to each kind of upstream: the client's answer, how often the upstream was asked, what the
access record says, that no bad connection is used again; and that all is well when the fault is over. (Answers that are wrong by their
bytes: test_upstream_wire.py. What clients do: test_client_faults.py.)"""

import json
import threading
import time

import pytest
from gateway import metric
from processes import poll
from raw_client import RawClient
from raw_upstream import LAST_CHUNK, Peer, RawUpstream, answering, chunk, http, once
from ways import IMAGES, OPENAI, PNG, TOKEN, TOOLKIT, WAYS, Way, World, framed, named, outcomes, refused

SOON = 2  # seconds: for what must happen at once


@pytest.fixture(scope="module")
def world(start_once, tmp_path_factory):
    return World(start_once.keep, tmp_path_factory.mktemp("world"), WAYS + IMAGES, idle="30s").start(start_once)


@pytest.fixture(scope="module")
def hasty(start_once, tmp_path_factory):
    """The same with limits that run out soon."""
    return World(start_once.keep, tmp_path_factory.mktemp("hasty"), WAYS + IMAGES, first_byte="300ms", idle="300ms").start(start_once)


SOME = named("json-custom-tls", "bytes-toolkit_local-clear", "path-serverless-tls", "chat-openai-tls", "stream-openai-clear")
STREAMS = [way for way in WAYS if way.door == "stream"]
FINISHED = STREAMS[0].pieces[1].partition(b"data: [DONE]")[0]  # the event that says why a stream ends
each_way = pytest.mark.parametrize("way", WAYS, ids=str)
some_ways = pytest.mark.parametrize("way", SOME, ids=str)


# ---- before the answer ----


@pytest.mark.fault("A")
@some_ways
def test_an_upstream_that_refuses_connections(world, way):
    up = world.ups[way.name]
    asked = len(up.requests)
    world.lift(way)  # leaves a kept connection
    up.refuse()
    up.drop()
    try:
        answer, name = world.ask(way)
        refused(answer)
        assert b"cannot be reached" in answer.body or b"closed the connection" in answer.body
        record = world.here.record(name)
        assert record["status"] == 502 and set(outcomes(record)) == {"unavailable"}
        assert 1 <= len(outcomes(record)) <= 3, "two more tries, a pause apart"
        assert len(up.requests) == asked + 1
    finally:
        up.listen_again()
    world.lift(way)


@pytest.mark.fault("A")
def test_the_next_candidate_when_one_refuses(start):
    bad, good = start.keep(RawUpstream(once())), start.keep(RawUpstream(answering(http(b"[1]"))))
    bad.refuse()
    ups = {name: {**TOOLKIT, "url": up.url} for name, up in (("bad", bad), ("good", good))}
    here = start({"upstreams": ups, "models": {"org/m": {"task": "image-classification", "route": ["bad", "good"]}}})
    for _ in range(20):
        with RawClient(here.url) as client:
            client.post("/models/org/m", PNG, "image/png")
            answer = client.answer()
        assert (answer.status, answer.body) == (200, b"[1]")
    assert len(good.requests) == 20 and not bad.requests


@pytest.mark.fault("B")
@pytest.mark.parametrize("door", ["path", "chat", "stream"])
def test_a_name_that_does_not_resolve(start, tmp_path, door):
    way = Way(door, OPENAI if door != "path" else TOOLKIT, False)
    world = World(start.keep, tmp_path, [way], connect="2s")
    world.policy["upstreams"][way.name] |= {"url": "http://no-such-name.invalid:8000", "insecure_http": True}
    world.start(start)
    answer, name = world.ask(way)
    refused(answer)
    assert b"`no-such-name.invalid`" in answer.body
    assert set(outcomes(world.here.record(name))) == {"unavailable"}
    assert world.here.http.get("/health").status_code == 200

    world.policy["upstreams"][way.name]["url"] = world.ups[way.name].url
    world.here.write(world.policy)
    assert world.here.admin_http.post("/reload").status_code == 200
    world.lift(way)


@pytest.mark.fault("C")
@pytest.mark.parametrize("way", named("path-serverless-tls", "chat-openai-tls", "stream-openai_local-tls"), ids=str)
@pytest.mark.parametrize("fault", ["cut", "reset", "text"])
def test_a_tls_handshake_that_fails(start, tmp_path, way, fault):
    world = World(start.keep, tmp_path, [way], connect="5s")

    def script(peer):
        peer.read_some()  # its first flight
        if fault == "text":
            peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return peer.stall()
        return peer.fin() if fault == "cut" else peer.reset()

    plain = start.keep(RawUpstream(script))
    world.policy["upstreams"][way.name]["url"] = plain.url.replace("http:", "https:")
    world.start(start)
    answer, name = world.ask(way)
    refused(answer, 502, "upstream_tls" if fault == "text" else "unavailable")
    assert plain.connections == (1 if fault == "text" else 3), "what was cut may be tried again"
    received = b"".join(peer.received for peer in plain.peers)
    assert TOKEN.encode() not in received and b"POST" not in received, "nothing goes out in clear text"
    assert set(outcomes(world.here.record(name))) == {"unavailable"}

    world.policy["upstreams"][way.name]["url"] = world.ups[way.name].url
    world.here.write(world.policy)
    assert world.here.admin_http.post("/reload").status_code == 200
    world.lift(way)


@pytest.mark.fault("D")
@each_way
@pytest.mark.parametrize("end", [Peer.fin, Peer.reset], ids=["fin", "reset"])
def test_the_end_before_the_head(world, way, end):
    up = world.ups[way.name]
    up.script = once(then=end)
    up.drop()
    before = len(up.requests)
    answer, name = world.ask(way)
    refused(answer)
    assert len(up.requests) == before + 1, "a POST is sent once"
    record = world.here.record(name)
    assert (record["status"], record["error"], outcomes(record)) == (502, "unavailable", ["unavailable"])
    world.lift(way)


@pytest.mark.fault("F")
@each_way
def test_no_head_in_time(hasty, way):
    up = hasty.ups[way.name]
    up.script = once(then=Peer.stall)
    up.drop()
    before = len(up.requests)
    answer, name = hasty.ask(way)
    refused(answer, 504, "timeout")
    assert len(up.requests) == before + 1, "it is not repeated"
    up.peers[-1].wait_closed(SOON)
    assert outcomes(hasty.here.record(name)) == ["timeout"]
    hasty.lift(way)


# ---- within the answer ----

ENDS = {"fin": Peer.fin, "reset": Peer.reset, "no_notice": lambda peer: peer.fin(notify=False)}


def cuts():
    for way in WAYS + IMAGES:
        for framing in ("sized", "chunked", "until_close"):
            for end in ENDS:
                if end == "no_notice" and not way.tls:
                    continue
                if framing == "until_close" and end == "fin" and way.task == "text-to-image":
                    continue  # nothing can tell this from a good end
                yield pytest.param(way, framing, end, id=f"{way.name}-{framing}-{end}")


def reads_until_it_ends(client, seen, whole_first):
    """The answer; `seen` is set when the client has the head and something behind it."""
    if whole_first:
        seen.set()
        return client.answer()
    client.until(b"\r\n\r\n")
    head = client.held.index(b"\r\n\r\n") + 4
    while len(client.held) <= head + 8 and client.more():
        pass
    seen.set()
    return client.answer()


def is_torn(way, answer):
    """The client sees that its answer is not whole, in the way that fits."""
    first, rest = way.pieces
    assert answer.status == 200 and not answer.whole, answer.raw
    if way.door == "stream":
        events = answer.body.split(b"\n\n")
        assert answer.body.startswith(first)
        assert events[-1] == b"" and b"broken_stream" in events[-2], "one error event, the last one"
        assert answer.body.count(b"broken_stream") == 1 and b"[DONE]" not in answer.body
        assert json.loads(events[-2].removeprefix(b"data: "))["error"]["code"] == "broken_stream"
    elif way.task == "text-to-image" and way.door == "json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(answer.body)
    else:
        assert (first + rest).startswith(answer.body) and answer.body != first + rest


def broken(world, way, name):
    record = world.here.record(name)
    assert (record["status"], record["error"], outcomes(record)) == (200, "broken_stream", ["broken_stream"]), record


@pytest.mark.fault("E")
@pytest.mark.parametrize(("way", "framing", "end"), list(cuts()))
def test_the_end_within_the_answer(world, way, framing, end):
    up = world.ups[way.name]
    seen = threading.Event()

    def script(peer):
        peer.request()
        peer.send(framed(way, framing))
        seen.wait(30)  # else a reset would take along what was not read yet
        ENDS[end](peer)

    up.script = script
    up.drop()
    before = len(up.requests)
    with world.connect() as client:
        name = world.send(client, way)
        answer = reads_until_it_ends(client, seen, way.translated)
    if way.translated:
        refused(answer)
        record = world.here.record(name)
        assert (record["status"], outcomes(record)) == (502, ["unavailable"])
    else:
        is_torn(way, answer)
        assert answer.ended == "eof", "what came before the cut is not destroyed by a reset"
        broken(world, way, name)
    assert len(up.requests) == before + 1
    world.lift(way)


@pytest.mark.fault("E")
@pytest.mark.parametrize("framing", ["sized", "chunked"])
@pytest.mark.parametrize("way", [way for way in STREAMS], ids=str)
def test_the_end_within_json_that_is_to_become_events(world, way, framing):
    """An upstream that answers a stream's request with JSON: it is read whole before the client gets an event."""
    plain = Way("chat", way.upstream, way.tls)
    up = world.ups[way.name]
    up.script = once(framed(plain, framing), Peer.fin)
    up.drop()
    before = len(up.requests)
    answer, _ = world.ask(way)
    refused(answer)
    assert len(up.requests) == before + 1

    up.script = once(http(b"".join(plain.pieces)), Peer.fin)
    answer, _ = world.ask(way)
    assert answer.whole and b"hi you" in answer.body and answer.body.endswith(b"data: [DONE]\n\n")
    world.lift(way)


@pytest.mark.fault("E")
@pytest.mark.parametrize("way", STREAMS, ids=str)
@pytest.mark.parametrize("rest", [b"", chunk(FINISHED + b'data: {"id":"1","choices":[],"usa')], ids=["between events", "in an event"])
def test_a_cut_that_a_proxy_on_the_way_has_hidden(world, way, rest):
    """The chunks end well, but the stream has neither a reason to finish nor [DONE], or its last event is half of one."""
    up = world.ups[way.name]
    up.script = once(framed(way, "chunked") + rest + LAST_CHUNK)
    up.drop()
    answer, name = world.ask(way)
    is_torn(way, answer)
    broken(world, way, name)
    world.lift(way)


@pytest.mark.fault("E")
@pytest.mark.parametrize("way", STREAMS, ids=str)
def test_what_came_before_an_error_in_the_stream_is_passed_on(world, way):
    up = world.ups[way.name]
    more = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"more"}}]}\n\n'
    seen = threading.Event()

    def script(peer):
        peer.request()
        peer.send(framed(way, "chunked"))
        seen.wait(30)
        peer.send(chunk(more + b'data: {"error":{"message":"out of memory"}}\n\n' + way.pieces[1]) + LAST_CHUNK)

    up.script = script
    up.drop()
    with world.connect() as client:
        world.send(client, way)
        answer = reads_until_it_ends(client, seen, False)
    is_torn(way, answer)
    assert answer.body.startswith(way.pieces[0] + more)
    world.lift(way)


@pytest.mark.fault("G")
@each_way
def test_a_body_that_stalls(hasty, way):
    up = hasty.ups[way.name]
    up.script = once(framed(way, "chunked"), Peer.stall)
    up.drop()
    before = len(up.requests)
    answer, name = hasty.ask(way)
    if way.translated:
        refused(answer, 504, "timeout")
    else:
        is_torn(way, answer)
        broken(hasty, way, name)
    up.peers[-1].wait_closed(SOON)
    assert len(up.requests) == before + 1
    hasty.lift(way)


@pytest.mark.fault("G")
@pytest.mark.parametrize("way", STREAMS + IMAGES[1:], ids=str)
def test_a_body_is_passed_on_as_it_comes(world, way):
    up = world.ups[way.name]
    seen = threading.Event()

    def script(peer):
        peer.request()
        peer.send(framed(way, "chunked"))
        assert seen.wait(30), "the first piece reached the client before the second was sent"
        peer.send(chunk(way.pieces[1]) + LAST_CHUNK)

    up.script = script
    up.drop()
    with world.connect() as client:
        world.send(client, way)
        answer = reads_until_it_ends(client, seen, False)
    assert answer.whole and answer.body == b"".join(way.pieces)
    world.lift(way)


# ---- answers that mean something ----


def alone(start, tmp_path, way, **fallback):
    """A gateway of the test's own: what it learns of the upstream is nobody else's matter."""
    world = World(start.keep, tmp_path, [way])
    if fallback:
        world.policy["models"][f"org/{way.name}"]["fallback"] = fallback
    return world.start(start), world.ups[way.name]


ANSWERED = named("json-custom-tls", "path-toolkit-clear", "chat-openai-tls", "stream-openai_local-tls", "bytes-toolkit_local-clear")


@pytest.mark.fault("I")
@pytest.mark.parametrize("way", ANSWERED, ids=str)
def test_limited_with_a_time(start, tmp_path, way):
    world, up = alone(start, tmp_path, way)
    limited = [http(b'{"error":"slow down"}', status=429, fields=["retry-after: 1"])]
    up.script = answering(lambda _: limited.pop() if limited else way.good())
    began = time.monotonic()
    answer, name = world.ask(way)
    assert way.is_good(answer), answer
    assert time.monotonic() - began >= 0.9, "it waits as long as it was told"
    assert outcomes(world.here.record(name)) == ["rate_limited", "ok"] and len(up.requests) == 2

    limited.append(http(b'{"error":"slow down"}', status=429, fields=["retry-after: 600"]))
    answer, name = world.ask(way)
    refused(answer, 429, "rate_limited")
    assert 590 <= int(answer.fields["retry-after"]) <= 600
    assert outcomes(world.here.record(name)) == ["rate_limited"]
    answer, name = world.ask(way)
    refused(answer, 429, "rate_limited")
    assert len(up.requests) == 3, "while it rests it is not asked"


@pytest.mark.fault("J")
@pytest.mark.parametrize(
    ("status", "code", "told"),
    [(402, "out_of_credits", 402), (401, "token_rejected", 502), (403, "token_rejected", 502), (404, "unsupported", 404), (422, "rejected", 422)],
)
@pytest.mark.parametrize("way", ANSWERED, ids=str)
def test_refusals_mean_what_they_mean(start, tmp_path, way, status, code, told):
    world, up = alone(start, tmp_path, way, max_wait="10ms")
    up.script = answering(http(b'{"error":"these are the words"}', status=status, fields=['www-authenticate: Bearer realm="theirs"']))
    answer, name = world.ask(way)
    refused(answer, told, code)
    assert b"theirs" not in answer.raw
    if status == 422:
        assert b"these are the words" in answer.body
    assert outcomes(world.here.record(name)) == [code] and len(up.requests) == 1
    if status == 422:  # nothing to wait for
        world.lift(way)


@pytest.mark.fault("L")
@pytest.mark.parametrize("way", ANSWERED, ids=str)
def test_a_model_that_loads(start, tmp_path, way):
    world, up = alone(start, tmp_path, way, max_wait="10ms")
    up.script = answering(http(b'{"error":"Model org/x is currently loading","estimated_time":99.5}', status=503))
    answer, name = world.ask(way)
    refused(answer, 429, "warming")
    assert 90 <= int(answer.fields["retry-after"]) <= 100
    assert outcomes(world.here.record(name))[0] == "warming"


@pytest.mark.fault("W")
@pytest.mark.parametrize("way", named("path-toolkit-clear", "chat-openai-tls", "stream-openai-clear"), ids=str)
def test_an_upstream_that_is_down_for_a_while(start, tmp_path, way):
    world, up = alone(start, tmp_path, way, max_wait="10ms")
    up.script = once(then=Peer.reset)
    for _ in range(5):
        refused(world.ask(way)[0])
    assert len(up.requests) == 5
    began = time.monotonic()
    slowest, answers = 0, 0
    while time.monotonic() - began < 2.5:
        asked = time.monotonic()
        before = len(up.requests)
        answer, _ = world.ask(way)
        if len(up.requests) == before:
            refused(answer, 429)
            assert int(answer.fields["retry-after"]) >= 1
            slowest = max(slowest, time.monotonic() - asked)
            answers += 1
    assert answers > 10 and slowest < 20 * 0.005 + 0.5, f"{answers} answers, {slowest} s"
    assert len(up.requests) - 5 <= 3, "a probe a second at most"
    up.script = answering(way.good)
    poll(lambda: way.is_good(world.ask(way)[0]), 30, "it is found out that the upstream is back")
    world.lift(way)


# ---- kept connections ----


@pytest.mark.fault("K")
@each_way
def test_a_kept_connection_that_ends_as_it_is_used(world, way):
    up = world.ups[way.name]

    def script(peer):
        peer.request()
        peer.send(way.good())
        peer.request()
        peer.fin() if peer.number % 2 else peer.reset()

    up.script = script
    up.drop()
    assert way.is_good(world.ask(way)[0])
    used, connections = up.peers[-1], up.connections
    stale = metric(world.here.metrics(), "fourways_stale_connections_total")
    before, asked = len(up.requests), []

    def bad():
        """One that met its end; behind a stream a connection rests for a moment before it is used again."""
        answer, name = world.ask(way)
        asked.append(name)
        return None if way.is_good(answer) else answer

    refused(poll(bad, what="a connection is used again"))
    assert len(up.requests) == before + len(asked), "a POST is not repeated"
    assert way.door == "stream" or len(used.requests) == 2 and up.connections == connections
    assert outcomes(world.here.record(asked[-1])) == ["unavailable"]
    assert metric(world.here.metrics(), "fourways_stale_connections_total") == stale + 1
    world.lift(way)


@pytest.mark.fault("K")
@some_ways
def test_a_kept_connection_that_has_ended_is_not_used(world, way):
    up = world.ups[way.name]
    up.drop()

    def script(peer):
        peer.request()
        peer.send(way.good())
        peer.fin()

    up.script = script
    for _ in range(10):
        connections = up.connections
        assert way.is_good(world.ask(way)[0])
        assert up.connections == connections + 1
        up.peers[-1].wait_closed()
    world.lift(way)


@pytest.mark.fault("K")
@pytest.mark.parametrize("way", named("path-toolkit-clear"), ids=str)
def test_a_connection_is_given_up_before_the_upstream_does(start, tmp_path, way):
    """An upstream that says how long it keeps a connection is believed."""
    world, up = alone(start, tmp_path, way)
    up.script = answering(http(b"".join(way.pieces), fields=["keep-alive: timeout=2, max=100"]))
    assert way.is_good(world.ask(way)[0])
    began = time.monotonic()
    assert up.peers[0].wait_closed(10) == "eof"
    assert time.monotonic() - began < 1.9
    up.script = answering(http(b"".join(way.pieces), fields=["keep-alive: timeout=1"]))
    assert way.is_good(world.ask(way)[0])
    up.peers[1].wait_closed(SOON)
    world.lift(way)


@pytest.mark.fault("V")
@each_way
def test_an_upstream_that_closes_its_half_behind_its_answer(world, way):
    up = world.ups[way.name]
    up.script = once(way.good(), Peer.half_close)
    up.drop()
    assert way.is_good(world.ask(way)[0])
    used = up.peers[-1]
    used.wait_closed()
    world.lift(way)
    assert up.peers[-1] is not used and len(used.requests) == 1
