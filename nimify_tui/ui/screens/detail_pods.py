"""What the detail does with the pod (or container) under the cursor: its object, a shell in it, a port of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.regions import RegionKind
from nimify_tui.ui.present.detail import replica_id

if TYPE_CHECKING:
    from nimify_tui.ui.screens.detail import DetailScreen


class PodDeeds:
    """Commands of the detail screen that only a cluster knows, and a shell, which a Docker host has, too."""

    def __init__(self, screen: DetailScreen) -> None:
        self._screen = screen

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """By the part of a command's id after the dot."""
        return {
            "yaml": lambda _: self._object(describe=False),
            "describe": lambda _: self._object(describe=True),
            "shell": self._shell,
            "debug": self._debug,
            "forward": self._forward,
            "kill": self._kill,
        }

    def service(self) -> ServiceKey | None:
        """The service of the pod under the cursor."""
        chosen = self._under_cursor()
        return chosen.service if chosen is not None and chosen.service.namespace else None

    def _under_cursor(self) -> ReplicaKey | None:
        detail = self._screen.detail()
        replicas = detail.replicas if detail is not None else ()
        cursor = self._screen.replicas.cursor_key
        return next((each.replica.key for each in replicas if replica_id(each) == cursor), None)

    def _object(self, *, describe: bool) -> None:
        """The pod under the cursor; on other tabs the workload, of the worst region."""
        from nimify_tui.ui.screens.object import ObjectScreen

        row, chosen = self._screen.row(), self._under_cursor()
        keys = [chosen.service] if chosen is not None else list(row.keys if row is not None else ())
        if not keys or not self._has_objects(keys[0]):
            self._screen.console_app.say(
                "there is an object only in a cluster or on a Docker host; 6 shows what this service runs", "dim"
            )
            return
        pod = chosen.replica if chosen is not None else ""
        replica = pod if self._screen.tab == "overview" else ""
        self._screen.console_app.push_screen(ObjectScreen(keys[0], replica, pod, describe=describe))

    def _has_objects(self, key: ServiceKey) -> bool:
        return bool(key.namespace) or self._is_docker(key)

    def _is_docker(self, key: ServiceKey) -> bool:
        rows = self._screen.console_app.context.frame.regions
        return any(row.region.name == key.region and row.region.kind is RegionKind.DOCKER for row in rows)

    def _pod(self) -> ReplicaKey | None:
        """The pod under the cursor; None (and it is said) when there is none."""
        chosen = self._under_cursor()
        if chosen is None or not chosen.service.namespace:
            self._screen.console_app.say("only for a pod of a cluster: choose one on the first tab", "dim")
            return None
        return chosen

    def _kill(self, name: str) -> None:
        if name.strip():
            self._screen.changing.kill(name)
        elif (pod := self._pod()) is not None:
            key = ServiceKey(pod.service.region, pod.replica, pod.service.namespace)
            request = ActionRequest(verb=Verb.DELETE, targets=(key,), kind="Pod")
            self._screen.console_app.acting.propose(request)

    def _shell(self, container: str) -> None:
        one = self._under_cursor()
        if one is None or not (one.service.namespace or self._is_docker(one.service)):
            words = "only in a pod of a cluster or a container of a Docker host: choose one on the first tab"
            self._screen.console_app.say(words, "dim")
            return
        self._screen.console_app.live.shell(one, container)

    def _debug(self, words: str) -> None:
        image, _, container = words.partition(" ")
        if (pod := self._pod()) is None:
            return
        if image:
            self._screen.console_app.live.debug(pod, image, container.strip())
        else:
            self._screen.ask("image ", self._debug, hint="e.g. busybox:1.37, then the container to look at")

    def _forward(self, port: str) -> None:
        if (pod := self._pod()) is None:
            return
        live = self._screen.console_app.live
        if port:
            live.forward(pod, port)
        else:
            self._screen.ask("port ", lambda typed: live.forward(pod, typed), hint="of the pod, e.g. 8000")
