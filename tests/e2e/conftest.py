"""What the tests of the built binary share. FOURWAYS_BIN says which binary; scripts/test builds and sets it."""

import contextlib
import os

import make_gguf
import pytest
from gateway import BINARY, Gateway
from pictures import INVOICE, draw, encoded

# No client of these tests has a reason to look anything up at the Hub: port 9 refuses.
os.environ.update(HF_HUB_DISABLE_IMPLICIT_TOKEN="1", HF_HUB_DISABLE_TELEMETRY="1", HF_ENDPOINT="http://127.0.0.1:9")


def pytest_sessionstart(session):
    if not os.access(BINARY, os.X_OK):
        raise pytest.UsageError(f"{BINARY} is missing: scripts/build makes it, FOURWAYS_BIN names another")


@contextlib.contextmanager
def starter(new_folder):
    with contextlib.ExitStack() as stack:

        def start(policy, **how):
            return stack.enter_context(Gateway(policy, new_folder(), **how))

        start.keep = stack.enter_context  # stubs: they outlive the gateways that were started after them
        yield start


@pytest.fixture
def start(tmp_path_factory):
    """start(policy, env=, args=) -> Gateway, ended with the test; start.keep(Stub()) -> that stub, closed with it."""
    with starter(lambda: tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(scope="module")
def start_once(tmp_path_factory):
    """The same, ended with the module."""
    with starter(lambda: tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(scope="session")
def parrot_file(tmp_path_factory):
    """A real llama model whose words are known: make_gguf.SENTENCE, or digits for ever after `count`."""
    path = tmp_path_factory.mktemp("models") / "parrot.gguf"
    make_gguf.write(path)
    return path


@pytest.fixture(scope="session")
def invoice():
    """A picture that says INVOICE."""
    return encoded(draw(*INVOICE))
