"""Which ways a model has, as the Hub says it: automatic routes, the task of a model that no policy names, what happens without the Hub."""

import base64
import concurrent.futures
import hashlib
import json

import certificates
import pytest
from gateway import metric
from hub import Hub
from peer import Peer
from processes import free_port, poll
from stubs import Chat, Reply, Router, Toolkit, fingerprint, picture_of
from tunnel import Tunnel

TOKEN = "hf_canary_of_the_router_0123456789"
HUB_TOKEN = "hf_canary_of_the_hub_0123456789"
ENV = {"T": TOKEN, "H": HUB_TOKEN}
VIT = "google/vit-base-patch16-224"
CHAT = "openai/gpt-oss-120b"
GGUF = "bartowski/SmolLM2-135M-Instruct-GGUF"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n0000"


class World:
    def __init__(self, start, models=None, hub=None, hub_tls=None, **upstreams):
        self.hub = start.keep(Hub(tls=hub_tls))
        self.router = start.keep(Router({"*": "image-classification"}))
        self.vit = start.keep(Toolkit())
        self.llm = start.keep(Chat())
        policy = {
            "tokens": {"t": {"secret": "${T}"}, "h": {"secret": "${H}"}},
            "upstreams": {
                "router": {"kind": "serverless", "url": self.router.url, "token": "t"},
                "vit": {"kind": "dedicated", "url": self.vit.url, "models": ["google/vit-*"]},
                "llm": {"kind": "dedicated", "engine": "openai", "url": self.llm.url, "models": [GGUF, "own/*"]},
                **upstreams,
            },
            "models": models or {"*": {"route": "auto"}},
            "hub": {"url": self.hub.url, "token": "h", **(hub or {})},
        }
        self.here = start(policy, env=ENV)

    def picture(self, model=VIT):
        return self.here.http.post(f"/models/{model}", content=PNG, headers={"content-type": "image/png"})

    def chat(self, model):
        return self.here.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO})

    def route(self, reply):
        return reply.headers["x-fourways-route"]


def code_of(reply):
    error = reply.json()
    return (error["code"], error["error"]) if isinstance(error["error"], str) else (error["error"]["code"], error["error"]["message"])


@pytest.fixture
def world(start):
    return World(start)


def test_an_automatic_route_has_the_ways_that_exist_in_the_order_of_the_policy(world):
    world.router.when(Reply({"error": "busy"}, 503))
    reply = world.picture()
    assert (reply.status_code, world.route(reply)) == (200, "router(503) vit(200)")
    assert reply.json() == [{"label": fingerprint(PNG), "score": 0.5}]
    world.router.calm()

    assert world.route(world.chat(CHAT)) == "router(200)", "vit does not say that it runs it"
    assert world.route(world.chat(GGUF)) == "llm(200)", "no provider serves it"
    assert world.hub.asked == [VIT, CHAT, GGUF], "once each"
    assert {each.token for each in world.hub.seen} == {HUB_TOKEN}
    assert {each.token for each in world.router.seen} == {TOKEN}, "each token at its own place"


def test_the_task_of_a_model_that_no_policy_names(start):
    world = World(start, models={"*": {"route": ["vit", "router"]}})
    reply = world.picture()
    assert reply.status_code == 200 and world.here.record(reply)["task"] == "image-classification"

    # Said by the Hub, it decides what the payload may be, and how it is asked for.
    text = world.here.http.post("/v1/inference", json={"model": VIT, "inputs": "a text"})
    assert code_of(text)[0] in ("wrong_modality", "invalid_base64"), text.text
    bge = world.here.http.post("/models/BAAI/bge-small-en-v1.5", json={"inputs": "a text"})
    assert world.here.record(bge)["task"] == "feature-extraction"
    assert world.hub.asked == [VIT, "BAAI/bge-small-en-v1.5"]


@pytest.mark.parametrize("route", ["auto", ["router"]], ids=["auto", "listed"])
def test_a_provider_is_asked_for_a_task_by_its_own_name_of_the_model(start, route):
    """As the Hub maps it: the first that can be asked, or the one that the client names."""
    world = World(start, models={"*": {"route": route}})
    served = {"status": "live", "task": "text-to-image"}
    mapping = {"fal-ai": {**served, "providerId": "fal-ai/flux/schnell"}, "together": {**served, "providerId": "tog/FLUX.1-schnell"}}
    flux = "black-forest-labs/FLUX.1-schnell"
    world.hub.answers[flux] = Reply({"id": flux, "pipeline_tag": "text-to-image", "inferenceProviderMapping": mapping})
    picture = picture_of("a cat")
    world.router.when(lambda seen: Reply({"data": [{"b64_json": base64.b64encode(picture).decode()}]}))
    for model, tried in {flux: "router(unsupported) router(200)", flux + ":together": "router(200)"}.items():
        reply = world.here.http.post(f"/models/{model}", json={"inputs": "a cat"})
        assert (reply.status_code, world.route(reply)) == (200, tried), reply.text
        assert reply.content == picture
    assert {each.path for each in world.router.seen} == {"/together/v1/images/generations"}
    assert {each.json["model"] for each in world.router.seen} == {"tog/FLUX.1-schnell"}
    assert world.hub.asked == [flux]

    code, text = code_of(world.here.http.post(f"/models/{flux}:nscale", json={"inputs": "a cat"}))
    assert code == "unsupported" and "It has: Inference Providers (fal-ai, together)" in text


