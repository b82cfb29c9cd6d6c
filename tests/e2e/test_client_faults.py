"""What a client does wrong, from each door to each kind of upstream: it leaves, closes its half, uploads more than is wanted, reads slowly.
Its upstream's connection ends at once, nothing half-sent counts, the record says 499; and all is well when the fault is over."""

import json
import threading
import time

import pytest
from processes import poll
from raw_upstream import LAST_CHUNK, Peer, answering, chunk, http, once
from ways import IMAGES, PNG, WAYS, World, framed, named, outcomes, refused

SOON = 2  # seconds: for what must happen at once
PROMPT = 20 * 0.1  # a bound for what takes 100 ms


@pytest.fixture(scope="module")
def world(start_once, tmp_path_factory):
    return World(start_once.keep, tmp_path_factory.mktemp("world"), WAYS + IMAGES, idle="30s").start(start_once)


SOME = named("json-custom-tls", "bytes-toolkit_local-clear", "path-serverless-tls", "chat-openai-tls", "stream-openai-clear")
STREAMS = [way for way in WAYS if way.door == "stream"]
UPLOADS = named("path-toolkit-clear", "bytes-toolkit-tls", "path-serverless-tls", "bytes-toolkit_local-clear")
each_way = pytest.mark.parametrize("way", WAYS, ids=str)
some_ways = pytest.mark.parametrize("way", SOME, ids=str)


# ---- uploads ----


def big(client, way, size, sent, **how):
    """Sends the head of a large binary request, and so much of its body."""
    model = f"org/{way.name}"
    path = f"/models/{model}" if way.door == "path" else f"/v1/inference?model={model}"
    client.post(path, PNG + b"x" * (sent - len(PNG)), "image/png", how.pop("fields", ()), length=size)


@pytest.mark.fault("T")
@pytest.mark.parametrize("reads_on", [False, True], ids=["stops", "reads_on"])
@pytest.mark.parametrize("way", UPLOADS, ids=str)
def test_an_answer_before_the_end_of_the_upload(world, way, reads_on):
    up = world.ups[way.name]
    size = 16 << 20

    def script(peer):
        peer.head()
        peer.send(http(b'{"error":"too big for me"}', status=413))
        if reads_on:
            peer.stall()
        else:
            poll(lambda: way.told.is_set(), what="the client has its answer")

    way.told = threading.Event()
    up.script = script
    up.drop()
    before = len(up.requests)
    with world.connect() as client:

        def upload():
            try:
                big(client, way, size, size, fields=["x-request-id: upload-" + way.name])
            except OSError:
                pass  # the gateway gave up on it, when it had read long enough

        sender = threading.Thread(target=upload)
        sender.start()
        answer = client.answer()
        way.told.set()
        refused(answer, 413, "too_large")
        assert b"too big for me" in answer.body
        sender.join(30)
    assert len(up.requests) == before + 1 and len(up.peers[-1].received) < size, "the upload has stopped"
    up.peers[-1].wait_closed(SOON)
    world.lift(way)


@pytest.mark.fault("T")
@pytest.mark.parametrize("way", UPLOADS, ids=str)
def test_a_good_answer_before_the_end_of_the_upload(world, way):
    """Delivered, and the client is told that nothing can follow it on this connection."""

    def script(peer):
        peer.head()
        peer.send(way.good())
        peer.stall()

    up = world.ups[way.name]
    up.script = script
    up.drop()
    with world.connect() as client:
        big(client, way, 16 << 20, 1 << 20)
        answer = client.answer()
        assert way.is_good(answer) and answer.fields["connection"] == "close", answer
        assert client.at_end() == "eof"
    up.peers[-1].wait_closed(SOON)
    world.lift(way)


@pytest.mark.fault("X")
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("way", UPLOADS, ids=str)
def test_a_client_that_leaves_within_its_upload(world, way, end):
    up = world.ups[way.name]
    up.script = once()
    up.drop()
    before, name = up.connections, f"leaves-{way.name}-{end}"
    client = world.connect()
    big(client, way, 4 << 20, 1 << 20, fields=[f"x-request-id: {name}"])
    poll(lambda: up.connections == before + 1 and len(up.peers[-1].received) > 500_000, what="half of it is upstream")
    client.reset() if end == "reset" else client.close()
    left = time.monotonic()
    up.peers[-1].wait_closed(PROMPT)
    assert up.peers[-1].ended_at - left < PROMPT
    record = world.here.record(name)
    assert record["status"] == 499 and "ok" not in outcomes(record)
    assert not up.peers[-1].requests, "it never was a whole request"
    world.lift(way)


