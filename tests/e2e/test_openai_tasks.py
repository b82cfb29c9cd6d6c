"""OpenAI's doors beside the chats, with OpenAI's own client: completions, embeddings, images and speech, from servers that speak these words
and from servers that know only Hugging Face's.
"""

import base64
import hashlib
import io

import openai
import pytest
from engines import TEXT, HfInference, OpenAi, Pipelines, Providers, Tei, Templated, Tgi, mark_of, sound_of, vector_of
from make_gguf import SENTENCE
from PIL import Image
from processes import worker
from stubs import Reply, fingerprint, limited, streamed

TOKEN = "hf_canary_openai_tasks_0123456789"
TASKS = ("feature-extraction", "text-generation", "text-to-image", "text-to-speech")


@pytest.fixture(scope="module")
def stubs(start_once):
    made = {"serverless": HfInference(), "providers": Providers(), "openai": OpenAi(), "tei": Tei(), "tgi": Tgi()}
    made |= {f"toolkit-{task}": Pipelines(task) for task in TASKS} | {f"custom-{task}": Templated(task) for task in TASKS}
    for each in made.values():
        start_once.keep(each)
    return made


@pytest.fixture(scope="module")
def llama(start_once, parrot_file, tmp_path_factory):
    flags = ["--model", "llama", "--gguf", str(parrot_file), "--ctx", "2048", "--threads", "1", "--embeddings"]
    return start_once.keep(worker("llama_worker.py", *flags, log=tmp_path_factory.mktemp("llama") / "log"))


@pytest.fixture(scope="module")
def here(start_once, stubs, llama):
    """A model `task/engine` for each engine, `task/provider` at a provider of the router."""
    upstreams = {"llama": {"kind": "local", "engine": "openai", "url": llama.url + "/v1"}}
    for name, stub in stubs.items():
        engine = name.partition("-")[0]
        if engine in ("serverless", "providers"):
            upstreams[name] = {"kind": "serverless", "url": stub.url, "token": "t"}
        else:
            upstreams[name] = {"kind": "dedicated", "url": stub.url, "token": "t", "engine": engine}
        if engine == "custom":
            upstreams[name] |= {"request": {"what": "$inputs", "how": "$parameters"}, "answer": "/out"}
    models = {}
    for task in TASKS:
        for engine in ("serverless", "openai", "tei", "tgi", "llama"):
            models[f"{task}/{engine}"] = {"task": task, "route": [engine]}
        for engine in ("toolkit", "custom"):
            models[f"{task}/{engine}"] = {"task": task, "route": [f"{engine}-{task}"]}
        for provider in ("together", "deepinfra", "scaleway", "nebius"):
            models[f"{task}/{provider}"] = {"task": task, "route": [{"upstream": "providers", "provider": provider, "model": "theirs"}]}
    models["org/pictures"] = {"task": "image-classification", "route": ["openai"]}
    models["org/both"] = {"route": ["serverless", "openai"]}
    return start_once({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})


def sdk(here, base="/v1"):
    return openai.OpenAI(base_url=here.url + base, api_key="hf_unused", max_retries=0)


def vector_from(engine, text):
    """What this server makes of a text."""
    return vector_of(mark_of("feature-extraction", text)) if engine in ("serverless", "toolkit", "custom") else Tei.vector(text)


# ---- embeddings ----

EMBED = ("serverless", "toolkit", "custom", "tei", "openai", "together", "deepinfra", "scaleway", "nebius")


@pytest.mark.parametrize("base", ["/v1", "/models/feature-extraction/{}/v1"])
@pytest.mark.parametrize("engine", EMBED)
@pytest.mark.parametrize("form", ["base64", "float"])
def test_embeddings(here, stubs, engine, base, form):
    """The SDK asks for base64 and decodes it itself, unless it is told a form."""
    model = f"feature-extraction/{engine}"
    asked = {} if form == "base64" else {"encoding_format": "float"}
    made = sdk(here, base.format(engine)).embeddings.create(model=model, input=TEXT, **asked)
    assert (made.object, [each.index for each in made.data]) == ("list", [0])
    assert made.data[0].embedding == pytest.approx(vector_from(engine, TEXT), rel=1e-6)
    assert made.usage.total_tokens >= 0 and made.model
    raw = here.http.post(f"{base.format(engine)}/embeddings", json={"model": model, "input": TEXT, "encoding_format": form}).json()
    assert isinstance(raw["data"][0]["embedding"], str if form == "base64" else list), "as it was asked for"


