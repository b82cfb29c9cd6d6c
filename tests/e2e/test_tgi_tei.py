"""TGI and TEI as they were recorded: each request of a transcript that a client can make arrives as it was, and its answer comes back in the
task's form, or as the error that it means.
"""

import contextlib
import json

import httpx
import pytest
from engines import Tei, Tgi, recorded
from stubs import fingerprint

TGI = [each for each in recorded("tgi-3.3.6") if each.path in ("/", "/generate", "/generate_stream", "/v1/chat/completions", "/v1/completions")]
TEI = [each for each in recorded("tei-1.9.3") if each.path in ("/", "/embed", "/similarity", "/predict", "/rerank", "/v1/embeddings")]
TASKS = {"embed": "feature-extraction", "similarity": "sentence-similarity", "predict": "text-classification", "rerank": "text-ranking"}


@pytest.fixture(scope="module")
def stubs(start_once):
    return {"tgi": start_once.keep(Tgi()), "tei": start_once.keep(Tei())}


def policy(stubs):
    tgi = {"kind": "dedicated", "engine": "tgi", "url": stubs["tgi"].url}
    tei = {"kind": "dedicated", "engine": "tei", "url": stubs["tei"].url}
    upstreams = {"tgi": tgi, "generate": {**tgi, "path": "/generate"}, "chat": {**tgi, "url": stubs["tgi"].url + "/v1"}, "tei": tei}
    wait = {"fallback": {"max_wait": "50ms"}}
    models = {
        "tgi/*": {"task": "text-generation", "route": ["tgi"], **wait},
        "generate/*": {"task": "text-generation", "route": ["generate"], **wait},
        "chat/*": {"task": "chat-completion", "route": ["chat"], **wait},
        **{f"{name}/*": {"task": task, "route": ["tei"], **wait} for name, task in TASKS.items()},
        "tei/wrong": {"task": "image-classification", "route": ["tei"]},
        "tei/untold": {"route": ["tei"]},
        "tgi/wrong": {"task": "fill-mask", "route": ["tgi"]},
    }
    return {"upstreams": upstreams, "models": models}


@pytest.fixture(scope="module")
def here(start_once, stubs):
    return start_once(policy(stubs))


@pytest.fixture
def fresh(start, stubs):
    """A gateway of its own for every recorded request: what was learned of one is no matter to another."""
    return start(policy(stubs))


counted = iter(range(10**6))


def ask(here, model, path="", /, **body):
    """The answer; of one that was cut, what came of it."""
    with here.http.stream("POST", f"/models/{model}/n{next(counted)}{path}", json=body) as reply:
        came = []
        with contextlib.suppress(httpx.RemoteProtocolError):
            came.extend(reply.iter_raw())
        head = {name: value for name, value in reply.headers.items() if name != "transfer-encoding"}
        return httpx.Response(reply.status_code, headers=head, content=b"".join(came))


def words_of(exchange):
    """What it complains of, wherever that stands."""
    data = exchange.events[0].partition(b"data: ")[2] if exchange.chunked else exchange.body
    try:
        said = json.loads(data)
    except ValueError:
        return data.decode()
    said = said.get("error", said)
    return said if isinstance(said, str) else said["message"]


def means(exchange):
    """The status a client gets; None: content comes."""
    if exchange.status == 200 and not (exchange.chunked and b'"error"' in exchange.events[0]):
        return None
    words = words_of(exchange)
    if "overloaded" in words:
        return 429
    if "Model is not" in words or "model is not" in words:
        return 404
    if exchange.status in (424, 500) or "Incomplete" in words or "during generation" in words:
        return 502
    return 413 if "batch size" in words else exchange.status if exchange.status != 200 else 422


def check(reply, exchange, canonical):
    status = means(exchange)
    if status is not None:
        assert reply.status_code == status, reply.text
        error = reply.json()["error"]
        error = error if isinstance(error, str) else error["message"]
        if status != 429:
            assert words_of(exchange)[:200] in error
        return
    assert reply.status_code == 200, reply.text
    if not exchange.chunked:
        assert reply.content == canonical(exchange.body)
        return
    good = [each for each in exchange.events if b'"error"' not in each]
    if len(good) == len(exchange.events):
        assert reply.content == exchange.body
        return
    good = good[: exchange.events.index(next(each for each in exchange.events if b'"error"' in each))]
    assert reply.content.startswith(b"".join(good))
    frames = reply.content[len(b"".join(good)) :].split(b"\n\n")
    assert words_of_event(exchange) in json.loads(frames[0].partition(b"data: ")[2])["error"]["message"]


