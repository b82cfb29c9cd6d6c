"""Every pair of what a client sends and what an engine takes: the same picture, its SHA-256 in the answer."""

import base64
import hashlib
import http.client
import io
import json
import random

import pytest
from huggingface_hub import InferenceClient
from PIL import Image
from stubs import Chat, Custom, Reply, Router, Toolkit, fingerprint, picture_of

TOKEN = "hf_canary_payloads_0123456789"
PNG = b"\x89PNG\r\n\x1a\n"
# Lengths of payloads: all small ones, then around the edges of buffers, of whole bodies and of the spool's blocks.
EDGES = [edge + by for edge in (4096, 65536, 262144) for by in (-2, -1, 0, 1, 2)]
MODELS = ("serverless", "toolkit", "toolkit-binary", "toolkit-base64", "custom", "custom-url")


def payload(length):
    """Starts as a picture does, so that its type can be seen; all bytes occur."""
    return (PNG + random.Random(length).randbytes(length))[:length]


@pytest.fixture(scope="module")
def stubs(start_once):
    made = {"serverless": Router({"*": "image-classification", "org/painter": "text-to-image"})}
    made |= {name: Toolkit() for name in ("toolkit", "toolkit-binary", "toolkit-base64")}
    made |= {"custom": Custom(), "custom-url": Custom()}
    made |= {"ears": Toolkit("automatic-speech-recognition"), "painter": Toolkit("text-to-image"), "llm": Chat()}
    made["bare"] = Routerless()
    for each in made.values():
        start_once.keep(each)
    return made


class Routerless(Chat):
    """An endpoint of the operator's own that paints: {"prompt", "how"} -> {"image": base64} or a bare base64 string."""

    def model_of(self, seen):
        return None

    def usual(self, seen):
        picture = base64.b64encode(picture_of(seen.json["prompt"])).decode()
        return Reply(json.dumps(picture) if seen.path == "/bare" else {"image": picture})


@pytest.fixture(scope="module")
def here(start_once, stubs):
    def dedicated(name, **more):
        return {"kind": "dedicated", "url": stubs[name].url, "token": "t", **more}

    upstreams = {
        "serverless": {"kind": "serverless", "url": stubs["serverless"].url, "token": "t"},
        "toolkit": dedicated("toolkit"),
        "toolkit-binary": dedicated("toolkit-binary", payload="binary"),
        "toolkit-base64": dedicated("toolkit-base64", payload="base64"),
        "custom": dedicated("custom", engine="custom", request={"image": "$base64", "options": "$parameters"}, answer="/predictions"),
        "custom-url": dedicated(
            "custom-url", engine="custom", request={"image": "$data_url", "options": "$parameters"}, answer="/predictions"
        ),
        "ears": dedicated("ears"),
        "painter": dedicated("painter"),
        "own": dedicated("bare", engine="custom", request={"prompt": "$inputs", "how": "$parameters"}, answer="/image"),
        "own-bare": dedicated("bare", engine="custom", path="/bare", request={"prompt": "$inputs"}),
        "llm": dedicated("llm", engine="openai"),
    }
    models = {f"org/{name}": {"task": "image-classification", "route": [name]} for name in MODELS}
    models |= {f"org/{name}": {"task": "text-to-image", "route": [to]} for name, to in PAINTERS.items()}
    models |= {"org/ears": {"task": "automatic-speech-recognition", "route": ["ears"]}}
    models |= {"org/untold": {"route": ["custom"]}, "org/llm": {"task": "chat-completion", "route": ["llm"]}}
    models |= {"all/*": {"task": "image-classification", "route": ["serverless", "toolkit-base64", "custom"]}}
    return start_once({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})


PAINTERS = {"painter": "serverless", "toolkit-painter": "painter", "own-painter": "own", "bare-painter": "own-bare"}


def answer_for(data):
    return [{"label": fingerprint(data), "score": 0.5}]


