"""Reloads: what is new counts at once, what goes on is not disturbed, and what is bad changes nothing."""

import concurrent.futures
import contextlib
import itertools
import os
import signal
import ssl
import threading

import httpx
import pytest
import trustme
from gateway import fourways, metric
from processes import poll
from stubs import Chat, Reply, Toolkit, fingerprint, limited

HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(100))


@pytest.fixture
def toolkit(start):
    return start.keep(Toolkit())


def policy(toolkit, more=None, **upstream):
    upstreams = {"toolkit": {"kind": "dedicated", "url": toolkit.url, **upstream}}
    return {"upstreams": upstreams, "models": {"org/vit": {"task": "image-classification", "route": ["toolkit"]}}, **(more or {})}


def ask(here, **headers):
    return here.http.post("/models/org/vit", content=PNG, headers=headers)


def reloaded(here):
    reply = here.admin_http.post("/reload")
    assert reply.status_code == 200, reply.text


def issued(folder, company=None):
    """A certificate and its key as files; another pair each time."""
    folder.mkdir(exist_ok=True)
    made = (company or trustme.CA()).issue_cert("127.0.0.1", "localhost")
    chain, key = folder / "gateway.pem", folder / "gateway.key"
    chain.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    made.private_key_pem.write_to_path(key)
    return chain, key


