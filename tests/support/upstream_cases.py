"""Reads tests/data/wire/upstream/*.case: literal answers of upstreams. tests/README.md has the format."""

import dataclasses
import pathlib

from wire_cases import unescape

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data" / "wire" / "upstream"


@dataclasses.dataclass
class Case:
    name: str
    why: str
    ids: list
    parse: str  # what the scanners say: refused, cut, whole, more; interim: the first heads are 1xx
    status: int
    code: str | None
    cut: bool  # the client sees that its answer is not whole
    body: bytes | None
    kept: bool | None  # the connection serves the next request
    ends: str  # what the upstream does then: open, fin, reset
    lacks: str | None
    limits: list  # keys under `limits:` that it runs into
    text: str

    def __str__(self):
        return self.name

    def bytes(self, **pieces):
        return unescape(self.text, {name: value.encode() for name, value in pieces.items()})


def read(path):
    head, found, text = path.read_text().partition("\n--\n")
    assert found, f"{path}: no line `--`"
    said = dict(line.split(": ", 1) for line in head.splitlines())
    reply = said.pop("reply").split()
    parse = said.pop("parse")
    made = Case(
        name=path.stem,
        why=said.pop("why"),
        ids=said.pop("id").split(),
        parse=parse,
        status=int(reply[0]),
        code=reply[1] if len(reply) > 1 else None,
        cut=said.pop("then", "cut" if parse == "cut" else "whole") == "cut",
        body=said.pop("body").encode() if "body" in said else None,
        kept={"yes": True, "no": False, None: None}[said.pop("kept", None)],
        ends=said.pop("ends", "open"),
        lacks=said.pop("reply lacks", None),
        limits=said.pop("limit", "").split(),
        text=text.replace("\n", ""),
    )
    assert not said, f"{path}: unknown lines: {said}"
    return made


def read_all():
    return [read(path) for path in sorted(FOLDER.glob("*.case"))]