@pytest.mark.parametrize("engine", ["tei", "openai", "together"])
def test_embeddings_of_several_texts(here, engine):
    made = sdk(here).embeddings.create(model=f"feature-extraction/{engine}", input=["a b", "c", "d"])
    by_index = {each.index: each.embedding for each in made.data}
    assert [by_index[i] for i in range(3)] == [pytest.approx(Tei.vector(text), rel=1e-6) for text in ("a b", "c", "d")]


def test_a_server_that_speaks_the_words_gets_them_as_they_came(here, stubs):
    body = b'{ "input" : ["x", "y"],\n "dimensions":4, "model":"feature-extraction/openai", "user":"me" }'
    before = len(stubs["openai"].seen)
    reply = here.http.post("/v1/embeddings", content=body)
    seen = stubs["openai"].seen[before]
    assert (seen.path, seen.body) == ("/v1/embeddings", body)
    assert reply.json()["model"] == "feature-extraction/openai"
    assert here.record(reply)["usage"]["input_tokens"] == 3
    assert (here.record(reply)["dialect"], here.record(reply)["task"]) == ("openai", "feature-extraction")
    # below a model's path the body may name none, or another
    for named in ({}, {"model": "tgi"}):
        here.http.post("/models/feature-extraction/openai/v1/embeddings", json={**named, "input": "x"})
        assert stubs["openai"].seen[-1].json == {"model": "feature-extraction/openai", "input": "x"}


def test_others_are_told_the_task_in_their_words(here, stubs):
    asked = {"model": "feature-extraction/serverless", "input": "x", "dimensions": 3, "encoding_format": "float", "user": "me"}
    here.http.post("/v1/embeddings", json=asked)
    seen = stubs["serverless"].seen[-1]
    assert seen.path == "/hf-inference/models/feature-extraction/serverless/pipeline/feature-extraction"
    assert seen.json == {"inputs": "x", "dimensions": 3}
    here.http.post("/v1/embeddings", json={**asked, "model": "feature-extraction/toolkit"})
    assert stubs["toolkit-feature-extraction"].seen[-1].json == {"inputs": "x", "parameters": {"dimensions": 3}}


def test_a_long_text_is_never_held(here, stubs):
    text = "naïve " * 200_000
    made = sdk(here).embeddings.create(model="feature-extraction/toolkit", input=text)
    assert made.data[0].embedding == pytest.approx(vector_from("toolkit", text), rel=1e-6)


