"""A pytest plug-in: which threats, faults, limits and wire cases were really acted out, by tests that ran and passed.

Tests say what they are by the markers of tests/pytest.ini; ids are those of the tables in tests/README.md. At the end of a run one line
tells the counts (--exercised FILE keeps it). A complete run of tests/e2e fails when a limit or a fault has no test that passed.
"""

import collections
import pathlib
import re

import pytest
import yaml

TESTS = pathlib.Path(__file__).resolve().parents[1]
KINDS = {"fault": "faults", "threat": "threats", "limit": "limits", "wire_case": "wire cases"}

FAULTS = {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"abcdeh"}  # that a complete run asks for

# Faults and limits that tests of another kind cause: which ones, and why not these.
ELSEWHERE = {}

# Ids that a complete run will ask for once they have a test.
NOT_YET = {
    "fault": set(),
    "limit": set(),
}


def limits():
    """The keys under `limits:`: the example that holds every key of the policy."""
    policy = yaml.safe_load((TESTS.parent / "config" / "examples" / "full.yaml").read_text())
    return set(policy["limits"])


def table_ids():
    """The ids that tests/README.md explains, by kind."""
    found = collections.defaultdict(set)
    for name in re.findall(r"^\| ([A-Za-z][0-9]{0,2}) \|", (TESTS / "README.md").read_text(), re.M):
        found["threat" if len(name) > 1 else "fault"].add(name)
    return found


def in_order(ids):
    return sorted(ids, key=lambda each: (each[0].islower(), re.sub(r"\d+", lambda number: number[0].zfill(3), each)))


class Exercised:
    def __init__(self, config):
        self.config = config
        self.passed = {kind: set() for kind in KINDS}
        self.skipped = {kind: set() for kind in KINDS}  # each test says why
        self.deliveries = 0
        self.known = {**table_ids(), "limit": limits()}

    def marks(self, item):
        for mark in item.iter_markers():
            if mark.name in KINDS:
                yield from ((mark.name, each) for each in mark.args)

    def pytest_collection_modifyitems(self, items):
        wrong = [
            f"{item.nodeid}: no {kind} `{name}`"
            for item in items
            for kind, name in self.marks(item)
            if kind != "wire_case" and name not in self.known[kind]
        ]
        if wrong:
            raise pytest.UsageError("\n".join(["ids that tests/README.md does not explain, or keys that no limit has:", *wrong]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        report = yield
        if report.when == "call" and report.passed:
            for kind, name in self.marks(item):
                self.passed[kind].add(name)
            self.deliveries += sum(count for name, count in item.user_properties if name == "deliveries")
        elif report.skipped:
            for kind, name in self.marks(item):
                self.skipped[kind].add(name)
        return report

    # ---- the end ----

    def line(self):
        told = []
        for kind, plural in KINDS.items():
            ids = self.passed[kind]
            if ids:
                names = " (" + " ".join(in_order(ids)) + ")" if kind in ("fault", "threat") else ""
                told.append(f"{len(ids)} {plural}{names}")
            if kind == "wire_case" and self.deliveries:
                told[-1] += f" in {self.deliveries} deliveries"
        return "exercised: " + ", ".join(reversed(told)) if told else ""

    def complete(self, session):
        """Whether this run was of all of tests/e2e, and nothing failed."""
        chosen = [pathlib.Path(self.config.invocation_params.dir, each).resolve() for each in self.config.args]
        options = self.config.option
        narrowed = options.keyword or options.markexpr or options.collectonly or options.deselect or getattr(options, "lf", False)
        whole = any(each in (TESTS, TESTS / "e2e") for each in chosen)
        return whole and not narrowed and session.exitstatus == pytest.ExitCode.OK

    def missing(self):
        """Per kind: what a complete run should have exercised."""
        wanted = {"limit": self.known["limit"], "fault": FAULTS}
        left = {kind: ids - self.passed[kind] - self.skipped[kind] - NOT_YET[kind] - set(ELSEWHERE) for kind, ids in wanted.items()}
        return {kind: ids for kind, ids in left.items() if ids}

    def pytest_sessionfinish(self, session):
        self.lines = [self.line()] if self.line() else []
        if self.complete(session):
            for kind, ids in self.missing().items():
                self.lines.append(f"no test that passed for these {KINDS[kind]}: " + " ".join(in_order(ids)))
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            late = [each for kind, ids in NOT_YET.items() for each in ids & self.passed[kind]]
            if late:
                self.lines.append("have a test by now, so take them off NOT_YET in tests/support/exercised.py: " + " ".join(in_order(late)))
        report = self.config.getoption("--exercised")
        if report and self.lines:
            path = pathlib.Path(report)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(self.lines) + "\n")

    def pytest_terminal_summary(self, terminalreporter):
        for each in self.lines:
            terminalreporter.write_line(each)


def pytest_addoption(parser):
    parser.addoption("--exercised", metavar="FILE", help="writes which threats, faults, limits and wire cases were exercised")


def pytest_configure(config):
    config.pluginmanager.register(Exercised(config), "exercised counts")