def forms(model, data, **parameters):
    """The ways to say it: (name, path, headers, body)."""
    text = base64.b64encode(data).decode()
    more = {"parameters": parameters} if parameters else {}
    query = "&".join(
        f"{name}={json.dumps(value)}" if not isinstance(value, str) else f"{name}={value}" for name, value in parameters.items()
    )
    raw, is_json = {"Content-Type": "image/png"}, {"Content-Type": "application/json"}
    yield "raw", f"/models/{model}?{query}".removesuffix("?"), raw, data
    yield "base64", f"/models/{model}", is_json, json.dumps({"inputs": text, **more})
    yield "data URL", f"/models/{model}", is_json, json.dumps({"inputs": f"data:image/png;base64,{text}", **more})
    yield "native raw", f"/v1/inference?model={model}&{query}".removesuffix("&"), raw, data
    yield (
        "native base64",
        "/v1/inference",
        is_json,
        json.dumps({"model": model, "inputs": {"base64": text, "media_type": "image/png"}, **more}),
    )
    yield "PHP", f"/models/{model}", is_json, json.dumps({"inputs": text, **more}).replace("/", "\\/")
    yield "parameters first", f"/models/{model}", is_json, json.dumps({**more, "inputs": text})


FORMS = [name for name, *_ in forms("m", b"")]


class Client:
    """One kept connection: thousands of small requests in seconds."""

    def __init__(self, here):
        self.wire_ = http.client.HTTPConnection(here.url.removeprefix("http://"), timeout=60)

    def post(self, path, headers, body):
        self.wire_.request("POST", path, body, headers)
        reply = self.wire_.getresponse()
        return reply.status, reply.read()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", FORMS)
def test_every_pair(here, stubs, form, model):
    client = Client(here)
    for length in (8, 9, 10, 300, *EDGES, 5_000_000):
        data = payload(length)
        _, path, headers, body = next(each for each in forms(f"org/{model}", data) if each[0] == form)
        status, said = client.post(path, headers, body)
        assert (status, json.loads(said)) == (200, answer_for(data)), length
        stubs[model].seen.clear()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", ["raw", "base64", "native base64"])
def test_every_small_length(here, stubs, form, model):
    client = Client(here)
    for length in range(1, 301):
        data = payload(length)
        _, path, headers, body = next(each for each in forms(f"org/{model}", data) if each[0] == form)
        status, said = client.post(path, headers, body)
        assert (status, json.loads(said)) == (200, answer_for(data)), length
    stubs[model].seen.clear()


@pytest.mark.parametrize("model", ["serverless", "toolkit", "custom"])
def test_an_empty_payload_is_refused_with_a_way_out(here, stubs, model):
    """Nobody means to send nothing: a file that was not written, a shell variable that was not set."""
    client = Client(here)
    before = len(stubs[model].seen)
    for name, path, headers, body in forms(f"org/{model}", b""):
        status, said = client.post(path, headers, body)
        if name in ("raw", "native raw"):
            assert status == 400 and b"body is empty" in said, (name, status, said)
        else:
            assert status in (200, 400), (name, status, said)  # "" may be a value to whoever gets it
    assert all(seen.field("authorization") == f"Bearer {TOKEN}" for seen in stubs[model].seen[before:])
    assert client.post(f"/models/org/{model}", {"Content-Type": "image/png"}, payload(50))[0] == 200


# ---- what travels, byte for byte ----


def last(stubs, name):
    return stubs[name].seen[-1]


def test_nothing_is_changed_that_need_not_be(here, stubs):
    """A body in the engine's own shape arrives as the bytes that were sent: blanks, order and unknown members included."""
    data = base64.b64encode(payload(1000)).decode()
    body = '{ "parameters" : {"top_k":  3, "x": 1e400},\n "inputs":"' + data + '" , "options":{"wait":true} }'
    for name in ("serverless", "toolkit"):
        assert here.http.post(f"/models/org/{name}", content=body, headers={"content-type": "application/json"}).json() == answer_for(
            payload(1000)
        )
        assert last(stubs, name).body.decode() == body
    raw = payload(70_000)
    for name, kind in (("serverless", "image/png"), ("toolkit", "image/png")):
        assert here.http.post(f"/models/org/{name}", content=raw, headers={"content-type": kind}).json() == answer_for(raw)
        assert (last(stubs, name).body == raw, last(stubs, name).field("content-type")) == (True, kind)


