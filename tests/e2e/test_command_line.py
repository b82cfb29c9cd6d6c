"""The commands as a person types them: what they print, where, and their exit codes."""

import re
import signal
import socket
import subprocess

import pytest
from gateway import BINARY, environment, fourways
from processes import TOP, poll

DATA = TOP / "tests" / "data" / "policy"
TEN = [
    *("unset_variable", "unknown_key", "unknown_upstream", "duplicate_alias", "duplicate_key"),
    *("bad_duration", "bad_url", "clear_text_token", "wrong_type", "bad_placeholder"),
]


@pytest.mark.parametrize("name", TEN)
def test_check_tells_every_mistake_with_its_place(name):
    done = fourways("check", f"{name}.yaml", env={"HF_TOKEN": "hf_canary_check_0123456789"}, cwd=DATA)
    expected = (DATA / f"{name}.expected").read_text().splitlines()
    said = done.stderr.splitlines()
    assert said[: len(expected)] == expected
    assert said[len(expected) :] == ([f"{len(expected)} problems"] if len(expected) > 1 else [])
    assert (done.returncode, done.stdout) == (2, "")
    assert all(re.fullmatch(rf"{name}\.yaml:\d+: [^ ].*: .+", line) for line in expected), "file, line, path"


def test_check_of_a_good_file():
    done = fourways("check", "config/quickstart.yaml", cwd=TOP)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("config/quickstart.yaml: ok, 3 upstreams, 2 models\n")
    assert "router" in done.stdout, "it says what is off"


@pytest.mark.parametrize("name", ["auto", "failover", "local"])
def test_check_of_the_examples(name):
    done = fourways(
        "check", f"config/examples/{name}.yaml", cwd=TOP, env={"HF_TOKEN": "hf_canary_check_0123456789", "VIT_URL": "https://a.example"}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_check_of_no_file():
    done = fourways("check", "nowhere.yaml", cwd=TOP)
    assert done.returncode == 2 and "nowhere.yaml" in done.stderr and done.stdout == ""


def test_explain_the_quickstart():
    done = fourways("explain", "--config", "config/quickstart.yaml", "--model", "ocr", cwd=TOP)
    assert (done.returncode, done.stderr) == (0, "")
    router, worker = done.stdout.split("\n\n")[1:]
    assert "RapidAI/RapidOCR" in done.stdout and "image-to-text" in done.stdout
    assert router.startswith("1. router") and "no_token" in router and "hf (empty)" in router
    assert worker.startswith("2. ocr-here") and "a process of this gateway" in worker
    assert "encoding  pass_through" in worker and "raw image/png" in worker


def test_explain_with_a_token():
    """Which token by its name, never by its value; which encoding each candidate would get."""
    secret = "hf_canary_explain_0123456789"
    done = fourways(
        "explain", "--config", "config/quickstart.yaml", "--model", "HuggingFaceTB/SmolLM2-135M-Instruct", cwd=TOP, env={"HF_TOKEN": secret}
    )
    assert done.returncode == 0 and secret not in done.stdout + done.stderr
    router = done.stdout.split("\n\n")[1]
    assert "token     hf" in router and "off" not in router and "https://router.huggingface.co" in router


@pytest.mark.parametrize("model, words", [("RapidAI/RapidOCX", "did you mean"), ("../x", "no model of the policy")])
def test_explain_of_what_is_not_there(model, words):
    done = fourways("explain", "--config", "config/quickstart.yaml", "--model", model, cwd=TOP)
    assert (done.returncode, done.stdout) == (1, "") and words in done.stderr


def test_keygen():
    keys = set()
    for _ in range(3):
        done = fourways("keygen")
        key, digest = re.fullmatch(r"key     (hf_[A-Za-z0-9]{40})\npolicy  (sha256:[0-9a-f]{64})\n", done.stdout).groups()
        keys.add((key, digest))
        assert (done.returncode, done.stderr) == (0, "")
    assert len(keys) == 3


@pytest.mark.parametrize("args", [["--help"], ["serve", "--help"], ["check", "--help"], ["explain", "-h"], ["ways", "-h"], ["keygen", "--help"]])
def test_help(args):
    done = fourways(*args)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout or "usage" in done.stdout
    if args == ["--help"]:
        assert all(command in done.stdout for command in ("serve", "check", "explain", "ways", "keygen", "config/examples"))
    if args[0] == "serve":
        assert all(flag in done.stdout for flag in ("--config", "--listen", "--admin", "--threads"))
    assert max(map(len, done.stdout.splitlines())) < 200


def test_version():
    assert re.fullmatch(r"fourways \d+\.\d+\.\d+\S*\n", fourways("--version").stdout)


@pytest.mark.parametrize(
    "args", [[], ["serv"], ["serve", "--threads", "0"], ["serve", "--nonsense"], ["check"], ["explain"], ["serve", "--listen", "nowhere"]]
)
def test_bad_flags(args):
    done = fourways(*args)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.strip()
    if args == ["serv"]:
        assert "`serv`" in done.stderr and "serve" in done.stderr


@pytest.mark.parametrize("policy, words", [(None, "nowhere.yaml"), ("models: {", ""), ("models: { a: { route: [gone] } }", "gone")])
def test_a_bad_policy_is_said_before_any_port_is_bound(tmp_path, policy, words):
    file = tmp_path / "nowhere.yaml"
    if policy is not None:
        file.write_text(policy)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # were it bound first, this would be 1
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = fourways("serve", "--config", file, "--listen", where, "--admin", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (2, "") and words in done.stderr


POLICY = {"upstreams": {"own": {"kind": "local", "url": "http://127.0.0.1:1"}}, "models": {"*": {"route": ["own"]}}}


@pytest.mark.parametrize("which", ["--listen", "--admin"])
def test_a_port_that_is_taken(start, which):
    """Two instances never share a port silently."""
    here = start(POLICY)
    port = (here.url if which == "--listen" else here.admin).rpartition(":")[2]
    other = {"--listen": "--admin", "--admin": "--listen"}[which]
    done = fourways("serve", "--config", here.config, which, f"127.0.0.1:{port}", other, "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (1, "") and port in done.stderr and "in use" in done.stderr.lower()
    assert here.http.get("/health").status_code == 200


def test_the_ready_line_and_the_end(start):
    here = start(POLICY)
    assert re.fullmatch(r"fourways: listening on http://127\.0\.0\.1:\d+ \(admin http://127\.0\.0\.1:\d+\)", here.ready_line)
    assert here.http.get("/health").status_code == 200
    assert here.stop() == 0
    assert here.logged("stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(start, number):
    here = start(POLICY)
    here.signal(number)
    assert here.process.wait(30) == 0


def test_without_a_file_a_token_is_enough():
    """Every model, the serverless way."""
    secret = "hf_canary_alone_0123456789"
    flags = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    process = subprocess.Popen(
        [BINARY, *flags], env=environment({"HF_TOKEN": secret}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().startswith("fourways: listening on http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0 and secret not in out + err
    finally:
        process.kill()
        process.wait()


def test_flags_win_over_the_policy(start):
    here = start({**POLICY, "listen": "127.0.0.1:1", "admin": "127.0.0.1:2"}, args=["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
    assert here.http.get("/health").status_code == 200
    poll(lambda: here.admin_http.get("/live").status_code == 200)
