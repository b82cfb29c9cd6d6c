"""The search for secrets that every test's gateway goes through at its end finds what is there: a copy is planted in each place in turn."""

import socket

import httpx
import pytest
from gateway import Gateway
from stubs import Chat

TOKEN = "hf_CANARY0that0is0planted0012345"
HELLO = [{"role": "user", "content": "hello"}]


def policy(llm, name="org/chat"):
    return {
        "tokens": {"t": {"secret": "${T}"}},
        "upstreams": {"llm": {"kind": "dedicated", "engine": "openai", "url": llm.url, "token": "t"}},
        "models": {name: {"task": "chat-completion", "route": ["llm"]}},
    }


def asked(here, model):
    return here.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO})


@pytest.mark.threat("T2")
def test_nothing_is_found_where_nothing_is(start):
    llm = start.keep(Chat())
    here = start(policy(llm), env={"T": TOKEN, "HF_TOKEN": TOKEN, "ANOTHER": "hf_named_nowhere_0123456789", "MY_SECRET": "hf_by_its_name_0123456789"})
    here.secrets.remove("hf_named_nowhere_0123456789")  # neither used nor named like one: an ordinary variable
    assert asked(here, "org/chat").status_code == 200
    assert llm.seen[0].token == TOKEN
    here.write(policy(llm, "org/other"))
    assert here.admin_http.post("/reload").status_code == 200, "a reload still knows the variables"
    assert asked(here, "org/other").status_code == 200 and llm.seen[1].token == TOKEN


@pytest.mark.threat("T2")
@pytest.mark.parametrize("place", ["environ", "cmdline", "metrics", "output", "what clients read"])
def test_a_planted_copy_is_found(tmp_path, place):
    with Chat() as llm:
        folder, env, name = tmp_path, {"T": TOKEN}, "org/chat"
        if place == "environ":
            env["OTHER"] = "not " + TOKEN
        elif place == "cmdline":
            folder = tmp_path / TOKEN
            folder.mkdir()
        elif place == "metrics":
            name = "org/" + TOKEN
        with pytest.raises(AssertionError, match=f"a secret was told: .*{place}"):
            with Gateway(policy(llm, name), folder, env=env) as here:
                if place == "output":
                    here.record(asked(here, "org/" + TOKEN))
                elif place == "what clients read":
                    with socket.create_connection(("127.0.0.1", httpx.URL(here.url).port)) as wire:
                        wire.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: " + TOKEN.encode() + b"\r\n\r\n")
                        head = b""
                        while b'"ok"' not in head:
                            head += wire.recv(20)  # cut into small reads
                else:
                    assert asked(here, name).status_code == 200