def words_of_event(exchange):
    bad = json.loads(next(each for each in exchange.events if b'"error"' in each).partition(b"data: ")[2])["error"]
    return bad if isinstance(bad, str) else bad["message"]


@pytest.mark.parametrize("exchange", TGI, ids=lambda each: each.id)
def test_tgi(fresh, stubs, exchange):
    asked, model, path = dict(exchange.asked), "tgi", ""
    if exchange.path.startswith("/generate"):
        model = "generate"
        asked |= {"stream": True} if exchange.path == "/generate_stream" else {}
    elif exchange.path != "/":
        model, path = "chat", exchange.path
    before = len(stubs["tgi"].seen)
    if "messages" in asked and not isinstance(asked["messages"], list):
        return  # the gateway's own refusal
    if "inputs" not in asked and model != "chat":
        return
    if exchange.path == "/v1/completions":
        model = "tgi"
    reply = ask(fresh, model, path, **asked)
    seen = stubs["tgi"].seen[before]
    assert (seen.method, seen.path) == ("POST", exchange.path)
    assert {name: value for name, value in seen.json.items() if name != "model"} == {k: v for k, v in asked.items() if k != "model"}
    check(reply, exchange, lambda body: b"[" + body + b"]" if exchange.path == "/generate" else body)


@pytest.mark.parametrize("exchange", TEI, ids=lambda each: each.id)
def test_tei(fresh, stubs, exchange):
    asked = dict(exchange.asked)
    if "inputs" not in asked and exchange.path == "/embed":
        return  # the gateway's own refusal
    model, path = exchange.path.strip("/") or "embed", ""
    if exchange.path == "/v1/embeddings":
        model, path = "embed", exchange.path
    if exchange.path == "/rerank":
        asked = {"inputs": {"query": asked["query"], "texts": asked["texts"]}}
    before = len(stubs["tei"].seen)
    reply = ask(fresh, model, path, **asked)
    seen = stubs["tei"].seen[before]
    sent = {name: value for name, value in seen.json.items() if name != "model" or model != "embed"}
    assert (seen.path, sent) == (exchange.path if exchange.path != "/" else "/embed", {k: v for k, v in exchange.asked.items() if k != "model"})
    check(reply, exchange, lambda body: body)


# ---- what was not recorded: the answer comes from the input's SHA-256 ----


def test_tgi_generates(here):
    text = "Once upon a time, naïve 🙂"
    words = "".join(Tgi.words(text))
    assert ask(here, "tgi", inputs=text).json() == [{"generated_text": text + words}]
    assert ask(here, "generate", inputs=text, parameters={"max_new_tokens": 8}).json() == [{"generated_text": words}]
    native = here.http.post("/v1/inference", json={"model": "tgi/native", "inputs": text, "parameters": {"seed": 1}})
    assert native.json() == [{"generated_text": text + words}]
    for model in ("tgi", "generate"):
        reply = ask(here, model, inputs=text, stream=True)
        tokens = [json.loads(frame[5:]) for frame in reply.text.split("\n\n") if frame.startswith("data:")]
        assert "".join(each["token"]["text"] for each in tokens) == words
        assert tokens[-1]["generated_text"].endswith(words)


def test_tgi_is_told_a_schema_in_its_own_words(here, stubs):
    schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    told = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    for said in (told, {"type": "json_object", "value": schema}):
        ask(here, "chat", "/v1/chat/completions", messages=[{"role": "user", "content": "y"}], response_format=said)
        assert stubs["tgi"].seen[-1].json["response_format"] == {"type": "json_object", "value": schema}