@pytest.mark.parametrize(
    "model, media_type, body_is",
    [
        ("serverless", "image/png", "raw"),
        ("toolkit", "image/png", "raw"),
        ("toolkit-binary", "image/png", "raw"),
        ("toolkit-base64", "application/json", "json"),
        ("custom", "application/json", "json"),
    ],
)
def test_each_engine_gets_what_it_takes_best(here, stubs, model, media_type, body_is):
    data = payload(100)
    here.http.post(f"/models/org/{model}", content=data, headers={"content-type": "image/png"})
    seen = last(stubs, model)
    assert seen.field("content-type") == media_type
    assert (seen.body == data) == (body_is == "raw")
    assert int(seen.field("content-length")) == len(seen.body)


def test_binary_is_what_the_policy_can_ask_for(here, stubs):
    data = payload(100)
    here.http.post("/models/org/toolkit-binary", json={"inputs": base64.b64encode(data).decode(), "parameters": {"top_k": 3}})
    seen = last(stubs, "toolkit-binary")
    assert (seen.body, seen.field("content-type"), seen.query) == (data, "image/png", {"top_k": "3"})


@pytest.mark.parametrize(
    "sent", [None, "application/octet-stream", "image/PNG", "image/png; charset=binary", "application/x-www-form-urlencoded"]
)
@pytest.mark.parametrize("model", ["toolkit", "custom-url"])
def test_media_types_are_put_right(here, stubs, model, sent):
    """The toolkit looks types up by exact spelling; without a telling one the bytes tell."""
    data = payload(100)
    reply = here.http.post(f"/models/org/{model}", content=data, headers={"content-type": sent} if sent else {})
    assert reply.json() == answer_for(data)
    seen = last(stubs, model)
    assert seen.json["image"].startswith("data:image/png;base64,") if model == "custom-url" else seen.field("content-type") == "image/png"


@pytest.mark.parametrize(
    "sent, said", [("audio/mp3", "audio/mpeg"), ("audio/mp4", "audio/m4a"), ("audio/x-wav", None), ("audio/webm; codecs=opus", None)]
)
def test_spellings_of_sound(here, stubs, sent, said):
    data = b"\x00\x01" + random.Random(1).randbytes(200)
    assert here.http.post("/models/org/ears", content=data, headers={"content-type": sent}).json() == {"text": fingerprint(data)}
    assert last(stubs, "ears").field("content-type") in ([said] if said else Toolkit.TYPES)


def test_sound_that_cannot_be_told_goes_as_json(here, stubs):
    """Three bytes without a type: the toolkit takes them only as base64 beside parameters, and then without a data: prefix."""
    assert here.http.post("/models/org/ears", content=b"abc").json() == {"text": fingerprint(b"abc")}
    assert last(stubs, "ears").json["parameters"] == {}
    text = base64.b64encode(b"abcd").decode()
    for inputs in (text, f"data:audio/wav;base64,{text}"):
        assert here.http.post("/models/org/ears", json={"inputs": inputs}).json() == {"text": fingerprint(b"abcd")}


# ---- parameters ----

GIVEN = {"top_k": 3, "threshold": 0.5, "flag": True, "name": "a b&c"}


def parameters_of(name, seen):
    return Toolkit.parameters(seen) if name.startswith("toolkit") else seen.json["options" if name.startswith("custom") else "parameters"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "given", [{"top_k": 3, "flag": True}, GIVEN, {"none": None, "list": [1, "two"]}], ids=["whole numbers", "all kinds", "structures"]
)
def test_parameters_arrive_with_their_types(here, stubs, form, model, given):
    data = payload(500)
    if form in ("raw", "native raw"):
        path = f"/models/org/{model}" if form == "raw" else f"/v1/inference?model=org/{model}"
        pairs = [(name, each) for name, value in given.items() for each in (value if isinstance(value, list) else [value])]
        query = here.http.build_request(
            "GET", "/", params=[(k, v if isinstance(v, str) else json.dumps(v)) for k, v in pairs]
        ).url.query.decode()
        path, headers, body = f"{path}{'&' if '?' in path else '?'}{query}", {"Content-Type": "image/png"}, data
    else:
        _, path, headers, body = next(each for each in forms(f"org/{model}", data, **given) if each[0] == form)
    status, said = Client(here).post(path, headers, body)
    assert (status, json.loads(said)) == (200, answer_for(data))
    assert parameters_of(model, last(stubs, model)) == given


