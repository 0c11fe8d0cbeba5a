"""What is at which path: the models' routes, rebuilt when a model comes or goes, and who answers on them."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from nimify_tui import __version__
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.serving.datatypes import Slot
from nimify_tui.serving.entries import Entry, Served
from nimify_tui.serving.health import ErrorBook, diagnosis
from nimify_tui.serving.infer import ClientGone, Headers, Receive
from nimify_tui.serving.metrics import CONTENT_TYPE, Metrics
from nimify_tui.serving.openapi import document
from nimify_tui.serving.options import NAME, Options
from nimify_tui.serving.replies import Refusal, Reply, retry_after
from nimify_tui.serving.rules import Drain
from nimify_tui.serving.shelf import Shelf

Scope = dict[str, Any]
Handler = Callable[[Scope, Headers, Receive], Awaitable[Reply]]
Table = dict[str, tuple[str, Handler]]
EXTENSIONS = ("binary_tensor_data", "model_repository")
_MODEL_PATH = re.compile(r"/v2/models/([^/]*)(?:/versions/([^/]*))?(?:/(ready|infer))?/?\Z")
_CONTROL_PATH = re.compile(r"/v2/repository/models/([^/]*)/(load|unload)\Z")


class ModelRoutes:
    """One model version's answers; ``entries`` are all versions of its model."""

    def __init__(self, entry: Entry, entries: list[Entry], drain: Drain) -> None:
        self._entry, self._entries, self._drain = entry, entries, drain

    def add_to(self, table: Table, base: str) -> None:
        """Put this version at ``base``."""
        served = self._entry.served
        table[base] = ("GET", self.metadata)
        table[f"{base}/ready"] = ("GET", self.ready)
        table[f"{base}/infer"] = ("POST", served.infer if served is not None else self.refuse)

    async def refuse(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        """Not loaded."""
        entry = self._entry
        if entry.reason:
            raise Refusal(503, f"{entry.name!r} cannot be served: {entry.reason}", "unavailable")
        raise Refusal(503, "the model is still loading", "loading", retry_after(1))

    async def ready(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        """Whether this version can be asked."""
        entry = self._entry
        if self._drain.began:
            why = "draining: this process is going away"
        elif entry.served is None:
            why = entry.reason or f"the model is still loading: {entry.step}"
        else:
            return Reply(200, orjson.dumps({"name": entry.name, "ready": True}))
        return Reply(503, orjson.dumps({"name": entry.name, "ready": False, "reason": clean_line(why, 1000)}))

    async def metadata(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        """Names, types and shapes."""
        if self._entry.served is None:
            return await self.refuse(scope, headers, receive)
        model = self._entry.served.inference.model
        versions = sorted(
            (each.version for each in self._entries if each.served), key=lambda each: (len(each), each)
        )
        data = {
            "name": self._entry.name, "versions": versions, "platform": "onnxruntime_onnx",
            "inputs": _slots(model.inputs), "outputs": _slots(model.outputs),
        }  # fmt: skip
        return Reply(200, orjson.dumps(data))


class Routes:
    """The tables of the main and of the admin listener."""

    def __init__(
        self, options: Options, shelf: Shelf, metrics: Metrics, drain: Drain, errors: ErrorBook
    ) -> None:
        self._options, self._shelf, self._metrics, self._drain, self._errors = (
            options,
            shelf,
            metrics,
            drain,
            errors,
        )
        self._started_at = time.time()
        self._one_listener = False
        self.public: Table = {}
        self.private: Table = {}
        #: Where inference requests go: what answers them.
        self.served: dict[str, Served] = {}
        self.rebuild()

    def without_admin_listener(self) -> None:
        """Metrics and diagnosis move to the main listener; loading and unloading does not."""
        self._one_listener = True
        self.rebuild()

    @property
    def not_ready(self) -> str:
        """Why no inference should be sent here; "" when all is well."""
        return "draining: this process is going away" if self._drain.began else self._shelf.not_ready

    def rebuild(self) -> None:
        """The tables anew; a request that found its handler keeps it."""
        both: Table = {
            "/v2/health/live": ("GET", self._live), "/v2/health/ready": ("GET", self._ready),
            "/v2/openapi.json": ("GET", self._openapi), "/v2/repository/index": ("POST", self._index),
        }  # fmt: skip
        private: Table = {"/metrics": ("GET", self._page), "/health": ("GET", self._diagnosis), **both}
        public: Table = {"/v2": ("GET", self._server), "/v2/": ("GET", self._server), **both}
        if self._options.model_control != "explicit":
            public["/v2/repository/index"] = ("POST", self._forbidden)
        served: dict[str, Served] = {}
        for name, entries in self._shelf.by_name().items():
            for entry in entries:
                made = ModelRoutes(entry, entries, self._drain)
                bases = [f"/v2/models/{name}/versions/{entry.version}"] if entry.version else []
                for base in (*bases, f"/v2/models/{name}"):  # the default version is the last
                    made.add_to(public, base)
                    if entry.served is not None:
                        served[f"{base}/infer"] = entry.served
        if self._one_listener:
            public = {**private, **public}
        self.public, self.private, self.served = public, private, served

    def control(self, path: str, *, private: bool) -> tuple[str, Handler] | None:
        """Loading and unloading: the model's name may be one that nobody has seen yet."""
        match = _CONTROL_PATH.match(path)
        if match is None:
            return None
        if not private and self._options.model_control != "explicit":
            return "POST", self._forbidden
        name, verb = match.groups()

        async def change(_scope: Scope, _headers: Headers, receive: Receive) -> Reply:
            return await self._change(name, verb, await _read_object(receive))

        return "POST", change

    def lost(self, path: str, *, private: bool) -> Refusal:
        """Nothing is at this path: say what is."""
        match = None if private else _MODEL_PATH.match(path)
        if match is None:
            paths = ", ".join(sorted(self.private if private else self.public, key=len)[:8])
            return Refusal(404, f"nothing is at {clean_line(path, 200)}; there are {paths}", "not_found")
        model, version, _ = match.groups()
        if not NAME.match(model) or (version is not None and not NAME.match(version)):
            return Refusal(400, "names of models and versions match [A-Za-z0-9._-]{1,64}", "refused")
        known = self._shelf.by_name()
        if model not in known:
            if model in self._shelf.others:
                return Refusal(404, f"{model!r} is not loaded here: {self._shelf.others[model]}", "not_found")
            names = ", ".join(repr(name) for name in list(known)[:10]) or "none"
            return Refusal(404, f"there is no model {model!r}; this server has {names}", "not_found")
        versions = ", ".join(repr(entry.version) for entry in known[model])
        return Refusal(404, f"{model!r} has version {versions} only (and no path {path!r})", "not_found")

    async def _change(self, name: str, verb: str, given: dict[str, Any]) -> Reply:
        parameters = given.get("parameters") or {}
        if verb == "load" and parameters:
            raise Refusal(
                400, "a model is loaded as it lies in the repository: parameters are not taken", "malformed"
            )
        if not self._shelf.started:
            raise Refusal(503, "the models of the start are still loading", "loading", retry_after(1))
        if not NAME.match(name):
            raise Refusal(400, "names of models and versions match [A-Za-z0-9._-]{1,64}", "refused")
        if not self._shelf.knows(name):
            raise Refusal(404, f"there is no model {name!r}", "not_found")
        try:
            if verb == "unload":
                cut = await self._shelf.unload(name)
                return Reply(200, orjson.dumps({"name": name, "state": "UNAVAILABLE", "cut_requests": cut}))
            entries = await self._shelf.load(name)
        except NimifyError as error:
            raise Refusal(422, f"{name!r} cannot be {verb}ed: {error}", "unavailable") from None
        return Reply(200, orjson.dumps({"name": name, "versions": [entry.record() for entry in entries]}))

    async def _forbidden(self, _scope: Scope, _headers: Headers, receive: Receive) -> Reply:
        await _read_body(receive)
        words = "models are listed, loaded and unloaded on the admin listener; here only with --model-control explicit"
        raise Refusal(403, words, "refused")

    async def _index(self, _scope: Scope, _headers: Headers, receive: Receive) -> Reply:
        only_ready = (await _read_object(receive)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise Refusal(400, "'ready' must be true or false", "malformed")
        rows = [row for row in self._shelf.index() if not only_ready or row["state"] == "READY"]
        return Reply(200, orjson.dumps(rows))

    async def _server(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        return Reply(
            200, orjson.dumps({"name": "nimify-tui", "version": __version__, "extensions": EXTENSIONS})
        )

    async def _live(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        return Reply(200, b'{"live":true}')

    async def _ready(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        why = self.not_ready
        if not why:
            return Reply(200, b'{"ready":true}')
        progress = self._shelf.progress
        data = {
            "ready": False,
            "reason": clean_line(why, 1000),
            "progress": progress.record() if progress else None,
        }
        return Reply(503, orjson.dumps(data))

    async def _openapi(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        return Reply(200, orjson.dumps(document(self._shelf)))

    async def _page(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        return Reply(200, self._metrics.page(), ((b"content-type", CONTENT_TYPE),))

    async def _diagnosis(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        why = self.not_ready
        data = diagnosis(self._options, self._shelf, self._metrics, self._errors, why, self._started_at)
        return Reply(503 if why else 200, orjson.dumps(data))


def _slots(slots: tuple[Slot, ...]) -> list[dict[str, Any]]:
    return [{"name": slot.name, "datatype": slot.datatype, "shape": slot.shape} for slot in slots]


async def _read_body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _read_object(receive: Receive) -> dict[str, Any]:
    body = await _read_body(receive)
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("parameters", {}), dict):
        raise Refusal(400, "expected no body or a JSON object", "malformed")
    return value