def test_a_model_that_the_policy_names_with_a_route_of_its_own_costs_no_question(start):
    world = World(start, models={VIT: {"route": ["vit"]}, CHAT: {"route": ["router"]}, "*": {"task": "image-classification", "route": ["vit"]}})
    assert world.picture().status_code == 200
    assert world.picture("some/model").status_code == 200, "the task is said"
    assert world.chat(CHAT).status_code == 200
    assert world.hub.asked == []
    assert metric(world.here.metrics(), "fourways_hub_questions_total") == 0


def test_a_thousand_requests_for_a_new_model_are_one_look_up(start):
    world = World(start)
    world.hub.gate.clear()
    body = json.dumps({"model": CHAT, "messages": HELLO}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)

    def waiting():
        return metric(world.here.metrics(), "fourways_hub_questions_total", result="waited")

    clients = []
    try:
        for _ in range(200):
            clients.append(Peer(world.here.url).send(5 * (head + body)))  # one at a time each, so 200 wait
        poll(lambda: waiting() == 200, what="200 requests wait for the Hub")
        world.hub.gate.set()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda client: [client.answer() for _ in range(5)], clients))
    finally:
        for client in clients:
            client.close()
    assert sum(each.status == 200 for five in answers for each in five) == 1000
    assert world.hub.asked == [CHAT]
    assert metric(world.here.metrics(), "fourways_hub_lookups_total") == 1


def test_a_way_that_a_model_lacks_is_told_with_those_it_has(world):
    code, text = code_of(world.chat(CHAT + ":nebius"))
    assert code == "unsupported"
    assert "not served by the Inference Provider `nebius`" in text and "Inference Providers (cerebras, groq, together)" in text
    assert world.chat(CHAT + ":groq").status_code == 200

    reply = world.here.http.post("/v1/inference", json={"model": CHAT, "task": "text-generation", "inputs": "hello"})
    code, text = code_of(reply)
    assert (reply.status_code, code) == (404, "unsupported")
    assert "cerebras for chat-completion" in text and "It has: Inference Providers" in text and f"fourways ways {CHAT}" in text

    code, text = code_of(world.picture("someone/raw-weights"))
    assert code == "unsupported" and "It has: none" in text

    code, text = code_of(world.chat(VIT))
    assert code == "wrong_modality" and "image-classification" in text


@pytest.mark.parametrize(
    "model, status, code, words",
    [
        (LLAMA, 502, "token_rejected", f"accept its conditions at https://huggingface.co/{LLAMA}"),
        ("bad/withdrawn", 404, "unsupported", "disabled the model"),
    ],
)
def test_each_no_has_words_of_its_own(world, model, status, code, words):
    reply = world.chat(model)
    said, text = code_of(reply)
    assert (reply.status_code, said) == (status, code) and words in text


