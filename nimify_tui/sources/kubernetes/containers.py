"""Containers as a pod or a template names them: only what is looked at."""

from __future__ import annotations

import re

import msgspec

from nimify_tui.sources.kubernetes.parts import Part

#: Variables that name models (see sources.kubernetes.served), or the port (sources.kubernetes.metered).
TELLING_ENV = frozenset(
    {
        "NIM_SERVED_MODEL_NAME", "NIM_PEFT_SOURCE", "NIM_PASSTHROUGH_ARGS", "NIM_SERVER_PORT",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    }
)
_KEY_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS(?!THROUGH)|CREDENTIAL", re.IGNORECASE)


class Port(Part, frozen=True):
    """A port that a container names."""

    name: str = ""
    container_port: int = 0


class Resources(Part, frozen=True):
    """Limits and requests: quantities as numbers or text ("2Gi", 1)."""

    limits: dict[str, str | int | float] | None = None
    requests: dict[str, str | int | float] | None = None


class PodContainer(Part, frozen=True):
    """A container of a pod; the rest of it is its template's."""

    name: str = ""
    image: str = ""
    resources: Resources | None = None


class Variable(Part, frozen=True):
    """A variable of a container's environment that stands there as text."""

    name: str = ""
    value: str = ""


class Container(PodContainer, frozen=True):
    """A container of a template. Of its variables only those are kept that tell what it serves."""

    command: list[str] | None = None
    args: list[str] | None = None
    ports: list[Port] | None = None
    env: list[Variable] | None = None

    def packed(self) -> Container:
        """Without the variables that are nobody's business here: a key may stand in one."""
        if not self.env:
            return self
        line = " ".join([*(self.command or ()), *(self.args or ())]) if self.command or self.args else ""
        kept = [
            each
            for each in self.env
            if each.name in TELLING_ENV
            or ((f"${each.name}" in line or f"$({each.name})" in line or f"${{{each.name}}}" in line)
            and not _KEY_NAME.search(each.name))
        ]
        return msgspec.structs.replace(self, env=kept or None)