@pytest.mark.fault("X")
@pytest.mark.parametrize("way", named("json-serverless-clear", "chat-openai-tls", "stream-openai-clear", "path-custom-clear"), ids=str)
def test_a_client_that_leaves_before_its_body_is_whole_causes_no_attempt(world, way):
    up = world.ups[way.name]
    connections = up.connections
    with world.connect() as client:
        path, body, kind = way.request()
        fields = [f"x-request-id: leaves-{way.name}"]
        client.post(path, body[:-2], kind or "application/json", fields, length=len(body))
    record = world.here.record(f"leaves-{way.name}")
    assert (record["status"], record["route"]) == (499, [])
    assert up.connections == connections
    world.lift(way)


# ---- clients behind an answer ----


@pytest.mark.fault("Y")
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("way", STREAMS + IMAGES, ids=str)
def test_a_client_that_leaves_within_the_answer(world, way, end):
    up = world.ups[way.name]
    usage = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
    up.script = once(framed(way, "chunked") + (chunk(usage) if way.door == "stream" else b""), Peer.stall)
    up.drop()
    client = world.connect()
    name = world.send(client, way)
    assert client.until(b"prompt_tokens" if way.door == "stream" else b"\r\n\r\n")
    client.reset() if end == "reset" else client.close()
    left = time.monotonic()
    up.peers[-1].wait_closed(PROMPT)
    assert up.peers[-1].ended_at - left < PROMPT
    record = world.here.record(name)
    assert record["status"] == 499 and record["bytes_out"] > 0
    assert outcomes(record) == ["client_gone"]
    if way.door == "stream":
        assert record["usage"] == {"input_tokens": 7, "output_tokens": 3}
    world.lift(way)


@pytest.mark.fault("Y")
@each_way
def test_a_client_that_leaves_while_it_waits(world, way):
    up = world.ups[way.name]
    up.script = once(then=Peer.stall)
    up.drop()
    before = len(up.requests)
    client = world.connect()
    name = world.send(client, way)
    poll(lambda: len(up.requests) == before + 1, what="the request is upstream")
    client.close()
    up.peers[-1].wait_closed(PROMPT)
    record = world.here.record(name)
    assert (record["status"], outcomes(record)) == (499, ["client_gone"])
    world.lift(way)


@pytest.mark.fault("V")
@some_ways
def test_a_client_that_closes_its_half_has_left(world, way):
    up = world.ups[way.name]
    up.script = once(then=Peer.stall)
    up.drop()
    before = len(up.requests)
    with world.connect() as client:
        name = world.send(client, way)
        poll(lambda: len(up.requests) == before + 1, what="the request is upstream")
        client.half_close()
        up.peers[-1].wait_closed(PROMPT)
        assert client.answer() is None
    assert world.here.record(name)["status"] == 499
    world.lift(way)


@pytest.mark.fault("V")
@pytest.mark.limit("half_close")
@some_ways
def test_a_client_that_may_close_its_half(start, tmp_path, way):
    world = World(start.keep, tmp_path, [way]).start(start, limits={"half_close": "keep"})
    up, gone = world.ups[way.name], threading.Event()

    def script(peer):
        peer.request()
        assert gone.wait(30)
        peer.send(way.good())

    up.script = script
    with world.connect() as client:
        name = world.send(client, way)
        poll(lambda: len(up.requests) == 1, what="the request is upstream")
        client.half_close()
        gone.set()
        answer = client.answer()
        assert way.is_good(answer), answer
        assert client.at_end() == "eof"
    assert world.here.record(name)["status"] == 200

    # One that is gone for good is noticed by a write all the same, and its upload is no half a close.
    with world.connect() as client:
        client.post("/v1/chat/completions", b"{", length=100, fields=["x-request-id: half"])
        client.half_close()
        assert client.answer() is None
    assert world.here.record("half")["status"] == 499
    world.lift(way)