def test_huggingface_hub_sends_parameters_its_own_way(here, stubs):
    data = payload(5000)
    for model in ("serverless", "toolkit", "custom"):
        client = InferenceClient(model=f"{here.url}/models/org/{model}", token="hf_unused")
        assert client.image_classification(data)[0].label == fingerprint(data)
        assert client.image_classification(data, top_k=3)[0].label == fingerprint(data)
        assert parameters_of(model, last(stubs, model))["top_k"] == 3


# ---- one body, several engines ----


@pytest.mark.parametrize("length", [100, 300_000, 5_000_000])
@pytest.mark.parametrize("form", FORMS)
def test_the_same_body_is_sent_again_in_another_encoding(here, stubs, form, length):
    data = payload(length)
    stubs["serverless"].when(Reply({"error": "boom"}, 500), times=1)
    stubs["toolkit-base64"].when(Reply({"error": "CUDA out of memory"}, 400), times=1)
    model = f"all/{form.replace(' ', '-')}-{length}"  # of its own: what was learned of another is no matter here
    _, path, headers, body = next(each for each in forms(model, data) if each[0] == form)
    reply = here.http.post(path, headers=headers, content=body)
    assert reply.json() == answer_for(data), reply.text[:300]
    assert reply.headers["x-fourways-route"] == "serverless(500) toolkit-base64(400) custom(200)"
    reply = here.http.post(path, headers=headers, content=body)
    assert (reply.json(), reply.headers["x-fourways-route"]) == (answer_for(data), "serverless(200)")


# ---- answers that are pictures ----


def pixels(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    return image.tobytes()


@pytest.mark.parametrize("model", PAINTERS)
@pytest.mark.parametrize("accept", [None, "*/*", "image/png", "image/*", "image/png, */*;q=0.1"])
def test_a_picture_is_sent_as_bytes(here, model, accept):
    prompt = f"a cat that sees {accept}"
    reply = here.http.post(f"/models/org/{model}", json={"inputs": prompt}, headers={"accept": accept} if accept else {})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/png"
    assert pixels(reply.content) == hashlib.sha256(prompt.encode()).digest()


@pytest.mark.parametrize("model", PAINTERS)
@pytest.mark.parametrize("path", ["/models/org/{}", "/v1/inference"])
def test_a_picture_is_sent_as_json_to_who_reads_only_json(here, model, path):
    prompt = "a dog"
    body = {"inputs": prompt} | ({"model": f"org/{model}"} if path == "/v1/inference" else {})
    reply = here.http.post(path.format(model), json=body, headers={"accept": "application/json"})
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    assert set(answer) == {"base64", "media_type"} and answer["media_type"] == "image/png"
    assert pixels(base64.b64decode(answer["base64"], validate=True)) == hashlib.sha256(prompt.encode()).digest()


@pytest.mark.parametrize("model", PAINTERS)
def test_huggingface_hub_paints(here, model):
    image = InferenceClient(model=f"{here.url}/models/org/{model}", token="hf_unused").text_to_image("a cow", width=64)
    assert image.tobytes() == hashlib.sha256(b"a cow").digest()


# ---- a task that nobody told ----


def test_without_a_task_the_shape_of_the_engine_passes_and_nothing_else(here):
    data = payload(64)
    told = here.http.post("/models/org/untold/pipeline/image-classification", content=data)
    assert told.json() == answer_for(data)
    native = here.http.post(
        "/v1/inference", json={"model": "org/untold", "task": "image-classification", "inputs": base64.b64encode(data).decode()}
    )
    assert native.json() == answer_for(data)
