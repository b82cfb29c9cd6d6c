"""`fourways ways`: the table and the policy that it prints for recorded models, and its words when there is none."""

import json
import re

import pytest
import trustme
from gateway import fourways
from hub import DATA, Hub
from processes import free_port
from stubs import Reply
from tls_server import server

TOKEN = "hf_canary_ways_0123456789"
SIX = {
    "all": "google/vit-base-patch16-224",
    "none": "someone/raw-weights",
    "gated": "meta-llama/Llama-3.1-8B-Instruct",
    "unknown": "nobody/no-such-model",
    "chat": "openai/gpt-oss-120b",
    "gguf": "bartowski/SmolLM2-135M-Instruct-GGUF",
}
POLICY = {
    "tokens": {"h": {"secret": "${HF_TOKEN}"}},
    "upstreams": {
        "router": {"kind": "serverless", "token": "h"},
        "vit-prod": {"kind": "dedicated", "url": "https://abc.us-east-1.aws.endpoints.huggingface.cloud", "token": "h", "models": ["google/vit-*"]},
    },
    "models": {SIX["all"]: {"aliases": ["vision"], "route": "auto"}, "*": {"route": "auto"}},
}


@pytest.fixture
def hub():
    with Hub() as stub:
        yield stub


def policy(folder, hub, token="h"):
    file = folder / "policy.yaml"
    file.write_text(json.dumps({**POLICY, "hub": {"url": hub.url, **({"token": token} if token else {})}}))
    return file


def test_ways_of_six_recorded_models(hub, tmp_path):
    """What is printed lies beside the recorded answer: NAME.txt."""
    file = policy(tmp_path, hub, token=None)
    for name, model in SIX.items():
        done = fourways("ways", model, "--config", file, env={"HF_TOKEN": TOKEN})
        said = f"$ fourways ways {model}\n{done.stdout}{done.stderr}"
        assert said == (DATA / f"{name}.txt").read_text(), name
        assert (done.returncode, bool(done.stderr)) == (1, True) if name in ("gated", "unknown") else (0, False)
    assert hub.asked == list(SIX.values())
    assert not [each for each in hub.seen if each.token], "the policy names no token for the Hub"


@pytest.mark.parametrize("model", [*(SIX[name] for name in ("all", "none", "chat", "gguf")), "gpt2", "BAAI/bge-small-en-v1.5"])
def test_what_it_prints_is_a_policy(hub, tmp_path, model):
    done = fourways("ways", model, "--hub", hub.url)
    text = done.stdout.partition("A policy to start from:\n\n")[2]
    for name, lines in {"as it is": text, "all of it": re.sub(r"^  # ", "  ", text, flags=re.M)}.items():
        file = tmp_path / "start.yaml"
        file.write_text(lines)
        checked = fourways("check", file, env={"HF_TOKEN": TOKEN})
        assert (checked.returncode, checked.stderr) == (0, ""), (name, checked.stderr, lines)
    name = json.loads(re.search(r'^  (".*"):$', text, flags=re.M)[1])
    explained = fourways("explain", "--config", file, "--model", name, env={"HF_TOKEN": TOKEN})
    assert (explained.returncode, explained.stderr) == (0, "")


def test_an_alias_of_the_policy_and_its_token(hub, tmp_path):
    file = policy(tmp_path, hub)
    done = fourways("ways", "vision", "--config", file, env={"HF_TOKEN": TOKEN})
    assert done.returncode == 0 and f"model   {SIX['all']}" in done.stdout
    assert hub.asked == [SIX["all"]] and {each.token for each in hub.seen} == {TOKEN}
    assert TOKEN not in done.stdout + done.stderr


def test_a_token_stays_with_the_hub_that_it_was_given_for(hub, tmp_path):
    with Hub() as other:
        assert fourways("ways", SIX["chat"], "--config", policy(tmp_path, hub), "--hub", other.url, env={"HF_TOKEN": TOKEN}).returncode == 0
        assert fourways("ways", SIX["chat"], "--hub", other.url, env={"HF_TOKEN": TOKEN}).returncode == 0
        assert len(other.asked) == 2 and not [each for each in other.seen if each.token] and not hub.seen


def test_a_hub_over_tls_is_verified(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Hub(tls=server(authority.issue_cert("127.0.0.1"))) as hub:
        assert hub.url.startswith("https://")
        done = fourways("ways", SIX["chat"], "--hub", hub.url)
        assert (done.returncode, done.stdout) == (1, "") and "certificate" in done.stderr and not hub.seen
        done = fourways("ways", SIX["chat"], "--hub", hub.url, env={"SSL_CERT_FILE": str(tmp_path / "ca.pem")})
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "fault, words",
    [
        (Reply("no", 500), "it answered with status 500"),
        (Reply({"error": "Too many requests"}, 429), "its limit of requests is reached"),
        (Reply("<html>", content_type="text/html"), "not the JSON object that it should be"),
        (Reply("", 302, {"Location": "https://elsewhere.example/api/models/a/b"}), "a redirect to another place, which is not followed"),
        (Reply({"id": "a\x1b[31m/b", "pipeline_tag": "x\x07"}), "nothing of it is printed"),
    ],
    ids=["500", "429", "a page", "a redirect", "escapes"],
)
def test_a_hub_that_does_not_tell(hub, fault, words):
    hub.fault = fault
    done = fourways("ways", "a/b", "--hub", hub.url)
    if words == "nothing of it is printed":
        assert done.returncode == 0 and "\x1b" not in done.stdout and "\x07" not in done.stdout and "model   a/b\n" in done.stdout
        return
    assert (done.returncode, done.stdout) == (1, "") and words in done.stderr


def test_a_hub_that_is_not_there():
    done = fourways("ways", "a/b", "--hub", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "") and "the Hub could not be asked" in done.stderr


@pytest.mark.parametrize(
    "args", [["../x"], ["a b"], ["a/b/c"], ["http://x/y"], ["a/b", "--hub", "huggingface.co"], [], ["a/b", "--config", "nowhere.yaml"]]
)
def test_bad_usage(args):
    done = fourways("ways", *args)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr


def test_explain_asks_the_hub_where_a_request_would(hub, tmp_path):
    file = policy(tmp_path, hub, token=None)
    how = ["explain", "--config", file, "--task", "image-classification", "--model"]
    done = fourways(*how, "google/vit-large", env={"HF_TOKEN": TOKEN})
    assert done.returncode == 0 and "hub       the Hub shows no model `google/vit-large`" in done.stdout
    assert "1. vit-prod" in done.stdout and "router" not in done.stdout, "the operator's word alone"

    hub.answers["google/vit-large"] = hub.answers[SIX["all"]]
    done = fourways(*how, "google/vit-large", env={"HF_TOKEN": TOKEN})
    assert done.returncode == 0 and "hub       has Inference Providers (hf-inference)" in done.stdout
    assert "1. router" in done.stdout and "2. vit-prod" in done.stdout

    done = fourways(*how, SIX["chat"], env={"HF_TOKEN": TOKEN})
    assert done.returncode == 1 and "no way of `openai/gpt-oss-120b` can be used here for image-classification" in done.stderr
