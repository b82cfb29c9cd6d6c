"""TLS on both sides: a company's own authority, certificates that do not fit, and a listener that has one."""

import datetime
import json
import socket
import ssl
import subprocess
import threading

import httpx
import openai
import pytest
import trustme
from gateway import fourways
from stubs import Chat, Stub, chat_text

TOKEN = "hf_canary_over_tls_0123456789"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def company():
    return trustme.CA()


def server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def policy(url, **more):
    upstreams = {"llm": {"kind": "dedicated", "engine": "openai", "token": "t", "url": url, **more}}
    return {
        "tokens": {"t": {"secret": "${T}"}},
        "upstreams": upstreams,
        "models": {"org/chat": {"task": "chat-completion", "route": ["llm"]}},
    }


def chat(here, **more):
    return here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO, **more})


@pytest.fixture
def ca_file(company, tmp_path):
    file = tmp_path / "company.pem"
    company.cert_pem.write_to_path(file)
    return str(file)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_company_authority(start, company, ca_file, name):
    llm = start.keep(Chat(tls=server(company.issue_cert(name))))
    here = start(policy(f"https://{name}:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
    for _ in range(3):
        assert chat(here).json()["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert chat(here, stream=True).text.endswith("data: [DONE]\n\n")
    assert {seen.token for seen in llm.seen} == {TOKEN}
    assert llm.connections < 4, "connections are kept: one a core, and one for what follows a stream"


def certificates(company):
    yield "an unknown authority", trustme.CA().issue_cert("127.0.0.1"), True
    yield "another host", company.issue_cert("other.example", "10.0.0.1"), True
    yield "the company's, but nobody told", company.issue_cert("127.0.0.1"), False
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    yield "expired", company.issue_cert("127.0.0.1", not_before=past, not_after=past + datetime.timedelta(days=30)), True


BAD = ["an unknown authority", "another host", "the company's, but nobody told", "expired"]


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_a_certificate_that_does_not_fit(start, company, ca_file, name, stream):
    """Refused before a byte of the request, and above all of the token, was sent."""
    _, certificate, told = next(each for each in certificates(company) if each[0] == name)
    llm = start.keep(Chat(tls=server(certificate)))
    here = start(policy(f"https://127.0.0.1:{llm.port}", **({"ca_file": ca_file} if told else {})), env={"T": TOKEN})
    reply = chat(here, stream=stream)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_tls")
    assert "certificate" in reply.json()["error"]["message"].lower() and "ca_file" in reply.json()["error"]["message"]
    assert reply.headers["x-fourways-route"].startswith("llm(")
    assert llm.connections > 0 and llm.seen == []


def test_an_upstream_that_speaks_no_tls(start, ca_file):
    llm = start.keep(Chat())
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
    reply = chat(here)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_tls")
    assert llm.seen == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_protocols_are_not_spoken(start, company, ca_file):
    context = server(company.issue_cert("127.0.0.1"))
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    llm = start.keep(Chat(tls=context))
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
    assert chat(here).json()["error"]["code"] == "upstream_tls" and llm.seen == []


def test_the_next_candidate_when_a_certificate_does_not_fit(start, company, ca_file):
    bad = start.keep(Chat(tls=server(trustme.CA().issue_cert("127.0.0.1"))))
    good = start.keep(Chat(tls=server(company.issue_cert("127.0.0.1"))))
    made = policy(f"https://127.0.0.1:{bad.port}", ca_file=ca_file)
    made["upstreams"]["second"] = {"kind": "dedicated", "engine": "openai", "url": f"https://127.0.0.1:{good.port}", "ca_file": ca_file}
    made["models"]["org/chat"]["route"] = ["llm", "second"]
    here = start(made, env={"T": TOKEN})
    reply = chat(here)
    assert reply.json()["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert reply.headers["x-fourways-route"].endswith(" second(200)")
    assert bad.seen == [] and good.seen[0].token is None, "a token goes only to its own upstream"


def test_a_proxy_is_asked_for_a_tunnel(start, company, ca_file):
    """HTTP CONNECT: the proxy sees a host and a port, never the request."""
    llm = start.keep(Chat(tls=server(company.issue_cert("127.0.0.1"))))
    tunnels = start.keep(Tunnel())
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file, proxy=tunnels.url), env={"T": TOKEN})
    assert chat(here).json()["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert tunnels.asked and tunnels.asked[0].startswith(f"CONNECT 127.0.0.1:{llm.port} HTTP/1.1\r\n")
    assert TOKEN not in "".join(tunnels.asked)


class Tunnel:
    """A CONNECT proxy, a thread a direction."""

    def __init__(self):
        self.asked = []
        self.socket_ = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket_.getsockname()[1]}"

        def pass_on(source, to):
            try:
                while block := source.recv(65536):
                    to.sendall(block)
                to.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        def serve():
            while True:
                try:
                    peer, _ = self.socket_.accept()
                except OSError:
                    return
                head = b""
                while b"\r\n\r\n" not in head:
                    head += peer.recv(4096)
                self.asked.append(head.decode())
                host, port = head.split()[1].decode().split(":")
                far = socket.create_connection((host, int(port)))
                peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                for pair in ((peer, far), (far, peer)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket_.close()


# ---- a listener with a certificate ----


@pytest.fixture
def files(company, tmp_path):
    """What the policy names, relative to itself."""
    issued = company.issue_cert("127.0.0.1", "localhost")
    (tmp_path / "gateway.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(tmp_path / "gateway.key")
    return {"certificate": str(tmp_path / "gateway.pem"), "key": str(tmp_path / "gateway.key")}


def test_a_listener_with_a_certificate(start, company, ca_file, files):
    llm = start.keep(Chat())
    upstreams = {"llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"}}
    models = {"org/chat": {"task": "chat-completion", "route": ["llm"]}}
    listen = [{"address": "127.0.0.1:0", "tls": files}, "127.0.0.1:0"]
    trust = ssl.create_default_context(cafile=ca_file)
    here = start({"listen": listen, "upstreams": upstreams, "models": models}, client={"verify": trust})
    secure, clear = here.urls
    assert secure.startswith("https://") and clear.startswith("http://")

    body = json.dumps({"model": "org/chat", "messages": HELLO})
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "-m",
            "60",
            "--cacert",
            ca_file,
            "-H",
            "Content-Type: application/json",
            "-d",
            body,
            secure + "/v1/chat/completions",
        ],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert subprocess.run(["curl", "-s", "-m", "60", secure + "/health"], capture_output=True, check=False).returncode == 60, (
        "curl does not know the authority"
    )
    assert chat(here, stream=True).text.endswith("data: [DONE]\n\n")
    assert httpx.get(clear + "/health").json() == {"status": "ok"}

    client = openai.OpenAI(base_url=secure + "/v1", api_key="x", max_retries=0, http_client=openai.DefaultHttpxClient(verify=trust))
    long = [{"role": "user", "content": "x" * 1_000_000}]
    stream = client.chat.completions.create(model="org/chat", messages=long, stream=True)
    assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == chat_text(long)


def test_clear_text_on_a_listener_with_a_certificate(start, ca_file, files):
    stub = start.keep(Stub())
    listen = [{"address": "127.0.0.1:0", "tls": files}]
    models = {"*": {"route": ["own"]}}
    here = start(
        {"listen": listen, "upstreams": {"own": {"kind": "dedicated", "url": stub.url}}, "models": models},
        client={"verify": ssl.create_default_context(cafile=ca_file)},
    )
    with pytest.raises(httpx.TransportError):
        httpx.get(here.url.replace("https", "http") + "/health", timeout=15)
    assert here.http.get("/health").status_code == 200
    assert stub.connections == 0


@pytest.mark.parametrize("fault", ["missing", "no certificate", "another key"])
def test_a_certificate_that_cannot_be_used_is_said_at_start(tmp_path, company, files, fault):
    if fault == "missing":
        files["certificate"] = str(tmp_path / "gone.pem")
    elif fault == "no certificate":
        (tmp_path / "gateway.pem").write_text("hello")
    else:
        company.issue_cert("127.0.0.1").private_key_pem.write_to_path(tmp_path / "gateway.key")
    file = tmp_path / "policy.yaml"
    upstreams = {"own": {"kind": "dedicated", "url": "http://127.0.0.1:1"}}
    file.write_text(
        json.dumps(
            {
                "listen": [{"address": "127.0.0.1:0", "tls": files}],
                "admin": "127.0.0.1:0",
                "upstreams": upstreams,
                "models": {"*": {"route": ["own"]}},
            }
        )
    )
    done = fourways("serve", "--config", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "gateway" in done.stderr or "gone.pem" in done.stderr
