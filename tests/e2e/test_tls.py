"""TLS: a company's own authority, a proxy on the way (bad certificates: test_tls_upstream.py), and a listener that has a certificate."""

import contextlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import threading

import certificates
import httpx
import openai
import pytest
import trustme
from gateway import fourways, metric
from processes import poll
from stubs import Chat, Reply, Stub, chat_text, stream_of, streamed

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


def test_a_proxy_is_asked_for_a_tunnel(start, company, ca_file):
    """HTTP CONNECT: the proxy sees a host and a port, never the request."""
    llm = start.keep(Chat(tls=server(company.issue_cert("127.0.0.1"))))
    tunnels = start.keep(Tunnel())
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file, proxy=tunnels.url), env={"T": TOKEN})
    assert chat(here).json()["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert tunnels.asked and tunnels.asked[0].startswith(f"CONNECT 127.0.0.1:{llm.port} HTTP/1.1\r\n")
    assert TOKEN not in "".join(tunnels.asked)


def test_what_a_proxy_says_within_the_tunnel_is_no_answer(start, company, ca_file):
    """It stands in clear text in front of the TLS: whoever is on the way could have put it there."""
    llm = start.keep(Chat(tls=server(company.issue_cert("127.0.0.1"))))
    body = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "the proxy's words"}}]})
    answer = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    tunnels = start.keep(Tunnel(own=answer.encode()))
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file, proxy=tunnels.url), env={"T": TOKEN})
    said = chat(here)
    assert said.status_code == 502 and "proxy sent something of its own" in said.text
    assert llm.seen == [] and "the proxy's words" not in said.text
    tunnels.own = b""
    poll(lambda: chat(here).status_code == 200, what="the upstream is asked again")


class Tunnel:
    """A CONNECT proxy, a thread a direction. `own`: what it says itself, in front of the upstream."""

    def __init__(self, own=b""):
        self.own = own
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
                peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n" + self.own)
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
    assert ("gone.pem" if fault == "missing" else "gateway.pem") in done.stderr


def connect(here, ca_file, **how):
    """A TLS connection to the first listener; that a peer ends without close_notify is an error."""
    context = ssl.create_default_context(cafile=ca_file)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    for name, value in how.items():
        setattr(context, name, value) if name != "alpn" else context.set_alpn_protocols(value)
    wire = socket.create_connection(("127.0.0.1", httpx.URL(here.url).port), timeout=60)
    return context.wrap_socket(wire, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


@pytest.fixture
def secure(start, ca_file, files):
    """A gateway with a TLS listener in front of a chat upstream, which is its .llm."""
    llm = start.keep(Chat())
    upstreams = {"llm": {"kind": "dedicated", "url": llm.url, "engine": "openai"}}
    made = {
        "listen": [{"address": "127.0.0.1:0", "tls": files}],
        "upstreams": upstreams,
        "models": {"org/chat": {"task": "chat-completion", "route": ["llm"]}},
    }
    here = start(made, client={"verify": ssl.create_default_context(cafile=ca_file)})
    here.llm, here.policy = llm, made
    return here


def talk(wire, body, *fields):
    """(everything that came, whether it ended with a close_notify)."""
    body = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields, "", ""]
    wire.sendall("\r\n".join(lines).encode() + body)
    got = b""
    try:
        while block := wire.recv(65536):
            got += block
    except (ssl.SSLError, ConnectionResetError) as end:
        assert "EOF" in str(end) or isinstance(end, ConnectionResetError), end
        return got, False
    return got, True


ASKED = {"model": "org/chat", "messages": HELLO}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_a_whole_answer_ends_with_a_close_notify(secure, ca_file, version, more):
    with connect(secure, ca_file, maximum_version=version) as wire:
        got, notified = talk(wire, {**ASKED, **more}, "Connection: close")
    assert got.startswith(b"HTTP/1.1 200") and notified


def test_a_whole_answer_to_a_slow_reader_ends_with_one_too(secure, ca_file):
    """The buffers on the way are full when the end is reached."""
    long = "x" * 3_000_000
    secure.llm.when(Reply({"choices": [{"message": {"role": "assistant", "content": long}}]}))
    with connect(secure, ca_file) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        got, notified = talk(wire, ASKED, "Connection: close")
    assert long.encode() in got and notified


@pytest.mark.fault("E")
@pytest.mark.parametrize("more", [{}, {"stream": True}])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_cut_answer_ends_without_one(secure, ca_file, version, more):
    """So that no client takes it for whole, whatever its framing."""
    message = json.dumps({"choices": [{"message": {"content": "x" * 100_000}}]})
    secure.llm.when(streamed(stream_of("some words")[:3], cut=True) if more else Reply(message, cut=True))
    for fields in ([], ["Connection: close"]):
        with connect(secure, ca_file, maximum_version=version) as wire:
            got, notified = talk(wire, {**ASKED, **more}, *fields)
        assert got.startswith(b"HTTP/1.1 200") and not notified
        assert not got.endswith(b"0\r\n\r\n")
        assert (b"broken_stream" in got) == bool(more), "a stream is told first"


