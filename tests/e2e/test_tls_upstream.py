"""TLS to upstreams: chain, name and purpose of a certificate are checked before a byte of the request, and above all of the token, is sent."""

import socket
import ssl
import threading

import certificates
import pytest
from certificates import make
from gateway import metric
from processes import poll
from stubs import Chat, Custom, Router, Toolkit, chat_text

TOKEN = "hf_canary_over_tls_0123456789"
HELLO = [{"role": "user", "content": "hello"}]
COMPANY = certificates.authority()
BAD = certificates.bad(COMPANY)
PNG = "iVBORw0KGgowMDAwMDAwMDAwMDAwMDAwMDAwMDAw"


@pytest.fixture
def ca_file(tmp_path):
    file = tmp_path / "company.pem"
    file.write_bytes(COMPANY.pem)
    return str(file)


def policy(url, **more):
    upstreams = {"llm": {"kind": "dedicated", "engine": "openai", "token": "t", "url": url, **more}}
    return {
        "tokens": {"t": {"secret": "${T}"}},
        "upstreams": upstreams,
        "models": {"org/chat": {"task": "chat-completion", "route": ["llm"]}},
    }


def chat(here, **more):
    return here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO, **more})


def error(reply):
    made = reply.json()
    inner = made["error"] if isinstance(made["error"], dict) else {"code": made["code"], "message": made["error"]}
    return inner["code"], inner["message"]


