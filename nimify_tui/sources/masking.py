"""An object before it is shown: credentials masked, the notes of its managers folded away.

A Secret is never read at all; what is masked here is what people put elsewhere: literal environment values,
flags, headers, annotations.
"""

from __future__ import annotations

import re
from typing import Any

from nimify_tui.base.redact import MASK, redact

#: Fields whose text names a secret and is none (core/v1 and the NIM operator's API).
_REFERENCES = frozenset(
    {"secretName", "secretNamespace", "authSecret", "pullSecrets", "ngcSecret", "hfTokenSecret", "credentialSpecName",
    "gmsaCredentialSpecName", "secretKey", "tokenPath", "tokenFile"}
)  # fmt: skip
_FLAG = re.compile(r"--?[\w.-]+\Z")
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def secretive(name: str) -> bool:
    """Whether what is called so is likely a credential."""
    return redact(f"{name}=x") != f"{name}=x"


def shown(value: Any, name: str = "") -> Any:
    """``value`` (out of JSON) without what looks like a credential; ``name`` is what its owner calls it."""
    if isinstance(value, dict):
        return _mapping(value)
    if isinstance(value, list):
        return _list(value, name)
    if isinstance(value, str):
        return MASK if value and secretive(name) and name not in _REFERENCES else redact(value)
    return value


def _mapping(value: dict[str, Any]) -> dict[str, Any]:
    made = {}
    called = value.get("name")
    for key, item in value.items():
        if key == "value" and isinstance(called, str) and isinstance(item, str):
            made[key] = shown(item, called)  # an environment variable or a header
        elif key == "managedFields" and isinstance(item, list):
            made[key] = _managers(item)
        elif key == _APPLIED and isinstance(item, str):
            made[key] = f"({len(item):,} characters, folded)"
        else:
            made[redact(key)] = shown(item, key)
    return made


def _list(value: list[Any], name: str) -> list[Any]:
    """A flag that asks for a credential has it in the next word."""
    made: list[Any] = []
    asks = False
    for item in value:
        text = item if isinstance(item, str) else ""
        made.append(MASK if asks and text else shown(item, name))
        asks = _FLAG.match(text) is not None and secretive(text.lstrip("-"))
    return made


def _managers(fields: list[Any]) -> str:
    names = dict.fromkeys(
        str(each.get("manager", "?")) for each in fields if isinstance(each, dict)
    )
    return f"({', '.join(names)}: {len(fields)} entries, folded)"
