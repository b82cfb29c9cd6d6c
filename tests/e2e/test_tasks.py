"""The table tasks x engines of adapters/TASKS.md: each cell is a request that was answered, the answer in the task's form and made of the SHA-256 of
the input, or one that was refused before anybody was asked. The table in the file is the one that these tests make.
"""

import base64
import contextlib
import hashlib
import io
import json
import random

import pytest
from engines import PIPELINES, RANKING, TEXT, HfInference, OpenAi, Pipelines, Tei, Templated, Tgi, canonical_of, mark_of, sound_of
from huggingface_hub import InferenceClient
from make_gguf import SENTENCE
from PIL import Image
from processes import TOP, worker
from stubs import Chat, Custom, Reply, Router, Toolkit, chat_text, fingerprint, limited

TOKEN = "hf_canary_tasks_0123456789"
PICTURE = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(5000)
SOUND = b"RIFF\x24\0\0\0WAVEfmt " + random.Random(2).randbytes(3000)
HELLO = [{"role": "user", "content": "hello"}]
TASKS = sorted([*PIPELINES, "chat-completion"])
ENGINES = ("serverless", "toolkit", "custom", "tgi", "tei", "openai")
# What answers; everything else is refused.
CELLS = {(task, engine): stub for task in PIPELINES for engine, stub in (("serverless", "HfInference"), ("toolkit", "Pipelines"), ("custom", "Templated"))}
del CELLS["text-ranking", "serverless"]  # hf-inference has no client for it, so nobody knows its form there
CELLS |= {("chat-completion", engine): stub for engine, stub in (("serverless", "HfInference"), ("tgi", "Tgi"), ("openai", "llama.cpp"))}
CELLS |= {("text-generation", "tgi"): "Tgi", ("text-generation", "openai"): "llama.cpp"}
CELLS |= {(task, "openai"): "OpenAi" for task in ("feature-extraction", "text-ranking", "text-to-image", "text-to-speech", "automatic-speech-recognition")}
CELLS |= {(task, "tei"): "Tei" for task in ("feature-extraction", "sentence-similarity", "text-classification", "text-ranking")}


@pytest.fixture(scope="module")
def here(start_once, parrot_file, tmp_path_factory):
    """A model `task/engine` for each cell, and the stub of each upstream by its name."""
    stubs = {"serverless": HfInference(), "tgi": Tgi(), "tei": Tei(), "openai": OpenAi()}
    stubs |= {f"toolkit-{task}": Pipelines(task) for task in PIPELINES} | {f"custom-{task}": Templated(task) for task in PIPELINES}
    for each in stubs.values():
        start_once.keep(each)
    log = tmp_path_factory.mktemp("llama") / "log"
    llama = start_once.keep(worker("llama_worker.py", "--model", "llama", "--gguf", str(parrot_file), "--ctx", "2048", "--threads", "1", log=log))

    def upstream(name):
        engine = name.partition("-")[0]
        made = {"kind": "dedicated", "url": stubs[name].url, "token": "t", "engine": engine}
        if engine == "custom":
            made |= {"request": {"what": "$inputs", "how": "$parameters"}, "answer": "/out"}
            if name.endswith(("document-question-answering", "visual-question-answering")):
                made |= {"request": {"what": {"image": "$base64", "question": "who?"}}}
        return {"kind": "serverless", "url": stubs[name].url, "token": "t"} if engine == "serverless" else made

    upstreams = {name: upstream(name) for name in stubs} | {"llama": {"kind": "local", "engine": "openai", "url": llama.url}}
    models = {}
    for task in TASKS:
        for engine in ENGINES:
            name = f"{engine}-{task if task in PIPELINES else 'fill-mask'}" if engine in ("toolkit", "custom") else engine
            models[f"{task}/{engine}"] = {"task": task, "route": ["llama" if CELLS.get((task, engine)) == "llama.cpp" else name]}
    made = start_once({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})
    made.stubs = stubs
    return made


def ask(here, task, engine):
    """The request of a cell, as a client says it."""
    model = f"{task}/{engine}"
    if task == "chat-completion":
        return here.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO})
    kind = PIPELINES[task][0]
    given = {"candidate_labels": ["a", "b"]} if task.startswith("zero-shot") else {}
    if kind == "sound":
        return here.http.post("/v1/inference", params={"model": model}, content=SOUND, headers={"content-type": "audio/wav"})
    inputs = kind
    if kind is None:
        if not given:
            return here.http.post("/v1/inference", params={"model": model}, content=PICTURE)
        inputs = {"base64": base64.b64encode(PICTURE).decode(), "media_type": "image/png"}
    elif kind == "asked":
        inputs = {"image": base64.b64encode(PICTURE).decode(), "question": "who?"}
    return here.http.post("/v1/inference", json={"model": model, "inputs": inputs, "parameters": given})


