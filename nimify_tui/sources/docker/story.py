"""What an engine's events mean for the time line: crashes, restarts, health, containers that come and go."""

from __future__ import annotations

from nimify_tui.backends.docker.groups import Group
from nimify_tui.backends.docker.kinds import Event
from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.names import ServiceKey
from nimify_tui.sources.exits import exit_words

#: An event "oom" belongs to the end that follows within so many seconds.
_OOM_S = 10.0
#: Signals of an end: SIGTERM, SIGKILL, SIGINT, SIGQUIT (`docker stop`, `docker kill`).
ENDING = frozenset({"15", "9", "2", "3"})
_WELL, _UNWELL = "healthy", "unhealthy"


class Story:
    """Makes a Change of each event that is one. ``key`` of the service is given with the event."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._oom_at: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        self._ended: set[str] = set()

    def of(self, event: Event, key: ServiceKey, group: Group | None) -> Change | None:
        """The change that an event tells of; None for what is but a step of one."""
        who, uid = clean_line(event.attribute("name") or event.uid[:12], 120), event.uid
        by = group.kind if group is not None else "Container"
        kind, text, evidence = None, "", ""
        match event.what:
            case "create":
                kind, text = ChangeKind.CREATE, f"{by} {who} was made"
                evidence = clean_line(event.attribute("image"), 200)
            case "destroy":
                self._forget(uid)
                kind, text = ChangeKind.DELETE, f"{by} {who} was removed"
            case "kill" if event.attribute("signal") in ENDING:
                self._asked_at[uid] = event.at
            case "oom":
                self._oom_at[uid] = event.at
            case "die":
                kind, text = self._died(event, who)
            case "start" if uid in self._ended:
                self._ended.discard(uid)
                kind, text = ChangeKind.RESTART, f"{who} was started again"
            case "health_status" if event.detail in (_WELL, _UNWELL):
                well = event.detail == _WELL
                kind = ChangeKind.RECOVERY if well else ChangeKind.HANG
                text = f"{who}: its health check {'passes' if well else 'fails'}"
            case "pause" | "unpause":
                kind, text = ChangeKind.CONFIG, f"{who} was {event.what}d"
            case _:
                pass
        if kind is None:
            return None
        return Change(
            id=f"{uid[:12]}-{event.what}-{event.nanoseconds}", at=event.at, kind=kind, region=self._region, key=key,
            text=text, evidence=evidence, source="Docker events", replica=who,
        )  # fmt: skip

    def _died(self, event: Event, who: str) -> tuple[ChangeKind, str]:
        uid, code = event.uid, event.attribute("exitCode")
        number = int(code) if code.isascii() and code.isdigit() and len(code) < 6 else 0
        asked = uid in self._asked_at
        self._asked_at.pop(uid, None)
        self._ended.add(uid)
        if event.at - self._oom_at.pop(uid, 0.0) <= _OOM_S:
            return ChangeKind.CRASH, f"{who} ran out of memory and was killed"
        if asked:
            return ChangeKind.CONFIG, f"{who} was stopped{f' ({exit_words(number)})' if number else ''}"
        if number:
            return ChangeKind.CRASH, f"{who} crashed, {exit_words(number)}"
        return ChangeKind.CONFIG, f"{who} has ended by itself"

    def _forget(self, uid: str) -> None:
        self._ended.discard(uid)
        self._oom_at.pop(uid, None)
        self._asked_at.pop(uid, None)
