"""Above all Python tests: what counts them by the ids of tests/README.md."""

pytest_plugins = ["exercised"]