def payload_of(task):
    kind = PIPELINES[task][0]
    if kind == "asked":
        return {"image": base64.b64encode(PICTURE).decode(), "question": "who?"}
    return PICTURE if kind is None else SOUND if kind == "sound" else kind


def expected(task, engine):
    """The answer in the task's form."""
    if task == "chat-completion":
        return None
    if engine == "tei":
        return {
            "feature-extraction": lambda: [Tei.vector(TEXT)],
            "sentence-similarity": lambda: [Tei.score("one", "two"), Tei.score("one", "three")],
            "text-classification": lambda: [{"score": 0.75, "label": fingerprint(TEXT)}, {"score": 0.25, "label": "other"}],
            "text-ranking": lambda: sorted(
                [{"index": i, "score": Tei.score("drinks", text)} for i, text in enumerate(RANKING["texts"])], key=lambda each: -each["score"]
            ),
        }[task]()
    if engine == "openai":
        vectors, text = [Tei.vector(TEXT)], {"text": fingerprint(SOUND)}
        ranks = [{"index": i, "text": each, "score": Tei.score("drinks", each)} for i, each in enumerate(RANKING["texts"])]
        ranks.sort(key=lambda each: -each["score"])
        return {"feature-extraction": vectors, "automatic-speech-recognition": text, "text-ranking": ranks}[task]
    if task == "text-generation" and engine == "tgi":
        return [{"generated_text": TEXT + "".join(Tgi.words(TEXT))}]
    return canonical_of(task, mark_of(task, payload_of(task)))


def check_answer(task, engine, reply):
    assert reply.status_code == 200, reply.text
    if task == "chat-completion":
        said = reply.json()["choices"][0]["message"]["content"]
        expected_words = {"openai": SENTENCE, "serverless": chat_text(HELLO)}.get(engine) or " Fourways says hi — naïve café 🙂 done."
        assert said == expected_words
    elif task == "text-to-image":
        assert reply.headers["content-type"] in ("image/png", "image/jpeg")
        assert Image.open(io.BytesIO(reply.content)).tobytes() == hashlib.sha256(TEXT.encode()).digest()
    elif task == "text-to-speech":
        assert reply.headers["content-type"].startswith("audio/")
        if engine == "toolkit":
            samples = [int.from_bytes(reply.content[at : at + 2], "little", signed=True) for at in range(44, len(reply.content), 2)]
            assert samples == [round((byte / 128 - 1) * 32767) for byte in hashlib.sha256(TEXT.encode()).digest()]
        else:
            assert reply.content == sound_of(TEXT)
    elif task == "text-generation" and engine == "openai":
        assert reply.json()[0]["generated_text"] == SENTENCE
    else:
        assert reply.json() == expected(task, engine)


@pytest.mark.parametrize("task, engine", [(t, e) for t in TASKS for e in ENGINES])
def test_each_cell(here, task, engine):
    before = sum(len(each.seen) for each in here.stubs.values())
    reply = ask(here, task, engine)
    if (task, engine) in CELLS:
        check_answer(task, engine, reply)
    else:
        assert reply.status_code == 404 and reply.json()["error"]["code"] == "unsupported", reply.text
        assert sum(len(each.seen) for each in here.stubs.values()) == before, "nobody is asked"


def table():
    lines = ["| task | " + " | ".join(ENGINES) + " |", "|---|" + "---|" * len(ENGINES)]
    for task in TASKS:
        cells = [CELLS.get((task, engine), "") for engine in ENGINES]
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_table_in_the_file_is_this_one():
    text = (TOP / "adapters" / "TASKS.md").read_text()
    assert table() in text, "adapters/TASKS.md differs from what is tested:\n" + table()


# ---- Hugging Face's own client: the same answers from every kind of server ----