class Raw:
    """A port where talk(connection) is called for each connection, in a thread of its own; .got is what arrived there in clear text."""

    def __init__(self, talk):
        self.got, self.connections = [], 0
        self.socket_ = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket_.getsockname()[1]

        def one(peer):
            with peer:
                try:
                    talk(self, peer)
                except OSError:
                    pass  # the other side left

        def serve():
            while True:
                try:
                    peer, _ = self.socket_.accept()
                except OSError:
                    return
                self.connections += 1
                threading.Thread(target=one, args=(peer,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket_.shutdown(socket.SHUT_RDWR)
        self.socket_.close()


# ---- certificates ----


@pytest.mark.threat("R15")
@pytest.mark.fault("C")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_certificate_that_does_not_fit(start, ca_file, name, stream):
    certificate, words = BAD[name]
    llm = start.keep(Chat(tls=certificate.server(weak())))
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
    reply = chat(here, stream=stream)
    code, message = error(reply)
    assert (reply.status_code, code) == (502, "upstream_tls")
    assert message.startswith("the TLS connection to `127.0.0.1` is refused: ") and words in message and len(message) < 500
    assert reply.headers["x-fourways-route"] == "llm(unavailable)"
    assert (llm.connections, llm.seen) == (1, []), "asked once, and nothing was said"
    assert here.record(reply)["route"][0].get("bytes_sent", 0) == 0


def weak():
    """A server that shows whatever it is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.threat("R15")
@pytest.mark.parametrize("name", ["good", "through an intermediate", "a wildcard", "an address"])
def test_a_certificate_that_fits(start, ca_file, name):
    host = "localhost" if name != "an address" else "127.0.0.1"
    by = certificates.authority("Between", by=COMPANY) if name == "through an intermediate" else COMPANY
    llm = start.keep(Chat(tls=make("127.0.0.1", "localhost", by=by).server()))
    here = start(policy(f"https://{host}:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
    assert chat(here).json()["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert llm.seen[0].token == TOKEN


@pytest.mark.threat("R15")
def test_without_ca_file_a_companys_authority_is_unknown(start):
    llm = start.keep(Chat(tls=make("127.0.0.1", by=COMPANY).server()))
    here = start(policy(f"https://127.0.0.1:{llm.port}"), env={"T": TOKEN})
    code, message = error(chat(here))
    assert code == "upstream_tls" and "`ca_file`" in message and llm.seen == []


@pytest.mark.threat("R15")
@pytest.mark.parametrize("kind", ["serverless", "toolkit", "custom", "local"])
def test_every_kind_of_upstream_is_checked(start, ca_file, kind):
    entry = {"kind": kind if kind in ("serverless", "local") else "dedicated"}
    if kind == "custom":
        entry |= {"engine": "custom", "request": {"image": "$base64"}, "answer": "/predictions"}
    stub = start.keep({"serverless": Router, "toolkit": Toolkit, "custom": Custom, "local": Toolkit}[kind]())
    with Raw(lambda raw, peer: BAD["an unknown authority"][0].server().wrap_socket(peer, server_side=True).recv(1)) as bad:
        upstreams = {
            "bad": {**entry, "token": "t", "url": f"https://127.0.0.1:{bad.port}", **({} if kind == "serverless" else {"ca_file": ca_file})},
            "good": {"kind": "dedicated", "url": stub.url} if kind != "custom" else {**entry, "url": stub.url},
        }
        models = {"org/vit": {"task": "image-classification", "route": ["bad"]}, "org/both": {"task": "image-classification", "route": ["bad", "good"]}}
        here = start({"tokens": {"t": {"secret": "${T}"}}, "upstreams": upstreams, "models": models}, env={"T": TOKEN})
        for path, body in (("/v1/inference", {"model": "org/vit", "inputs": PNG}), ("/models/org/vit", {"inputs": PNG})):
            reply = here.http.post(path, json=body)
            assert (reply.status_code, error(reply)[0]) == (502, "upstream_tls")
        reply = here.http.post("/v1/inference", json={"model": "org/both", "inputs": PNG})
        assert " good(" in reply.headers["x-fourways-route"], "the next candidate is asked"


def test_sni_names_the_host_and_no_address(start, ca_file):
    names = []
    context = make("127.0.0.1", "localhost", by=COMPANY).server()
    context.sni_callback = lambda sock, name, _: names.append(name)
    llm = start.keep(Chat(tls=context))
    for host, said in (("localhost", "localhost"), ("127.0.0.1", None)):
        here = start(policy(f"https://{host}:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
        assert chat(here).status_code == 200
        assert names.pop() == said


def test_http_1_1_is_all_that_is_offered(start, ca_file):
    context = make("127.0.0.1", by=COMPANY).server()
    context.set_alpn_protocols(["h2", "http/1.1"])
    llm = start.keep(Chat(tls=context))
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
    assert chat(here).status_code == 200


# ---- what is no TLS, or no TLS of today ----


@pytest.mark.threat("R15")
def test_an_upstream_that_speaks_no_tls(start, ca_file):
    def talk(raw, peer):
        raw.got.append(peer.recv(65536))
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        try:
            raw.got.append(peer.recv(65536))
        except ConnectionResetError:  # OpenSSL 3.5 reads no more of it than it needs to refuse it
            raw.got.append(b"")

    with Raw(talk) as plain:
        here = start(policy(f"https://127.0.0.1:{plain.port}", ca_file=ca_file), env={"T": TOKEN})
        reply = chat(here)
        code, message = error(reply)
        assert (reply.status_code, code) == (502, "upstream_tls")
        assert "`127.0.0.1`" in message and "does not speak TLS" in message and "`http://`" in message
        poll(lambda: len(plain.got) == 2)
        got = b"".join(plain.got)
        assert got.startswith(b"\x16\x03") and TOKEN.encode() not in got and b"POST" not in got, "a ClientHello and nothing else"
        assert plain.connections == 1, "no second try, and above all none in clear text"


@pytest.mark.threat("R15")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_protocols_are_not_spoken(start, ca_file):
    context = make("127.0.0.1", by=COMPANY).server(weak())
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    llm = start.keep(Chat(tls=context))
    here = start(policy(f"https://127.0.0.1:{llm.port}", ca_file=ca_file), env={"T": TOKEN})
    code, message = error(chat(here))
    assert code == "upstream_tls" and "TLS 1.2" in message and llm.seen == []


def test_a_handshake_that_is_reset_is_tried_again(start, ca_file):
    """Nothing was said yet: that is no word about its certificate."""
    good = make("127.0.0.1", by=COMPANY).server()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + b'{"choices":[]}'

    def talk(raw, peer):
        if raw.connections == 1:
            peer.recv(10)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        with good.wrap_socket(peer, server_side=True) as wire:
            raw.got.append(wire.recv(65536))
            wire.sendall(answer)
            wire.recv(1)

    with Raw(talk) as flaky:
        here = start(policy(f"https://127.0.0.1:{flaky.port}", ca_file=ca_file), env={"T": TOKEN})
        assert chat(here).status_code == 200
        assert flaky.connections == 2 and len(flaky.got) == 1


def test_a_handshake_that_hangs_ends_with_the_connect_limit(start, ca_file):
    with Raw(lambda raw, peer: peer.recv(65536) and raw.got.append(peer.recv(65536))) as silent:
        made = policy(f"https://127.0.0.1:{silent.port}", ca_file=ca_file, timeout={"connect": "200ms"})
        here = start(made, env={"T": TOKEN})
        reply = chat(here)
        code, message = error(reply)
        assert (reply.status_code, code) == (504, "timeout") and "timeout.connect" in message
        assert reply.elapsed.total_seconds() < 4
        poll(lambda: silent.got == [b""], what="the connection is closed")


@pytest.mark.fault("E")
@pytest.mark.parametrize("how", ["whole", "cut"])
@pytest.mark.parametrize("door", ["plain", "stream"])
def test_an_answer_that_lasts_until_the_end_needs_a_close_notify(start, ca_file, how, door):
    """Without it anybody on the way could have cut the answer: it is passed on as a cut."""
    good = make("127.0.0.1", by=COMPANY).server()
    kind = b"application/json" if door == "plain" else b"text/event-stream"
    body = b'{"choices":[{"message":{"content":"hi"}}]}' if door == "plain" else b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'

    def talk(raw, peer):
        wire = good.wrap_socket(peer, server_side=True)
        wire.recv(65536)
        wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s" % (kind, body))
        if how == "whole":
            wire.unwrap()
        else:
            socket.socket(fileno=wire.detach()).close()

    with Raw(talk) as upstream:
        here = start(policy(f"https://127.0.0.1:{upstream.port}", ca_file=ca_file), env={"T": TOKEN})
        with socket.create_connection(("127.0.0.1", int(here.url.rpartition(":")[2]))) as client:
            asked = b'{"model":"org/chat","messages":[{"role":"user","content":"x"}]%s}' % (b',"stream":true' if door == "stream" else b"")
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(asked), asked))
            got = b""
            while block := client.recv(65536):
                got += block
        if how == "whole":
            assert got.startswith(b"HTTP/1.1 200") and got.endswith(b"\r\n0\r\n\r\n") and b'"hi"' in got
        else:
            assert not got.endswith(b"\r\n0\r\n\r\n") or b"HTTP/1.1 502" in got


# ---- the environment decides nothing ----


@pytest.mark.threat("R12")
def test_variables_of_the_environment(start, ca_file, tmp_path):
    """What would change TLS elsewhere is ignored, or it is told at the start that it counts."""
    keys = tmp_path / "keys"
    with Raw(lambda raw, peer: raw.got.append(peer.recv(65536))) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        env = {"T": TOKEN, "HTTPS_PROXY": url, "https_proxy": url, "ALL_PROXY": url, "SSLKEYLOGFILE": str(keys), "SSL_CERT_FILE": ca_file}
        llm = start.keep(Chat(tls=make("127.0.0.1", by=COMPANY).server()))
        here = start(policy(f"https://127.0.0.1:{llm.port}"), env=env)
        assert chat(here).status_code == 200, "the one that says which authorities are trusted counts"
        assert proxy.connections == 0 and not keys.exists()
        for name in ("HTTPS_PROXY", "https_proxy", "SSLKEYLOGFILE", "SSL_CERT_FILE"):
            assert here.logged(f"the environment sets `{name}`")


def test_the_next_candidate_when_a_certificate_does_not_fit(start, ca_file):
    bad = start.keep(Chat(tls=BAD["an unknown authority"][0].server()))
    good = start.keep(Chat(tls=make("127.0.0.1", by=COMPANY).server()))
    made = policy(f"https://127.0.0.1:{bad.port}", ca_file=ca_file)
    made["upstreams"]["second"] = {"kind": "dedicated", "engine": "openai", "url": f"https://127.0.0.1:{good.port}", "ca_file": ca_file}
    made["models"]["org/chat"]["route"] = ["llm", "second"]
    here = start(made, env={"T": TOKEN})
    reply = chat(here)
    assert reply.json()["choices"][0]["message"]["content"] == chat_text(HELLO)
    assert reply.headers["x-fourways-route"].endswith(" second(200)")
    assert bad.seen == [] and good.seen[0].token is None, "a token goes only to its own upstream"
    assert metric(here.metrics(), "fourways_attempts_total", upstream="llm", outcome="unavailable") == 1
