"""An upstream that ends within its answer, at the doors beside the chats: whatever is made of the answer on the way, the client never takes
a part of it for the whole.
"""

import json
import socket

import pytest
from engines import HfInference, OpenAi, Pipelines, Tei, Templated, Tgi
from raw_client import RawClient
from raw_upstream import RawUpstream

TOKEN = "hf_canary_of_the_cuts_0123456789"
TASKS = ("feature-extraction", "text-generation", "text-to-image", "text-to-speech")
ASKED = {
    "embeddings": ("feature-extraction", "/v1/embeddings", {"input": "x"}),
    "native vector": ("feature-extraction", "/v1/inference", {"inputs": "x"}),
    "completions": ("text-generation", "/v1/completions", {"prompt": "x"}),
    "completions, streamed": ("text-generation", "/v1/completions", {"prompt": "x", "stream": True}),
    "native text": ("text-generation", "/v1/inference", {"inputs": "x"}),
    "path, streamed": ("text-generation", "/models/{model}", {"inputs": "x", "stream": True}),
    "images": ("text-to-image", "/v1/images/generations", {"prompt": "x", "response_format": "b64_json"}),
    "native image": ("text-to-image", "/v1/inference", {"inputs": "x"}),
    "path image": ("text-to-image", "/models/{model}", {"inputs": "x"}),
    "speech": ("text-to-speech", "/v1/audio/speech", {"input": "x", "voice": "a"}),
    "native sound": ("text-to-speech", "/v1/inference", {"inputs": "x"}),
}
SPEAKS = {
    "openai": ("embeddings", "completions", "completions, streamed", "images", "speech"),
    "tei": ("embeddings", "native vector"),
    "tgi": ("native text", "path, streamed"),
    "toolkit": tuple(each for each in ASKED if each != "path, streamed"),
    "custom": tuple(ASKED),
}


class Relay(RawUpstream):
    """Passes a request to `engine`, and its answer on: all of it, or its first `upto` bytes."""

    def __init__(self, engine, start_once):
        super().__init__(self.relay)
        self.engine, self.upto, self.whole = start_once.keep(engine), None, b""
        start_once.keep(self)

    def relay(self, peer):
        while not peer.closed:
            asked, upto = peer.request(), self.upto
            with socket.create_connection(("127.0.0.1", self.engine.port)) as to:
                to.sendall(asked.head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"\r\n" + asked.body)
                self.whole = b"".join(iter(lambda: to.recv(65536), b""))
            peer.send(self.whole[:upto])
            if upto is not None:
                peer.fin()


@pytest.fixture(scope="module")
def relays(start_once):
    engines = {"openai": OpenAi(), "tei": Tei(), "tgi": Tgi()}
    engines |= {f"toolkit-{task}": Pipelines(task) for task in TASKS} | {f"custom-{task}": Templated(task) for task in TASKS}
    return {name: Relay(engine, start_once) for name, engine in engines.items()}


@pytest.fixture(scope="module")
def here(start_once, relays):
    upstreams, models = {}, {}
    for name, relay in relays.items():
        engine, _, only = name.partition("-")
        upstreams[name] = {"kind": "dedicated", "engine": engine, "url": relay.url, "token": "t"}
        if engine == "custom":
            upstreams[name] |= {"request": {"what": "$inputs", "how": "$parameters"}, "answer": "/out"}
        models |= {f"{engine}-{task}/*": {"task": task, "route": [name]} for task in TASKS if only in ("", task)}
    return start_once({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})


def ask(here, engine, door, as_json, number):
    task, path, body = ASKED[door]
    model = f"{engine}-{task}/n{number:03}"
    body = body if "{model}" in path else {**body, "model": model}
    with RawClient(here.url) as client:
        client.post(path.format(model=model), json.dumps(body).encode(), fields=["accept: application/json"] if as_json else [])
        return client.answer()


def ways():
    for engine, doors in SPEAKS.items():
        for door in doors:
            binary = ASKED[door][0] in ("text-to-image", "text-to-speech")
            yield from ((engine, door, as_json) for as_json in ((False, True) if binary else (False,)))


@pytest.mark.fault("E")
@pytest.mark.parametrize(("engine", "door", "as_json"), list(ways()))
def test_a_part_is_never_taken_for_the_whole(here, relays, engine, door, as_json):
    relay = relays.get(engine) or relays[f"{engine}-{ASKED[door][0]}"]
    relay.upto = None
    good = ask(here, engine, door, as_json, 0)
    assert good.status == 200 and good.whole, good
    size, head = len(relay.whole), relay.whole.index(b"\r\n\r\n") + 4
    body = size - head
    places = {head, head + 1, head + body // 3, head + body // 2, head + 2 * body // 3, *range(size - 7, size)}
    for number, place in enumerate(sorted(each for each in places if head <= each < size), 1):
        relay.upto = place
        answer = ask(here, engine, door, as_json, number)
        assert answer is not None and TOKEN.encode() not in answer.raw
        if answer.status == 200:
            assert not answer.whole, f"cut at {place} of {size}: {answer.raw}"
            if answer.fields["content-type"].startswith("text/event-stream"):
                assert b"broken_stream" in answer.body
        else:
            assert answer.status == 502 and answer.whole, answer
        relay.upto = None
        again = ask(here, engine, door, as_json, number)
        assert (again.status, again.whole, len(again.body)) == (200, True, len(good.body)), "the fault is over"