def own(pid):
    """Descriptors and threads of a process."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


# ---- bad files ----


def bomb():
    """A billion laughs."""
    return "\n".join(["a: &a [x,x,x,x,x,x,x,x,x]"] + [f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]" for n in range(8)])


GOOD = '{"upstreams": {"own": {"kind": "local", "url": "http://127.0.0.1:9"}}, "models": {"m": {"route": ["own"]}}}\n'

BAD = {  # what stands in the file, and what is said of it, behind the file's name
    "syntax": ("upstreams: { own: [\n", ":2: not YAML"),
    "unknown key": (GOOD.replace('"models"', '"limitz": {}, "models"'), ":1: limitz: unknown key; did you mean `limits`?"),
    "empty": ("", ": is empty"),
    "missing token file": ('tokens: { t: { secret: "file:gone" } }\n' + "upstreams: {}\nmodels: {}\n", ":1: tokens.t.secret: the file"),
    "unset variable": ('tokens: { t: { secret: "${NO_SUCH_VARIABLE}" } }\nupstreams: {}\nmodels: {}\n', ":1: tokens.t.secret"),
    "too large": ("# " + "x" * (17 << 20) + "\n", ": is larger than"),
    "duplicate listener": ("listen: [127.0.0.1:7, 127.0.0.1:7]\nupstreams: {}\nmodels: {}\n", ":1: listen[1]: this address"),
    "admin on a listener": ("listen: 127.0.0.1:7\nadmin: 127.0.0.1:7\nupstreams: {}\nmodels: {}\n", ":2: admin"),
    "duplicate key": ("models: {}\nupstreams: {}\nmodels: {}\n", ":3: models: duplicate key"),
    "NUL": (b"upstreams: {}\n# \0\nmodels: {}\n", ":2: not YAML: a NUL byte"),
    "no UTF-8": (b"upstreams: {}\nmodels: { \xff\xfe: {} }\n", ":2: bytes that are not UTF-8"),
    "overlong UTF-8": (b"upstreams: {}\n\nmodels: { \xc0\xaf: {} }\n", ":3: bytes that are not UTF-8"),
    "UTF-16": ("upstreams: {}\n".encode("utf-16"), ":1: bytes that are not UTF-8"),
    "a bomb": (bomb(), ":1: anchors"),
    "an alias": ("models: *m\n", ":1: not YAML"),
    "deep": ("a: " + "[" * 100_000, ":1: "),
    "deep maps": ("a: " + "{a: " * 100_000, ":1: nested too deeply"),
    "two documents": ("---\nupstreams: {}\n---\nmodels: {}\n", ":3: a second document"),
    "a list": ("- a\n- b\n", ":1: "),
    "open to the network": ("listen: 0.0.0.0:7\nupstreams: {}\nmodels: {}\n", ":1: listen"),
    "no number": ("limits: { connections: many }\nupstreams: {}\nmodels: {}\n", ":1: limits.connections"),
}


def broken(path, kind):
    """The policy at `path` becomes unusable in a way that no text can say."""
    path.unlink()
    if kind == "a directory":
        path.mkdir()
        return ": cannot be read: it is a directory"
    if kind == "a pipe":
        os.mkfifo(path)
        return ": "
    if kind == "a loop of links":
        path.symlink_to(path.name)
        return ": cannot be read: Too many levels"
    if kind == "for ever":
        path.symlink_to("/dev/zero")
        return ": is larger than"
    return ": cannot be read: No such file"


@pytest.mark.fault("c")
@pytest.mark.parametrize("name", [*BAD, "gone", "a directory", "a pipe", "a loop of links", "for ever"])
def test_a_bad_policy_changes_nothing_and_says_why(start, toolkit, name):
    here = start(policy(toolkit))
    if name in BAD:
        text, said = BAD[name]
        new = here.config.with_suffix(".new")
        new.write_bytes(text if isinstance(text, bytes) else text.encode())
        new.rename(here.config)
    else:
        said = broken(here.config, name)
    reply = here.admin_http.post("/reload")
    assert reply.status_code == 422 and reply.json()["reloaded"] is False
    problems = reply.json()["problems"]
    assert any(f"{here.config}{said}" in each for each in problems), problems
    here.logged("reload failed", because="POST /reload")
    lines = [line for line in here.log if line["text"].startswith("reload failed") and line["because"] == "POST /reload"]
    assert len(lines) == 1 and lines[0]["level"] == "error" and lines[0]["problem"] == problems[0]
    assert metric(here.metrics(), "fourways_reload_failed_total") >= 1
    assert ask(here).status_code == 200, "the old one serves"
    with contextlib.suppress(OSError):
        here.config.rmdir()
    here.write(policy(toolkit))
    reloaded(here)


@pytest.mark.fault("c")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_policy_at_the_start_binds_nothing(tmp_path, name):
    text, said = BAD[name]
    path = tmp_path / "policy.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = fourways("serve", "--config", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path}{said}" in done.stderr


@pytest.mark.fault("c")
def test_unusable_certificates_change_nothing(start, toolkit, tmp_path):
    chain, key = issued(tmp_path)
    here = start(policy(toolkit, {"listen": [{"address": "127.0.0.1:0", "tls": {"certificate": str(chain), "key": str(key)}}]}), client={"verify": False})
    good_chain, good_key = chain.read_bytes(), key.read_bytes()
    other_key = issued(tmp_path / "other")[1].read_bytes()
    for bad_chain, bad_key in ((b"", good_key), (good_chain, b"nonsense"), (good_chain, other_key), (good_key, good_chain)):
        chain.write_bytes(bad_chain)
        key.write_bytes(bad_key)
        reply = here.admin_http.post("/reload")
        assert reply.status_code == 422 and f"{here.config}: listen: tls." in reply.json()["problems"][0], reply.text
        assert ask(here).status_code == 200
    chain.write_bytes(good_chain)
    key.write_bytes(good_key)
    reloaded(here)


@pytest.mark.fault("c")
def test_a_policy_that_would_expose_a_listener_is_refused(start, toolkit):
    """The sockets stay those of the start, so a policy without keys may not take them over, wherever it would listen."""
    digest = fourways("keygen").stdout.split("policy")[1].strip()
    shown = policy(toolkit, {"listen": "0.0.0.0:0", "clients": {"app": {"keys": [digest.strip('"')]}}})
    here = start(shown)
    port = here.url.rpartition(":")[2]
    here.write(policy(toolkit))  # open, and for this machine only
    reply = here.admin_http.post("/reload")
    assert reply.status_code == 422 and "needs a restart" in reply.text and str(here.config) in reply.text
    assert httpx.post(f"http://127.0.0.1:{port}/models/org/vit", content=PNG).status_code == 401, "keys are asked for still"


# ---- what is new counts ----


@pytest.mark.fault("b")
def test_limits_and_clients_change_for_the_next_request(start, toolkit):
    here = start(policy(toolkit))
    assert ask(here).status_code == 200
    here.write(policy(toolkit, {"limits": {"payload_bytes": "50"}}))
    reloaded(here)
    assert ask(here).status_code == 413
    made = fourways("keygen").stdout.split()
    key, digest = made[1], made[3].strip('"')
    here.write(policy(toolkit, {"clients": {"app": {"keys": [digest]}}}))
    reloaded(here)
    assert ask(here).status_code == 401 and ask(here, authorization=f"Bearer {key}").status_code == 200
    here.write(policy(toolkit))
    reloaded(here)
    assert ask(here).status_code == 200


@pytest.mark.fault("b")
def test_what_needs_a_restart_says_so(start, toolkit, tmp_path):
    here = start(policy(toolkit))
    here.write(policy(toolkit, {"spool": {"dir": str(tmp_path)}, "listen": "127.0.0.1:1"}))
    reloaded(here)
    assert here.logged("another `spool` needs a restart")["level"] == "warning"
    assert here.logged("another listen or admin address needs a restart")["level"] == "warning"
    assert ask(here).status_code == 200


@pytest.mark.fault("b")
@pytest.mark.parametrize("swap", ["in place", "rename", "symlink"])
def test_a_token_that_is_rotated_in_its_file(start, toolkit, tmp_path, swap):
    """As secrets are mounted by Kubernetes: `token` is a link into `..data`, which is a link that is swapped."""
    for name, value in (("one", "hf_first_secret"), ("two", "hf_second_secret")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(value + "\n")
    (tmp_path / "..data").symlink_to("one")
    token = tmp_path / "token"
    if swap == "symlink":
        token.symlink_to("..data/token")
    else:
        token.write_text("hf_first_secret\n")
    tokens = {"tokens": {"acme": {"secret": f"file:{token}"}}}
    here = start(policy(toolkit, {**tokens, "models": {"org/vit": {"task": "image-classification", "route": ["toolkit"], "fallback": {"max_wait": "0s"}}}}, token="acme"))
    toolkit.when(limited("600"), token="hf_first_secret")
    assert ask(here).status_code == 429 and toolkit.seen[-1].token == "hf_first_secret"
    reloaded(here)
    assert ask(here).status_code == 429 and len(toolkit.seen) == 1, "what was learned of a token outlives a reload"

    if swap == "symlink":
        (tmp_path / "..new").symlink_to("two")
        (tmp_path / "..new").rename(tmp_path / "..data")
    elif swap == "rename":
        (tmp_path / "two" / "token").rename(token)
    else:
        token.write_text("hf_second_secret\n")
    reply = poll(lambda: (lambda got: got if got.status_code == 200 else None)(ask(here)), 30, "the new one is used, without a word")
    assert reply.json()[0]["label"] == fingerprint(PNG) and toolkit.seen[-1].token == "hf_second_secret"
    assert here.logged("reloaded", because="a changed file")
    told = "".join(here.told_) + here.metrics()
    assert "hf_first_secret" not in told and "hf_second_secret" not in told


@pytest.mark.fault("b")
def test_a_certificate_that_is_renewed(start, toolkit, tmp_path):
    chain, key = issued(tmp_path)
    here = start(policy(toolkit, {"listen": [{"address": "127.0.0.1:0", "tls": {"certificate": str(chain), "key": str(key)}}]}), client={"verify": False})

    def shown():
        return ssl.get_server_certificate(("127.0.0.1", httpx.URL(here.url).port))

    before = shown()
    assert ask(here).status_code == 200
    issued(tmp_path)  # key and certificate are written one after the other: what does not fit is refused meanwhile
    poll(lambda: shown() != before, 30, "the new certificate")
    assert ask(here).status_code == 200, "on the connection that was there before"


@pytest.mark.fault("b")
def test_a_changed_ca_file_counts_for_the_next_connection(start, tmp_path):
    good, other = trustme.CA(), trustme.CA()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(other.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    good.issue_cert("localhost").configure_cert(context)
    llm = start.keep(Chat(tls=context))
    upstream = {"kind": "dedicated", "engine": "openai", "url": f"https://localhost:{llm.port}", "ca_file": str(ca)}
    here = start({"upstreams": {"llm": upstream}, "models": {"org/chat": {"task": "chat-completion", "route": ["llm"]}}})

    def ask(here):
        return here.http.post("/v1/chat/completions", json={"model": "org/chat", "messages": HELLO})

    assert ask(here).json()["error"]["code"] == "upstream_tls"
    ca.write_bytes(good.cert_pem.bytes())
    poll(lambda: ask(here).status_code == 200, 30, "the new authority is trusted")
    ca.write_bytes(other.cert_pem.bytes())
    poll(lambda: ask(here).status_code == 502, 30, "and no longer, on no connection that is kept")


# ---- what goes on is not disturbed ----


@pytest.mark.fault("b")
def test_connections_to_an_upstream_that_stays_are_used_on(start, toolkit):
    here = start(policy(toolkit), threads=1)
    ask(here)
    assert toolkit.connections == 1
    for n in range(10):
        here.write(policy(toolkit, {"limits": {"json_depth": 10 + n}}))
        reloaded(here)
        assert ask(here).status_code == 200
    assert toolkit.connections == 1


@pytest.mark.fault("b")
def test_connections_to_an_upstream_that_went_are_closed_and_never_kept(start, toolkit):
    new = start.keep(Toolkit())
    gate = threading.Event()
    here = start(policy(toolkit), threads=1)
    ask(here)
    toolkit.when(lambda seen: gate.wait(60) and toolkit.usual(seen), times=1)
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        busy = aside.submit(httpx.post, here.url + "/models/org/vit", content=PNG, timeout=60)
        poll(lambda: len(toolkit.seen) == 2, what="it is at work")
        idle = httpx.post(here.url + "/models/org/vit", content=PNG)  # a second connection, which idles then
        assert idle.status_code == 200 and toolkit.connections == 2
        here.write(policy(new))
        reloaded(here)
        poll(lambda: len(toolkit.open_) == 1, what="the idle one is closed")
        assert ask(here).status_code == 200 and len(new.seen) == 1
        gate.set()
        assert busy.result(30).json()[0]["label"] == fingerprint(PNG), "what was in flight keeps the old policy"
    poll(lambda: not toolkit.open_, what="the one that worked is closed behind it")


@pytest.mark.fault("b")
def test_a_learned_limit_outlives_a_reload(start, toolkit):
    here = start(policy(toolkit))
    gate = threading.Event()
    turn = itertools.count()

    def one_at_a_time(seen):
        if next(turn) > 0:
            return Reply({"error": "queue full"}, 429)
        gate.wait(60)
        return toolkit.usual(seen)

    toolkit.when(one_at_a_time, times=2)
    with concurrent.futures.ThreadPoolExecutor(2) as crowd:
        first = crowd.submit(ask, here)
        poll(lambda: len(toolkit.seen) == 1, what="the first is up")
        second = crowd.submit(ask, here)
        poll(lambda: metric(here.metrics(), "fourways_upstream_limit", upstream="toolkit") == 1, what="it bears one")
        reloaded(here)
        assert metric(here.metrics(), "fourways_upstream_limit", upstream="toolkit") == 1
        gate.set()
        assert [each.result(60).status_code for each in (first, second)] == [200, 200]


@pytest.mark.fault("b")
def test_a_hundred_reloads_leave_nothing_behind(start, toolkit, tmp_path):
    chain, key = issued(tmp_path)
    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": {"certificate": str(chain), "key": str(key)}}]
    here = start(policy(toolkit, {"listen": listen}))

    def turn(n):
        here.write(policy(toolkit, {"listen": listen, "limits": {"json_depth": 10 + n}}))
        reloaded(here)
        assert ask(here).status_code == 200

    for n in range(5):
        turn(n)
    before = own(here.process.pid)
    for n in range(100):
        turn(n)
    after = own(here.process.pid)
    assert after[1] == before[1] and after[0] <= before[0] + 2, (before, after)


@pytest.mark.fault("b")
def test_reloads_under_load_fail_no_request(start, toolkit):
    """Nine reloads, by signal and by request, while fresh and kept connections ask: scripts/soak does it with real load."""
    here = start(policy(toolkit), threads=4)
    over, done, failed = threading.Event(), itertools.count(), []

    def keep_asking(kept):
        with httpx.Client(base_url=here.url, timeout=60) as client:
            while not over.is_set():
                try:
                    reply = client.post("/models/org/vit", content=PNG, headers={} if kept else {"connection": "close"})
                    if reply.status_code != 200 or reply.json()[0]["label"] != fingerprint(PNG):
                        failed.append(reply.text)
                except Exception as fault:
                    failed.append(repr(fault))
                next(done)

    with concurrent.futures.ThreadPoolExecutor(4) as crowd:
        asking = [crowd.submit(keep_asking, kept) for kept in (True, True, False, False)]
        try:
            for n in range(1, 10):
                here.write(policy(toolkit, {"limits": {"json_depth": 10 + n}}))
                if n % 2:
                    here.signal(signal.SIGHUP)
                    poll(lambda: metric(here.metrics(), "fourways_reloads_total") >= n, what="reloaded")  # noqa: B023
                else:
                    reloaded(here)
                reached = next(done)
                poll(lambda: next(done) > reached + 10, what="load between two reloads")  # noqa: B023
        finally:
            over.set()
        for each in asking:
            each.result(60)
    assert not failed, failed[:3]


@pytest.mark.fault("b")
def test_a_large_policy_holds_nobody_up(start, toolkit):
    """10,000 models: requests are answered while it is read."""
    here = start(policy(toolkit))
    models = {f"org/model-{n}": {"task": "image-classification", "route": ["toolkit"], "aliases": [f"alias-{n}"]} for n in range(10_000)}
    here.write(policy(toolkit, {"models": {**policy(toolkit)["models"], **models}}))
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        loading = aside.submit(here.admin_http.post, "/reload", timeout=120)
        asked = 0
        while not loading.done():
            assert ask(here).status_code == 200
            asked += 1
        assert loading.result().json() == {"reloaded": True, "models": 10_001}
    assert asked > 1
    assert here.http.post("/models/alias-9999", content=PNG).status_code == 200