# ---- a client that reads slowly ----


def queued(port):
    """What the kernel holds for connections with this port at either end: {(local port, remote port): (to be sent, to be read)}."""
    found = {}
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        _, local, remote, state, queues = line.split()[:5]
        ends = int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)
        if port in ends and state == "01":
            found[ends] = tuple(int(each, 16) for each in queues.split(":"))
    return found


def endless(way, peer):
    """An answer that never ends, as fast as it is taken."""
    peer.request()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + way.media_type.encode() + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    if way.door == "stream":
        one = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 900}}]}).encode() + b"\n\n"
    else:
        one = PNG + b"x" * 1000
    peer.send(head)
    while True:
        peer.send(chunk(one) * 16)


@pytest.mark.fault("Z")
@pytest.mark.parametrize("way", named("stream-openai-clear", "json-toolkit-clear-image"), ids=str)
def test_a_client_that_does_not_read_holds_up_its_upstream(world, way):
    up = world.ups[way.name]
    up.script = lambda peer: endless(way, peer)
    up.drop()
    with world.connect(buffers=4096) as client:
        name = world.send(client, way)
        assert client.until(b"\r\n\r\n")
        sent = []

        def blocked():
            sent.append(up.peers[-1].sent)
            return len(sent) > 25 and sent[-1] == sent[-25]  # for half a second

        poll(blocked, 60, "the upstream is held up")
        ours, theirs = client.socket.getsockname()[1], up.peers[-1].plain.getpeername()[1]
        client_side, up_side = queued(ours), queued(theirs)
        gateway_port = int(world.here.url.rpartition(":")[2])
        held = up.peers[-1].sent - sum(up_side[up.port, theirs]) - up_side[theirs, up.port][1]  # what the gateway has read
        out = client_side[gateway_port, ours][0] + client_side[ours, gateway_port][1] + len(client.held)
        growth = 4 / 3 if way.door == "json" else 1  # base64
        inside = held - out / growth
        print(f"held in the gateway: {inside:.0f} of {up.peers[-1].sent} bytes that were sent")
        assert inside <= 256 * 1024
    up.peers[-1].wait_closed(PROMPT)
    assert world.here.record(name)["status"] == 499
    world.lift(way)


@pytest.mark.fault("Z")
@pytest.mark.limit("write_timeout")
@pytest.mark.parametrize("way", named("stream-openai-clear", "json-toolkit-clear-image", "stream-serverless-tls"), ids=str)
def test_a_client_that_does_not_read_is_cut(start, tmp_path, way):
    world = World(start.keep, tmp_path, [way]).start(start, limits={"write_timeout": "300ms"})
    up = world.ups[way.name]
    up.script = lambda peer: endless(way, peer)
    with world.connect(buffers=4096) as client:
        name = world.send(client, way)
        assert client.until(b"\r\n\r\n")
        assert up.peers[-1].wait_closed(20) is not None
        record = world.here.record(name)
        assert record["status"] == 499 and record["bytes_out"] > 0
        while client.more():
            client.held = client.held[-64:]
        assert not client.held.endswith(LAST_CHUNK)
    world.lift(way)


@pytest.mark.fault("Z")
@pytest.mark.parametrize("way", named("json-toolkit-clear-image"), ids=str)
def test_a_client_that_reads_a_little_at_a_time_gets_all_of_it(start, tmp_path, way):
    """Slow is not stalled: only a client that takes nothing at all is cut."""
    world = World(start.keep, tmp_path, [way]).start(start, limits={"write_timeout": "1s"})
    up = world.ups[way.name]
    up.script = answering(http(PNG + b"x" * 3_000_000, "image/png"))
    with world.connect(buffers=8192) as client:
        world.send(client, way)
        began = time.monotonic()
        while client.more(40_000) and len(client.held) < 1_500_000:
            left = began + len(client.held) / 600_000 - time.monotonic()
            if left > 0:
                threading.Event().wait(left)  # the rate is the subject
        answer = client.answer()
    assert time.monotonic() - began > 2, "slower than the limit"
    assert answer.whole and json.loads(answer.body)["media_type"] == "image/png"