def test_an_idle_connection_is_ended_with_one(secure, ca_file):
    secure.write({**secure.policy, "limits": {"idle_timeout": "100ms"}})
    assert secure.admin_http.post("/reload").status_code == 200
    with connect(secure, ca_file) as wire:
        wire.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = wire.recv(65536)
        while block := wire.recv(65536):
            got += block
    assert got.endswith(b'{"status":"ok"}')


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_protocols_are_not_spoken(secure, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", httpx.URL(secure.url).port)) as wire, pytest.raises(ssl.SSLError, match="(?i)version|protocol"):
        context.wrap_socket(wire)


def test_what_protocol_is_agreed_on(secure, ca_file):
    for offered, agreed in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)):
        with connect(secure, ca_file, **({"alpn": offered} if offered else {})) as wire:
            assert wire.selected_alpn_protocol() == agreed
            assert talk(wire, ASKED, "Connection: close")[0].startswith(b"HTTP/1.1 200")
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(secure, ca_file, alpn=["h2"])


@pytest.mark.threat("D1")
@pytest.mark.limit("header_timeout")
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_handshake_that_does_not_come_is_ended(secure, sent):
    """Silence, half a hello, clear text: the connection ends, and others do not notice."""
    secure.write({**secure.policy, "limits": {"header_timeout": "300ms"}})
    assert secure.admin_http.post("/reload").status_code == 200
    with socket.create_connection(("127.0.0.1", httpx.URL(secure.url).port), timeout=6) as wire:
        wire.sendall(sent)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while block := wire.recv(65536):
                got += block
        assert b"HTTP" not in got
    assert secure.http.get("/health").status_code == 200


def served(here):
    """The certificate that new connections are shown."""
    with socket.create_connection(("127.0.0.1", httpx.URL(here.url).port)) as wire:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(wire) as secured:
            return secured.getpeercert(binary_form=True)


@pytest.mark.fault("c")
def test_a_certificate_is_reloaded_with_the_rest(secure, company, files, tmp_path):
    """New connections get the new one, old ones live on; one that cannot be used leaves the old one serving."""
    old = served(secure)
    assert secure.http.get("/health").status_code == 200
    opened = metric(secure.metrics(), "fourways_connections_accepted_total")
    renewed = company.issue_cert("127.0.0.1", "localhost")

    def put(certificate, key):
        for name, text in ((files["certificate"], certificate), (files["key"], key)):
            new = pathlib.Path(name + ".new")
            new.write_bytes(text)
            new.rename(name)

    chain, key = b"".join(each.bytes() for each in renewed.cert_chain_pems), renewed.private_key_pem.bytes()
    other = company.issue_cert("127.0.0.1").private_key_pem.bytes()
    encrypted = certificates.make("127.0.0.1").key_pem(b"a password")
    kept = [pathlib.Path(name).read_bytes() for name in (files["certificate"], files["key"])]
    bad = {"gateway.pem": (b"hello", key), "gateway.key": (chain, b"hello"), "fits the certificate": (chain, other), "without a password": (chain, encrypted)}
    for words, (certificate, its_key) in bad.items():
        put(certificate, its_key)
        reply = secure.admin_http.post("/reload")
        assert reply.status_code == 422 and words in reply.text and "gateway." in reply.text, reply.text
        assert served(secure) == old
    put(*kept)
    put(chain, key)
    assert secure.admin_http.post("/reload").status_code == 200
    assert served(secure) == ssl.PEM_cert_to_DER_cert(renewed.cert_chain_pems[0].bytes().decode()) != old
    before = metric(secure.metrics(), "fourways_connections_accepted_total")
    assert secure.http.get("/health").status_code == 200
    assert metric(secure.metrics(), "fourways_connections_accepted_total") == before > opened, "over the connection that it had"


def test_a_changed_certificate_is_noticed(secure, company, files):
    """As a renewal does it, one file after the other: in between key and certificate do not fit."""
    renewed = company.issue_cert("127.0.0.1", "localhost")
    pathlib.Path(files["certificate"]).write_bytes(b"".join(each.bytes() for each in renewed.cert_chain_pems))
    renewed.private_key_pem.write_to_path(files["key"])
    wanted = ssl.PEM_cert_to_DER_cert(renewed.cert_chain_pems[0].bytes().decode())
    poll(lambda: served(secure) == wanted, what="the new certificate")


@pytest.mark.threat("D2")
def test_idle_connections_over_tls_are_small(secure, ca_file):
    """At most 96 KiB of memory each."""

    def memory():
        status = pathlib.Path(f"/proc/{secure.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def idle():
        wire = connect(secure, ca_file)
        wire.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.recv(65536).startswith(b"HTTP/1.1 200")
        return wire

    with contextlib.ExitStack() as held:
        for _ in range(50):  # what is made once
            held.enter_context(idle())
        before, count = memory(), 200
        for _ in range(count):
            held.enter_context(idle())
        each = (memory() - before) / count
    print(f"KiB for an idle connection over TLS: {each:.1f}")
    if "ASAN_OPTIONS" not in os.environ and "TSAN_OPTIONS" not in os.environ:
        assert each <= 96