@pytest.mark.parametrize("engine", ["serverless", "toolkit", "custom"])
def test_huggingface_hub_reads_every_family(here, engine):
    def client(task):
        return InferenceClient(model=f"{here.url}/models/{task}/{engine}", token="hf_unused")

    def mark(task):
        return mark_of(task, payload_of(task))

    assert [each.label for each in client("text-classification").text_classification(TEXT)] == [mark("text-classification")]
    zero = client("zero-shot-classification").zero_shot_classification(TEXT, candidate_labels=["a", "b"])
    assert [(each.label, each.score) for each in zero] == [(mark("zero-shot-classification"), 0.75), ("b", 0.25)]
    assert client("sentence-similarity").sentence_similarity("one", other_sentences=["two", "three"]) == expected("sentence-similarity", engine)
    assert client("feature-extraction").feature_extraction(TEXT, normalize=True).tolist() == expected("feature-extraction", engine)
    table = client("table-question-answering").table_question_answering(table={"a": ["1", "2"]}, query="how many?")
    assert table.aggregator == "SUM"
    assert client("token-classification").token_classification(TEXT)[0].entity_group == mark("token-classification")
    assert client("image-to-text").image_to_text(PICTURE).generated_text == mark("image-to-text")
    assert client("image-segmentation").image_segmentation(PICTURE, threshold=0.5)[0].label == mark("image-segmentation")
    assert client("automatic-speech-recognition").automatic_speech_recognition(SOUND).text == mark("automatic-speech-recognition")
    assert client("zero-shot-image-classification").zero_shot_image_classification(PICTURE, candidate_labels=["a", "b"])[0].score == 0.5
    assert client("text-to-speech").text_to_speech(TEXT)[:4] == b"RIFF"
    assert client("text-to-image").text_to_image(TEXT).tobytes() == hashlib.sha256(TEXT.encode()).digest()
    assert client("summarization").summarization(TEXT).summary_text == mark("summarization")


# ---- one picture, six ways ----


def test_one_picture_to_three_kinds_of_server_in_two_forms(start):
    """By raw bytes and as base64 JSON: six answers of the same SHA-256."""
    stubs = {"serverless": Router({"*": "image-classification"}), "toolkit": Toolkit(), "custom": Custom()}
    with contextlib.ExitStack() as stack:
        for each in stubs.values():
            stack.enter_context(each)
        upstreams = {
            "serverless": {"kind": "serverless", "url": stubs["serverless"].url, "token": "t"},
            "toolkit": {"kind": "dedicated", "url": stubs["toolkit"].url},
            "custom": {"kind": "dedicated", "engine": "custom", "url": stubs["custom"].url, "request": {"image": "$base64"}, "answer": "/predictions"},
        }
        models = {f"org/{name}": {"task": "image-classification", "route": [name]} for name in stubs}
        here = start({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})
        answers = []
        for name in stubs:
            answers.append(here.http.post(f"/models/org/{name}", content=PICTURE).json())
            answers.append(here.http.post(f"/models/org/{name}", json={"inputs": base64.b64encode(PICTURE).decode(), "parameters": {}}).json())
        assert answers == [[{"label": fingerprint(PICTURE), "score": 0.5}]] * 6


# ---- the router refuses, an endpoint sleeps, a second one answers ----


def asleep(seen):
    return Reply(b"", 503, content_type="text/plain")


@pytest.mark.parametrize("form", ["json", "binary", "stream"])
def test_router_limited_then_an_endpoint_asleep_then_a_second_one(start, form):
    router, first, second = start.keep(Router({"*": "image-classification"})), start.keep(Toolkit()), start.keep(Toolkit())
    llm, llm2 = start.keep(Chat()), start.keep(Chat())
    for each in (first, llm):
        each.when(asleep)
    router.when(limited(retry_after=60))
    own = {"kind": "dedicated", "engine": "toolkit"}
    upstreams = {
        "router": {"kind": "serverless", "url": router.url, "token": "t"},
        "asleep": {**own, "url": first.url},
        "awake": {**own, "url": second.url},
        "llm-asleep": {**own, "engine": "openai", "url": llm.url},
        "llm-awake": {**own, "engine": "openai", "url": llm2.url},
    }
    models = {
        "org/vit": {"task": "image-classification", "route": ["router", "asleep", "awake"]},
        "org/chat": {"task": "chat-completion", "route": ["router", "llm-asleep", "llm-awake"]},
    }
    here = start({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})
    if form == "stream":
        reply = here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO, "stream": True})
        frames = [json.loads(frame[6:]) for frame in reply.text.split("\n\n") if frame.startswith("data: {")]
        said = "".join(choice["delta"].get("content") or "" for frame in frames for choice in frame["choices"])
        assert said == chat_text(HELLO)
        assert reply.headers["x-fourways-route"] == "router(429) llm-asleep(503) llm-awake(200)"
        return
    body = {"content": PICTURE} if form == "binary" else {"json": {"inputs": base64.b64encode(PICTURE).decode()}}
    reply = here.http.post("/models/org/vit", **body)
    assert reply.json() == [{"label": fingerprint(PICTURE), "score": 0.5}]
    assert reply.headers["x-fourways-route"] == "router(429) asleep(503) awake(200)"
    assert [each["outcome"] for each in here.record(reply)["route"]] == ["rate_limited", "warming", "ok"]
