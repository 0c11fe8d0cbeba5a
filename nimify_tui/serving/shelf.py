"""The models of one process: loaded, replaced and unloaded while requests go on.

All but the loading itself happens on the event loop. A version is replaced only when the new one is ready; what is
taken away first answers the requests that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from nimify_tui.base.errors import ConfigurationError, ModelError, NimifyError, ValidationError
from nimify_tui.serving.artifacts import ArtifactCache
from nimify_tui.serving.entries import LOADING, READY, UNAVAILABLE, UNLOADING, Entry, Progress, Served
from nimify_tui.serving.infer import Inference
from nimify_tui.serving.logs import JsonLog
from nimify_tui.serving.metrics import Metrics
from nimify_tui.serving.model import Model
from nimify_tui.serving.opening import Opener
from nimify_tui.serving.options import Options
from nimify_tui.serving.repository import Found, Repository
from nimify_tui.serving.settings import from_flags
from nimify_tui.serving.turns import Room, Turns


class Shelf:
    """``changed`` is called whenever what can be asked for is another set. ``failed`` is told of each failure."""

    def __init__(
        self, options: Options, log: JsonLog, metrics: Metrics, changed: Callable[[], None],
        failed: Callable[[NimifyError, str], None],
    ) -> None:  # fmt: skip
        """Raises ConfigurationError for an artifact cache that cannot be used."""
        self._options, self._log, self._metrics, self._changed, self._failed = (
            options,
            log,
            metrics,
            changed,
            failed,
        )
        self.artifacts: ArtifactCache | None = None
        if options.artifact_cache is not None:
            self.artifacts = ArtifactCache(options.artifact_cache, options.artifact_cache_bytes)
        metrics.artifacts = self.artifacts
        self.is_repository = options.model.is_dir()
        self._repository = Repository(options.model, from_flags(options)) if self.is_repository else None
        self.entries: dict[tuple[str, str], Entry] = {}
        #: Models that lie in the repository and were not asked for, or were unloaded; and why one cannot be served.
        self.others: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._turns, self.room = Turns(), Room(options.max_held_bytes)
        self._started = False
        self._position = (0, 0)
        self._loading: list[Entry] = []

    @property
    def progress(self) -> Progress | None:
        """What is loading now."""
        if not self._loading:
            return None
        entry, (number, count) = self._loading[-1], self._position
        return Progress(entry.name, entry.version, number, count, entry.step, entry.since)

    @property
    def started(self) -> bool:
        """Whether loading was tried for all that was wanted at the start."""
        return self._started

    @property
    def not_ready(self) -> str:
        """Why not all wanted models can be asked; "" when they can."""
        progress = self.progress
        if not self._started:
            return (
                "the model is still loading"
                if progress is None or progress.count == 1
                else "models are still loading"
            )
        missing = [
            entry for entry in self.entries.values() if entry.served is None and entry.state != UNLOADING
        ]
        return "; ".join(
            f"{each.name} version {each.version}: {each.reason or each.state}" for each in missing[:5]
        )

    def served(self) -> list[Entry]:
        """What still answers requests."""
        return [entry for entry in self.entries.values() if entry.served is not None]

    def by_name(self) -> dict[str, list[Entry]]:
        """What can be asked, or is meant to be: the versions of each model, the default one last."""
        made: dict[str, list[Entry]] = {}
        for entry in self.entries.values():
            if entry.state != UNLOADING:
                made.setdefault(entry.name, []).append(entry)
        for entries in made.values():
            entries.sort(key=lambda each: (each.served is not None, len(each.version), each.version))
        return made

    async def start(self) -> None:
        """Load all wanted models. Raises NimifyError when there is nothing to serve."""
        if self._repository is None:
            options = self._options
            found = [Found(options.name, from_flags(options), {options.version: options.model})]
        else:
            found = list((await asyncio.to_thread(self._repository.scan)).values())
            if not found and self._options.model_control != "explicit":
                raise ConfigurationError(
                    "the repository holds no model",
                    "put one at NAME/1/model.onnx, or start with --model-control explicit",
                )
        wanted = [entry for each in found if each.settings.load or each.problem for entry in self._put(each)]
        self.others |= {
            each.name: "not loaded: its settings say load = false"
            for each in found
            if not self._has(each.name)
        }
        first: NimifyError | None = None
        self._changed()
        for number, entry in enumerate(wanted, 1):
            self._position = (number, len(wanted))
            error = await self._fill(entry) if entry.state == LOADING else ModelError(entry.reason)
            first = first or error
        if wanted and not self.served() and first is not None:
            if len(wanted) == 1:
                raise first
            raise ModelError(
                f"none of {len(wanted)} models can be served; the first: {first.message}", first.remedy
            )
        self._started = True
        self._changed()

    async def load(self, name: str) -> list[Entry]:
        """Load a model as it lies there now; a running version goes on until the new one is ready.

        Raises ModelError when the model is not there or one of its versions cannot be loaded.
        """
        async with self._lock(name):
            found = await self._look(name)
            if found.problem:
                self._note(ModelError(found.problem), name)
                raise ModelError(found.problem)
            gone = [
                entry
                for key, entry in self.entries.items()
                if key[0] == name and key[1] not in found.versions
            ]
            entries = self._put(found)
            self.others.pop(name, None)
            self._changed()
            errors = []
            for number, entry in enumerate(entries, 1):
                self._position = (number, len(entries))
                error = await self._fill(entry)
                if error is not None:
                    errors.append(error)
            if errors:
                raise errors[0]
            await self._take_away(gone)
            return entries

    async def unload(self, name: str) -> int:
        """Take a model away, its requests answered first; how many were cut off. Raises ModelError: not here."""
        async with self._lock(name):
            entries = [entry for key, entry in self.entries.items() if key[0] == name]
            if not entries:
                raise ModelError(f"there is no loaded model {name!r}")
            self.others[name] = "unloaded"
            return await self._take_away(entries)

    def index(self) -> list[dict[str, str]]:
        """Triton's repository index: every version, and what lies there and is not loaded."""
        rows = [entry.record() for entry in self.entries.values()]
        rows += [
            {"name": name, "version": "", "state": UNAVAILABLE, "reason": why}
            for name, why in self.others.items()
        ]
        return sorted(rows, key=lambda row: (row["name"], row["version"].zfill(10)))

    def knows(self, name: str) -> bool:
        """Whether a model of this name is here, or lies in the repository now."""
        return (
            self._has(name)
            or name in self.others
            or (self._repository is not None and self._repository.has(name))
        )

    def cut_off(self) -> None:
        """The time of the process is over."""
        for entry in self.served():
            assert entry.served is not None
            entry.served.inference.cut_off()

    def close(self) -> None:
        """End the workers, as far as they let themselves be ended."""
        for entry in self.served():
            assert entry.served is not None
            entry.served.inference.scheduler.close(0.2)

    def _has(self, name: str) -> bool:
        return any(key[0] == name for key in self.entries)

    def _lock(self, name: str) -> asyncio.Lock:
        # Names come from clients of the admin listener: only those that are there get a lock.
        if not self.knows(name):
            raise ModelError(f"there is no model {name!r}")
        return self._locks.setdefault(name, asyncio.Lock())

    async def _look(self, name: str) -> Found:
        if self._repository is None:
            return Found(name, from_flags(self._options), {self._options.version: self._options.model})
        return await asyncio.to_thread(self._repository.look, name)

    def _put(self, found: Found) -> list[Entry]:
        """Entries for what was found; those that run go on running."""
        if found.problem:
            self._note(ModelError(found.problem), found.name)
            versions = {"": self._options.model}  # which versions there would be is not known
        else:
            versions = found.versions
        made = []
        for version, path in versions.items():
            entry = self.entries.get((found.name, version))
            if entry is None:
                entry = self.entries[found.name, version] = Entry(found.name, version, path, found.settings)
            entry.path, entry.settings = path, found.settings
            entry.state, entry.reason = (UNAVAILABLE, found.problem) if found.problem else (LOADING, "")
            made.append(entry)
        return made

    async def _fill(self, entry: Entry) -> NimifyError | None:
        """Load an entry's file and let it serve; the error when that cannot be."""
        entry.state, entry.reason = LOADING, ""
        self._loading.append(entry)
        opener = Opener(self._options.provider, self.artifacts, lambda words: _stepped(entry, words))
        try:
            model = await _in_thread(lambda: Model(entry.path, entry.settings.threads, opener))
        except NimifyError as error:
            if entry.served is not None:
                entry.state, entry.reason = READY, f"still the file from before: {error.message}"
            else:
                entry.state, entry.reason = UNAVAILABLE, error.message
            self._note(error, entry.name)
            return error
        finally:
            self._loading.remove(entry)
            entry.step = ""
        metrics = self._metrics.model(entry.name, entry.version)
        metrics.model_sha256, metrics.load_s = model.sha256, model.load_s
        metrics.provider = (opener.choice.wanted, opener.choice.chosen)
        own = entry.settings.options(self._options, entry.name, entry.version, entry.path)
        before, entry.served = entry.served, Served(Inference(own, model, metrics, self._turns, self.room), opener)
        entry.state, entry.since = READY, time.time()
        self._changed()
        if opener.choice.warning:
            self._log.write(
                "provider", opener.choice.warning, "warning", model=entry.name, **opener.choice.record()
            )
        if self.is_repository or before is not None:
            self._log.write(
                "loaded", f"{entry.name} version {entry.version} is ready", model=entry.name, version=entry.version,
                load_s=round(model.load_s, 4), model_sha256=model.sha256, provider=opener.choice.record(),
                graph=opener.source,
            )  # fmt: skip
        if before is not None:
            await before.drain(self._options.drain_timeout_s)
        return None

    async def _take_away(self, entries: list[Entry]) -> int:
        cut = 0
        for entry in entries:
            entry.state = UNLOADING
        self._changed()
        for entry in entries:
            if entry.served is not None:
                cut += await entry.served.drain(self._options.drain_timeout_s)
            self._metrics.models.pop((entry.name, entry.version), None)
            self.entries.pop((entry.name, entry.version), None)
            self._log.write(
                "unloaded", f"{entry.name} version {entry.version} is unloaded", model=entry.name,
                version=entry.version, cut_requests=cut,
            )  # fmt: skip
        self._changed()
        return cut

    def _note(self, error: NimifyError, name: str) -> None:
        self._failed(error, name)
        if self.is_repository or self._started:
            self._log.write(
                "unavailable", f"{name}: {error}", "error", model=name, category=error.category.value
            )


def _stepped(entry: Entry, words: str) -> None:
    entry.step, entry.since = words, time.time()


async def _in_thread(make: Callable[[], Model]) -> Model:
    """Run ``make`` in a thread that does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Model] = loop.create_future()

    def settle(result: Model | BaseException) -> None:
        if made.done():
            return
        if isinstance(result, BaseException):
            made.set_exception(result)
        else:
            made.set_result(result)

    def work() -> None:
        result: Model | BaseException
        try:
            result = make()
        except ValidationError as error:
            result = ModelError(error.message, error.remedy)
        except BaseException as error:  # noqa: BLE001  # handed to the loop
            result = error
        with contextlib.suppress(RuntimeError):  # the loop ended first
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name="load", daemon=True).start()
    return await made