def test_embeddings_of_llama_cpp(here):
    client = sdk(here)
    packed = client.embeddings.create(model="feature-extraction/llama", input=["hello", "count"])
    plain = client.embeddings.create(model="feature-extraction/llama", input=["hello", "count"], encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == 64 and one.embedding == pytest.approx(other.embedding, rel=1e-5, abs=1e-7)
    assert packed.data[0].embedding != packed.data[1].embedding


@pytest.mark.parametrize(
    "answer, texts, expected",
    [
        ([0.5, 1, -2e-3], "one", [[0.5, 1, -0.002]]),  # what sentence-transformers' pipelines answer to one text
        ([[0.5, 1]], "one", [[0.5, 1]]),
        ([[0.5, 1], [2, 3]], ["a", "b"], [[0.5, 1], [2, 3]]),
        ([[[0.5, 1]], [[2, 3]]], ["a", "b"], [[0.5, 1], [2, 3]]),
        ([[0.5, 1], [2, 3]], "one", None),  # a vector for each token
        ([[[0.5, 1], [2, 3]]], "one", None),
        ([[0.5, 1]], ["a", "b"], None),
    ],
)
def test_vectors_of_texts_and_of_tokens(here, stubs, answer, texts, expected):
    stubs["toolkit-feature-extraction"].when(Reply(answer), times=1)
    ask = {"model": "feature-extraction/toolkit", "input": texts}
    if expected is not None:
        assert [each.embedding for each in sdk(here).embeddings.create(**ask).data] == [pytest.approx(each) for each in expected]
        return
    with pytest.raises(openai.NotFoundError, match="a vector for each token.*/pipeline/feature-extraction"):
        sdk(here).embeddings.create(**ask)


# ---- completions ----


@pytest.mark.parametrize("base", ["/v1", "/models/text-generation/{}/v1"])
@pytest.mark.parametrize("engine", ["serverless", "toolkit", "custom", "openai", "together", "deepinfra", "llama"])
def test_completions(here, engine, base):
    client = sdk(here, base.format(engine))
    said = {"serverless": " " + fingerprint(TEXT), "llama": SENTENCE}
    expected = said.get(engine, fingerprint(TEXT) if engine in ("toolkit", "custom") else " " + fingerprint(TEXT))
    made = client.completions.create(model=f"text-generation/{engine}", prompt=TEXT, max_tokens=50)
    assert (made.object, made.choices[0].index, made.choices[0].finish_reason) == ("text_completion", 0, "stop")
    assert made.choices[0].text == expected
    with client.completions.create(model=f"text-generation/{engine}", prompt=TEXT, max_tokens=50, stream=True) as stream:
        chunks = list(stream)
    assert "".join(each.choices[0].text for each in chunks if each.choices).strip() == expected.strip()
    assert (len(chunks) > 5) == (engine not in ("toolkit", "custom")), "token by token where the server does so"
    assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == "stop"


def test_completions_of_tgi(here, stubs):
    """Asked and answered as it was recorded; the path named the model, the body another."""
    made = sdk(here).completions.create(model="text-generation/tgi", prompt="hello", max_tokens=3)
    assert (made.choices[0].text, made.choices[0].finish_reason, made.usage.completion_tokens) == (" Fourways says hi", "length", 3)
    assert stubs["tgi"].seen[-1].path == "/v1/completions"
    stream = sdk(here).completions.create(model="text-generation/tgi", prompt="hello", max_tokens=3, stream=True)
    assert [each.choices[0].text for each in stream] == [" Fourways", " says", " hi"]


def test_the_words_of_a_completion_become_parameters(here, stubs):
    asked = {"prompt": "x", "max_tokens": 9, "n": 2, "temperature": 0, "stop": ["\n"], "top_p": None, "user": "me"}
    here.http.post("/v1/completions", json={"model": "text-generation/toolkit", **asked})
    told = {"return_full_text": False, "max_new_tokens": 9, "num_return_sequences": 2, "do_sample": False, "stop": ["\n"]}
    assert stubs["toolkit-text-generation"].seen[-1].json == {"inputs": "x", "parameters": told}
    here.http.post("/v1/completions", json={"model": "text-generation/toolkit", "prompt": "x", "echo": True})
    assert stubs["toolkit-text-generation"].seen[-1].json["parameters"] == {"return_full_text": True}


def test_several_texts_become_choices(here, stubs):
    stubs["toolkit-text-generation"].when(Reply([[{"generated_text": "a"}, {"generated_text": "b"}], [{"generated_text": "c"}, {"generated_text": "d"}]]), times=1)
    made = sdk(here).completions.create(model="text-generation/toolkit", prompt=["x", "y"], n=2)
    assert [(each.index, each.text) for each in made.choices] == list(enumerate("abcd"))


def test_a_cut_completion_stream_is_no_whole_one(here, stubs):
    """TGI says "" for a reason that it does not have yet."""
    event = b'data: {"object":"text_completion","choices":[{"index":0,"text":" hi","logprobs":null,"finish_reason":""}]}\n\n'
    stubs["tgi"].when(streamed([event]), times=1)
    stream = sdk(here).completions.create(model="text-generation/tgi", prompt="cut", stream=True)
    with pytest.raises(openai.APIError, match="stopped before its end"):
        list(stream)


# ---- images and speech ----


def pixels(data):
    return Image.open(io.BytesIO(data)).tobytes()


@pytest.mark.parametrize("engine", ["serverless", "toolkit", "custom", "openai", "together", "nebius"])
def test_images(here, engine):
    made = sdk(here).images.generate(model=f"text-to-image/{engine}", prompt=TEXT, response_format="b64_json", n=1)
    assert pixels(base64.b64decode(made.data[0].b64_json)) == hashlib.sha256(TEXT.encode()).digest()
    assert made.created > 0


def test_an_image_as_a_url_is_one_in_itself(here, stubs):
    made = sdk(here).images.generate(model="text-to-image/toolkit", prompt=TEXT, response_format="url", size="512x256")
    kind, _, text = made.data[0].url.partition(";base64,")
    assert kind == "data:image/png" and pixels(base64.b64decode(text)) == hashlib.sha256(TEXT.encode()).digest()
    assert stubs["toolkit-text-to-image"].seen[-1].json == {"inputs": TEXT, "parameters": {"width": 512, "height": 256}}


@pytest.mark.parametrize("engine", ["serverless", "custom", "openai", "together", "deepinfra"])
def test_speech(here, engine):
    made = sdk(here).audio.speech.create(model=f"text-to-speech/{engine}", input=TEXT, voice="alloy")
    assert made.content == sound_of(TEXT)


def test_speech_of_pipelines_is_a_wave_file(here, stubs):
    reply = here.http.post("/v1/audio/speech", json={"model": "text-to-speech/toolkit", "input": TEXT, "voice": "alloy"})
    assert (reply.headers["content-type"], reply.content[:4]) == ("audio/wav", b"RIFF")
    assert stubs["toolkit-text-to-speech"].seen[-1].json == {"inputs": TEXT}


# ---- what goes wrong, in OpenAI's words ----


@pytest.mark.parametrize(
    "path, body, status, param, words",
    [
        ("embeddings", {"model": "feature-extraction/tei"}, 400, "input", "`input` is missing"),
        ("embeddings", {"model": "feature-extraction/tei", "input": 5}, 400, "input", "a text, or a list of texts, not a number"),
        ("embeddings", {"model": "feature-extraction/tei", "input": "x", "encoding_format": "int8"}, 400, "encoding_format", "float or base64"),
        ("embeddings", {"input": "x"}, 400, "model", "`model` is missing"),
        ("embeddings", {"model": "org/pictures", "input": "x"}, 400, None, "a model for image-classification, not for feature-extraction"),
        ("embeddings", {"model": "feature-extraction/tgi", "input": "x"}, 404, None, "engine tgi) answers chats and text-generation"),
        ("embeddings", {"model": "feature-extraction/toolkit", "input": [1, 2]}, 400, None, "takes text, not token numbers"),
        ("completions", {"model": "text-generation/tei", "prompt": "x"}, 404, None, "engine tei) answers feature-extraction"),
        ("completions", {"model": "text-generation/openai", "prompt": "x", "stream": "yes"}, 400, "stream", "true or false"),
        ("completions", {"model": "text-generation/openai", "messages": []}, 400, "prompt", "`prompt` is missing"),
        ("images/generations", {"model": "text-to-image/toolkit", "prompt": "x", "size": "big"}, 400, "size", "512x512"),
        ("images/generations", {"model": "text-to-image/toolkit", "prompt": ["x"]}, 400, "prompt", "a text, not an array"),
        ("audio/speech", {"model": "text-to-speech/scaleway", "input": "x", "voice": "a"}, 404, None, "has no route for the task text-to-speech"),
    ],
)
def test_refusals(here, stubs, path, body, status, param, words):
    before = [len(each.seen) for each in stubs.values()]
    reply = here.http.post(f"/v1/{path}", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], words in error["message"]) == (status, param, True), reply.text
    assert [len(each.seen) for each in stubs.values()] == before, "nobody is asked"


def test_a_body_that_is_no_json(here):
    for body in (b"", b"{", b"[]", b"\x89PNG"):
        reply = here.http.post("/v1/embeddings", content=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json"), reply.text


def test_an_answer_that_is_none(here, stubs):
    for answer in ({"a": 1}, [], ["x"], [["x"]]):
        stubs["toolkit-feature-extraction"].when(Reply(answer), times=1)
        with pytest.raises(openai.APIStatusError) as fault:
            sdk(here).embeddings.create(model="feature-extraction/toolkit", input="x")
        assert fault.value.status_code in (502, 404), answer


def test_the_next_way_speaks_another_language(here, stubs):
    """The router is limited and would have been asked in the task's words; the second one is asked in OpenAI's, of the same body."""
    stubs["serverless"].when(limited(retry_after=1), times=1)
    reply = here.http.post("/v1/embeddings", json={"model": "org/both", "input": "x"})
    assert reply.headers["x-fourways-route"] == "serverless(429) openai(200)"
    assert reply.json()["data"][0]["embedding"] == Tei.vector("x")