@pytest.mark.parametrize("known", ["401 without a token", "404 with one"])
def test_a_model_that_is_not_there(start, known):
    world = World(start)
    if known == "404 with one":
        world.hub.answers["nobody/no-such-model"] = Reply({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
    else:
        policy = json.loads(world.here.config.read_text())
        del policy["hub"]["token"]
        world.here.write(policy)
        world.here.logged("reloaded")
    reply = world.chat("nobody/no-such-model")
    code, text = code_of(reply)
    assert (reply.status_code, code) == (404, "unknown_model")
    assert "it does not exist, or it is private" in text and "models: [nobody/no-such-model]" in text
    again = world.chat("nobody/no-such-model")
    assert code_of(again) == (code, text) and world.hub.asked == ["nobody/no-such-model"], "a no is remembered, too"
    assert not world.router.seen


def test_a_model_that_was_renamed_is_looked_up_under_its_new_name_without_the_token(world):
    reply = world.here.http.post("/models/gpt2", json={"inputs": "hello"})
    assert world.here.record(reply)["task"] == "text-generation"
    assert [(each.path, each.token) for each in world.hub.seen] == [
        ("/api/models/gpt2", HUB_TOKEN),
        ("/api/models/openai-community/gpt2", None),
    ]


def test_a_redirect_to_another_place_is_not_followed(start):
    other = start.keep(Hub())
    world = World(start)
    world.hub.fault = Reply("", 302, {"Location": f"{other.url}/api/models/{CHAT}"})
    assert world.chat(CHAT).status_code == 200, "nothing is known, so serverless may have it"
    assert not other.seen


@pytest.mark.parametrize("fault", ["refuses", "500", "our token", "cut"])
def test_without_the_hub_nothing_fails_that_a_configured_way_could_serve(start, fault):
    world = World(start)
    if fault == "refuses":
        policy = json.loads(world.here.config.read_text())
        policy["hub"]["url"] = f"http://127.0.0.1:{free_port()}"
        world.here.write(policy)
        world.here.logged("reloaded")
    world.hub.fault = {
        "500": Reply("no", 500),
        "our token": Reply({"error": "Invalid credentials in Authorization header"}, 401),
        "cut": Reply(pieces=[b'{"id":'], cut=True),
    }.get(fault)
    for _ in range(5):
        assert world.route(world.picture()) == "router(200)"
        assert world.route(world.chat("own/model")) == "router(200)"
    world.router.when(Reply({"error": "Model not supported by provider hf-inference"}, 400))
    assert world.route(world.chat("own/other")) == "router(400) llm(200)"
    assert len(world.hub.asked) <= 3, "it is left alone for a while"

    # The fault is over: it is asked again, by itself.
    world.hub.fault = None
    world.router.calm()
    if fault == "refuses":
        policy["hub"]["url"] = world.hub.url
        world.here.write(policy)
    poll(lambda: world.picture("someone/raw-weights").status_code == 404, what="the Hub is asked again")


def test_the_hubs_limit_is_honoured(world):
    world.hub.fault = Reply({"error": "Too many requests"}, 429, {"RateLimit": '"api";r=0;t=600', "Retry-After": "600"})
    for model in (VIT, CHAT, "own/model", "other/model"):
        reply = world.chat(model) if model != VIT else world.picture()
        assert reply.status_code == 200
    assert world.hub.asked == [VIT], "one 429 is enough"


def test_an_aged_answer_is_served_while_it_is_looked_up_again(start):
    world = World(start, hub={"cache": "1ms"})
    assert world.route(world.chat(CHAT)) == "router(200)"
    world.hub.gate.clear()
    for _ in range(10):
        assert world.route(world.chat(CHAT)) == "router(200)", "nobody waits"
    poll(lambda: len(world.hub.seen) == 2, what="the second look-up")
    assert metric(world.here.metrics(), "fourways_hub_lookups_total") == 2
    assert metric(world.here.metrics(), "fourways_hub_questions_total", result="memory") >= 10
    world.hub.gate.set()


def test_a_client_may_leave_while_the_hub_is_asked(world):
    world.hub.gate.clear()
    body = json.dumps({"model": CHAT, "messages": HELLO}).encode()
    client = Peer(world.here.url)
    client.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-request-id: leaves\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    poll(lambda: world.hub.seen, what="the look-up")
    client.close()
    assert world.here.record("leaves")["status"] == 499
    world.hub.gate.set()
    assert world.chat(CHAT).status_code == 200


def test_a_client_causes_no_look_up_of_what_it_may_not_have(start):
    key = "hf_key_of_an_app_0123456789"
    hub = start.keep(Hub())
    router = start.keep(Router())
    here = start(
        {
            "tokens": {"t": {"secret": "${T}"}},
            "upstreams": {"router": {"kind": "serverless", "url": router.url, "token": "t"}},
            "models": {"*": {"route": "auto"}},
            "clients": {"app": {"keys": ["sha256:" + hashlib.sha256(key.encode()).hexdigest()], "models": ["google/*"]}},
            "hub": {"url": hub.url},
        },
        env={"T": TOKEN},
        client={"headers": {"authorization": f"Bearer {key}"}},
    )
    reply = here.http.post("/v1/chat/completions", json={"model": CHAT, "messages": HELLO})
    assert (reply.status_code, hub.asked) == (403, [])


# ---- the way to the Hub ----


def test_a_hub_behind_a_proxy_and_a_companys_authority(start, tmp_path):
    company, proxy = certificates.authority(), start.keep(Tunnel())
    file = tmp_path / "company.pem"
    file.write_bytes(company.pem)
    tls = certificates.make("127.0.0.1", by=company).server()
    world = World(start, hub={"ca_file": str(file), "proxy": proxy.url}, hub_tls=tls)
    reply = world.picture()
    assert (reply.status_code, world.route(reply)) == (200, "router(200)"), reply.text
    assert world.hub.asked == [VIT] and proxy.asked == [world.hub.url.removeprefix("https://")]
    assert world.hub.seen[0].token == HUB_TOKEN, "inside the tunnel"


def test_a_hub_whose_authority_is_unknown_is_away_and_never_sees_the_token(start):
    world = World(start, hub_tls=certificates.make("127.0.0.1", by=certificates.authority()).server())
    world.picture()
    assert world.hub.seen == []


def test_a_record_says_how_long_the_hub_was_waited_for(world):
    world.hub.gate.clear()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(world.picture)
        poll(lambda: metric(world.here.metrics(), "fourways_hub_lookups_total") == 1, what="the look-up")
        world.hub.gate.set()
        record = world.here.record(first.result())
    assert 0 < record["ms_hub"] <= record["ms"]
    known = world.here.record(world.picture())
    assert known["ms_hub"] >= 0, "from memory"
    assert "ms_hub" not in world.here.record(world.here.http.post("/v1/inference", json={"inputs": "x"}))