def test_tei_embeds(here, stubs):
    assert ask(here, "embed", inputs="hey").json() == [Tei.vector("hey")]
    # parameters stand at the root there, wherever the client put them
    for body in ({"inputs": ["a b", "c"], "dimensions": 2, "normalize": True}, {"inputs": ["a b", "c"], "parameters": {"dimensions": 2, "normalize": True}}):
        assert ask(here, "embed", **body).json() == [Tei.vector("a b")[:2], Tei.vector("c")[:2]]
        assert stubs["tei"].seen[-1].json == {"inputs": ["a b", "c"], "dimensions": 2, "normalize": True}
    native = here.http.post("/v1/inference", json={"model": "embed/native", "inputs": "hey", "parameters": {"dimensions": 3}})
    assert native.json() == [Tei.vector("hey")[:3]]


def test_tei_compares(here):
    inputs = {"source_sentence": "one", "sentences": ["two", "three"]}
    expected = [Tei.score("one", "two"), Tei.score("one", "three")]
    assert ask(here, "similarity", inputs=inputs).json() == expected
    assert ask(here, "similarity", inputs=None, **inputs).json() == expected  # huggingface_hub before 0.31


def test_tei_classifies_texts_and_not_pairs(here, stubs):
    def label(*texts):
        return fingerprint("\0".join(texts))

    def native(inputs, **parameters):
        model = f"predict/n{next(counted)}"
        return here.http.post("/v1/inference", json={"model": model, "inputs": inputs, "parameters": parameters}).json()

    assert native("I like you")[0]["label"] == label("I like you")
    for texts in (["one", "two"], ["one", "two", "three"]):
        assert [each[0]["label"] for each in native(texts)] == [label(each) for each in texts]
    assert [each[0]["label"] for each in native([["a", "b"], ["c", "d"]])] == [label("a", "b"), label("c", "d")]
    native("x", function_to_apply="none", truncate=True)
    assert stubs["tei"].seen[-1].json == {"inputs": "x", "raw_scores": True, "truncate": True}


def test_tei_ranks(here, stubs):
    texts = ["tea is a drink", "a cat", "coffee too"]
    expected = sorted(range(3), key=lambda i: -Tei.score("drinks", texts[i]))
    reply = ask(here, "rerank", inputs={"query": "drinks", "texts": texts, "return_documents": True})
    assert [each["index"] for each in reply.json()] == expected and reply.json()[0]["text"] == texts[expected[0]]
    pairs = ask(here, "rerank", inputs=[["drinks", each] for each in texts], parameters={"raw_scores": True})
    assert [each["index"] for each in pairs.json()] == expected
    assert stubs["tei"].seen[-1].json == {"query": "drinks", "texts": texts, "raw_scores": True}


def test_the_wrong_kind_of_model_is_not_asked_twice(here, stubs):
    body = {"inputs": {"query": "x", "texts": ["a"]}}
    path = f"/models/rerank/n{next(counted)}"
    assert here.http.post(path, json=body).status_code == 404
    before = len(stubs["tei"].seen)
    again = here.http.post(path, json=body)
    assert (again.status_code, again.headers["x-fourways-route"], len(stubs["tei"].seen)) == (404, "tei(unsupported)", before)


@pytest.mark.parametrize(
    "path, body, status, words",
    [
        ("/models/tei/wrong", {"inputs": "aGV5"}, 404, "engine tei) answers feature-extraction"),
        ("/models/tei/untold", {"inputs": "hey"}, 400, "say `task:`"),
        ("/models/tgi/wrong", {"inputs": "hey"}, 404, "engine tgi) answers chats and text-generation"),
        ("/models/embed/e/v1/chat/completions", {"messages": []}, 400, "chat"),
        ("/models/rerank/e", {"inputs": [["a", "b"], ["c", "d"]]}, 400, "text-ranking takes"),
        ("/models/rerank/e", {"inputs": "a"}, 400, "text-ranking takes"),
    ],
)
def test_what_they_cannot_do(here, stubs, path, body, status, words):
    before = [len(each.seen) for each in stubs.values()]
    reply = here.http.post(path, json=body)
    assert (reply.status_code, words in reply.json()["error"]) == (status, True), reply.text
    assert [len(each.seen) for each in stubs.values()] == before
