"""Reads tests/data/wire: one message, or a few on one connection, as literal bytes, and what must come of them (tests/README.md)."""

import dataclasses
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data" / "wire"
PLAIN = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
SINGLE = {"why", "then", "finish", "upstream", "scanner", "doors", "cuts", "id", "limit", "within"}
LISTS = {"reply", "reply has", "reply lacks", "upstream has", "upstream lacks"}


class Bad(ValueError):
    """A case file that cannot be read."""


def unescape(text, pieces):
    """The bytes that `text` stands for; `pieces` are the placeholders, by name."""
    out, at = bytearray(), 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
            continue
        rest = text[at + 1 :]
        if rest[:1] in PLAIN:
            out += PLAIN[rest[0]]
            at += 2
        elif found := re.match(r"x([0-9a-fA-F]{2})", rest):
            out.append(int(found[1], 16))
            at += 4
        elif found := re.match(r"<(\w+)>", rest):
            if found[1] not in pieces:
                raise Bad(f"no piece `{found[1]}`")
            out += pieces[found[1]]
            at += 1 + found.end()
        elif found := re.match(r"\*(\d+)\(([^()]*)\)", rest):
            out += unescape(found[2], pieces) * int(found[1])
            at += 1 + found.end()
        else:
            raise Bad(f"unknown escape at {text[at : at + 10]!r}")
    return bytes(out)


@dataclasses.dataclass
class Door:
    name: str
    pieces: dict


def read_doors():
    """Their pieces by name: `path`, `type`, `body`, what is made of these, and those that all share (`key`, `host`)."""
    shared, doors = {}, {}
    into = shared
    for line in (FOLDER / "doors").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition(": ")
        if name == "door":
            into = doors.setdefault(value, {})
        else:
            into[name] = unescape(value, {})
    made = {"": Door("", dict(shared))}
    for name, own in doors.items():
        p = {**shared, **own}
        p["size"] = str(len(p["body"])).encode()
        p["size_hex"] = b"%x" % len(p["body"])
        half = len(p["body"]) // 2
        p["chunked"] = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (p["body"][:half], p["body"][half:])) + b"0\r\n\r\n"
        p["fields"] = b"Host: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n" % (p["host"], p["key"], p["type"])
        p["post"] = b"POST %s HTTP/1.1\r\n%s" % (p["path"], p["fields"])
        p["good"] = b"%sContent-Length: %s\r\n\r\n%s" % (p["post"], p["size"], p["body"])
        made[name] = Door(name, p)
    return made


DOORS = read_doors()
MODEL_DOORS = [name for name in DOORS if name]


@dataclasses.dataclass
class Case:
    name: str
    why: str
    ids: list
    doors: list  # names; [""]: as it stands
    replies: list  # (statuses, code or None)
    has: list
    lacks: list
    then: str
    fin: bool
    upstream: int
    upstream_has: list
    upstream_lacks: list
    cuts: list
    limits: list
    within: int  # ms, or None
    text: str

    def bytes(self, door):
        return unescape(self.text, DOORS[door].pieces)

    def expand(self, texts, door):
        return [unescape(each, DOORS[door].pieces) for each in texts]


def read_case(path):
    head, mark, body = path.read_text().partition("\n--\n")
    if not mark:
        raise Bad("no line `--`")
    single, lists = {}, {name: [] for name in LISTS}
    for line in head.splitlines():
        name, colon, value = line.partition(": ")
        if name in lists and colon:
            lists[name].append(value)
        elif name in SINGLE and colon and name not in single:
            single[name] = value
        else:
            raise Bad(f"not understood: {line!r}")
    for name in ("why", "id"):
        if name not in single:
            raise Bad(f"no line `{name}`")

    replies = []
    for each in lists["reply"]:
        found = re.fullmatch(r"(\d{3}(?:\|\d{3})*)(?: (\w+))?|none", each)
        if not found:
            raise Bad(f"no reply: {each!r}")
        if each != "none":
            replies.append(([int(status) for status in found[1].split("|")], found[2]))
    if not lists["reply"]:
        raise Bad("no line `reply`")
    then = single.get("then", "closed")
    if then not in ("closed", "kept"):
        raise Bad(f"then: closed or kept, not {then!r}")
    doors = single.get("doors", "")
    return Case(
        name=path.stem,
        why=single["why"],
        ids=single["id"].split(),
        doors=MODEL_DOORS if doors == "model" else doors.split() or [""],
        replies=replies,
        has=lists["reply has"],
        lacks=lists["reply lacks"],
        then=then,
        fin=single.get("finish") == "fin",
        upstream=int(single.get("upstream", "0")),
        upstream_has=lists["upstream has"],
        upstream_lacks=lists["upstream lacks"],
        cuts=[int(each) for each in single.get("cuts", "").split()],
        limits=single.get("limit", "").split(),
        within=int(single["within"]) if "within" in single else None,
        text=body.replace("\n", ""),
    )


def read_cases():
    made = []
    for path in sorted(FOLDER.glob("*.case")):
        try:
            made.append(read_case(path))
        except Bad as why:
            raise Bad(f"{path}: {why}") from None
    return made
