"""Chats by the SDKs that applications use, against a real llama server whose words are known byte for byte."""

import asyncio
import json
import socket

import httpx
import huggingface_hub
import openai
import pytest
from gateway import metric, worker_command
from huggingface_hub import AsyncInferenceClient, InferenceClient
from make_gguf import SENTENCE
from processes import poll

HELLO = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}]
COUNT = [{"role": "user", "content": "count"}]
TOKENS = 20


@pytest.fixture(scope="module")
def here(start_once, parrot_file):
    flags = ["--gguf", parrot_file, "--ctx", 100_000, "--parallel", 1, "--threads", 1]
    llama = {"kind": "local", "engine": "openai", "command": worker_command("llama_worker.py", *flags)}
    models = {"org/parrot": {"task": "chat-completion", "aliases": ["parrot"], "route": ["llama"]}}
    return start_once({"upstreams": {"llama": llama}, "models": models})


def openai_sdk(here, **more):
    return openai.OpenAI(base_url=here.url + "/v1", api_key="unused", max_retries=0, **more)


def in_flight(here):
    return here.workers()[0]["in_flight"]


@pytest.mark.parametrize("model", ["org/parrot", "parrot"])
def test_openai_plain(here, model):
    reply = openai_sdk(here).chat.completions.with_raw_response.create(model=model, messages=HELLO)
    answer = reply.parse()
    assert answer.choices[0].message.content == SENTENCE
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == TOKENS
    record = here.record(reply.headers["x-request-id"])
    assert record["usage"] == {"input_tokens": answer.usage.prompt_tokens, "output_tokens": TOKENS}
    assert (record["dialect"], record["task"], record["status"]) == ("openai", "chat-completion", 200)


def test_openai_streamed(here):
    options = {"include_usage": True}
    with openai_sdk(here).chat.completions.with_streaming_response.create(
        model="parrot", messages=HELLO, stream=True, stream_options=options
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        chunks = list(reply.parse())
    words = [each.choices[0].delta.content or "" for each in chunks if each.choices]
    assert "".join(words) == SENTENCE
    assert len([word for word in words if word]) > 10, "it comes in pieces"
    assert chunks[-1].usage.completion_tokens == TOKENS
    record = here.record(reply.headers["x-request-id"])
    assert record["usage"]["output_tokens"] == TOKENS
    assert record["route"][0]["outcome"] == "ok"


def test_a_stream_ends_as_every_sdk_wants_it(here):
    body = {"model": "parrot", "messages": HELLO, "stream": True}
    reply = here.http.post("/v1/chat/completions", json=body)
    frames = reply.content.decode().removesuffix("\n\n").split("\n\n")
    assert frames[-1] == "data: [DONE]"
    events = [frame for frame in frames if not frame.startswith(":")]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in events)
    assert all("error" not in json.loads(frame[6:]) for frame in events[:-1])


@pytest.mark.parametrize("base", ["/models/org/parrot", "/v1", "/hf-inference/models/parrot", "/models/parrot/v1/chat/completions"])
def test_huggingface_hub(here, base):
    client = InferenceClient(base_url=here.url + base, token="hf_unused")
    model = {"model": "parrot"} if base == "/v1" else {}
    answer = client.chat_completion(HELLO, **model)
    assert answer.choices[0].message.content == SENTENCE
    stream = client.chat_completion(HELLO, stream=True, **model)
    assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == SENTENCE


async def chats_of(url):
    async with AsyncInferenceClient(base_url=url, token="hf_unused") as client:
        stream = await client.chat_completion(HELLO, stream=True)
        return [each.choices[0].delta.content or "" async for each in stream if each.choices]


def test_huggingface_hub_async(here):
    assert "".join(asyncio.run(chats_of(here.url + "/models/parrot"))) == SENTENCE


def test_requests_right_behind_a_stream(here):
    """llama.cpp closes a connection behind each streamed answer, 0.2 ms later and without a word: nobody may run into that."""
    bodies = [{"model": "parrot", "messages": HELLO, "stream": n % 2 == 0} for n in range(12)]
    texts = [json.dumps(body).encode() for body in bodies]
    fields = "Host: localhost\r\nContent-Type: application/json"
    with socket.create_connection(("127.0.0.1", httpx.URL(here.url).port), 60) as peer:
        for n, text in enumerate(texts):  # pipelined: each is begun as soon as the one before it ends
            last = "\r\nConnection: close" if n == len(texts) - 1 else ""
            peer.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{fields}\r\nContent-Length: {len(text)}{last}\r\n\r\n".encode() + text)
        replies = b""
        while block := peer.recv(65536):
            replies += block
    assert replies.count(b"HTTP/1.1 200 OK\r\n") == len(bodies), replies.decode()[-2000:]


def test_tokens_are_bounded_as_asked(here):
    answer = openai_sdk(here).chat.completions.create(model="parrot", messages=COUNT, max_tokens=13)
    assert answer.choices[0].message.content == "1234567890123"
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("door", ["openai", "huggingface"])
def test_a_client_that_leaves_mid_stream_frees_the_worker(here, door):
    path = {"openai": "/v1/chat/completions", "huggingface": "/models/parrot/v1/chat/completions"}[door]
    body = {"model": "parrot", "messages": COUNT, "stream": True}
    with here.http.stream("POST", path, json=body) as reply:
        lines = reply.iter_lines()
        next(line for line in lines if '"1"' in line)
        assert in_flight(here) == 1
    poll(lambda: in_flight(here) == 0, what="the worker's request ended")
    record = here.record(reply)
    assert record["status"] in (200, 499) and record["route"][0]["upstream"] == "llama"
    # The only slot is free: the next one gets it, long before 100,000 tokens are counted.
    assert openai_sdk(here, timeout=30).chat.completions.create(model="parrot", messages=HELLO).choices[0].message.content == SENTENCE
    said = httpx.get(f"http://127.0.0.1:{here.workers()[0]['port']}/metrics").text
    assert metric(said, "llamacpp:tokens_predicted_total") < 50_000, "it went on counting for nobody"


def test_a_client_that_leaves_while_it_waits_frees_the_worker(here):
    body = {"model": "parrot", "messages": COUNT, "max_tokens": 90_000}
    with pytest.raises(httpx.ReadTimeout):
        here.http.post("/v1/chat/completions", json=body, timeout=httpx.Timeout(60, read=0.3), headers={"x-request-id": "impatient"})
    poll(lambda: in_flight(here) == 0, what="the worker's request ended")
    assert here.record("impatient")["status"] == 499
    assert openai_sdk(here, timeout=30).chat.completions.create(model="parrot", messages=HELLO).choices[0].message.content == SENTENCE


def test_an_over_long_prompt_is_told_in_the_engines_words(here):
    messages = [{"role": "user", "content": "x" * 120_000}]
    with pytest.raises(openai.BadRequestError, match="context") as fault:
        openai_sdk(here).chat.completions.create(model="parrot", messages=messages, stream=True)
    assert fault.value.code == "rejected"
    client = InferenceClient(base_url=here.url + "/models/parrot", token="hf_unused")
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="context"):
        client.chat_completion(messages)
