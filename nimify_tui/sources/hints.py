"""What events and last words of model servers mean: a key that is missing or wrong, a KV cache that is too small.

Texts: kubelet events; vllm-project/vllm (kv_cache_utils) and NIM's start-up messages. They change between versions, so
only what does not change is looked for. Secrets themselves are never read: the kubelet and the server say it.
"""

from __future__ import annotations

import re

from nimify_tui.base.text import clean_line

_NO_SECRET = re.compile(r"secret \"?([\w./-]+)\"? not found", re.IGNORECASE)
_NO_KEY = re.compile(r"couldn't find key ([\w.-]+) in Secret ([\w./-]+)", re.IGNORECASE)
_NO_MAP = re.compile(r"configmap \"?([\w./-]+)\"? not found", re.IGNORECASE)
_DENIED = re.compile(
    r"\b40[13]\b|unauthorized|authentication required|forbidden|access denied", re.IGNORECASE
)
_KEY_NAMES = re.compile(r"\b(NGC_API_KEY|HF_TOKEN|HUGGING_?FACE_HUB_TOKEN|HUGGINGFACE[_ ]TOKEN)\b")
_UNSET = re.compile(
    r"not (?:set|found|provided|defined)|missing|is required|must be set|empty", re.IGNORECASE
)
_REFUSED = re.compile(
    r"\b40[13]\b|unauthorized|forbidden|invalid|payment required|authentication (?:error|failed)",
    re.IGNORECASE,
)
_LEGACY = re.compile(r"legacy|nvapi-", re.IGNORECASE)
#: vLLM's words since 0.7, and those of before.
_KV = re.compile(
    r"max seq len \(?([\d,]+)\)?\D{0,4} ([\d.]+) GiB KV cache is needed\D+\(?([\d.]+) GiB\)?", re.IGNORECASE
)
_KV_FITS = re.compile(r"estimated maximum model length is ([\d,]+)", re.IGNORECASE)
_KV_OLD = re.compile(
    r"max seq len \(?([\d,]+)\)? is larger than the maximum number of tokens"
    r" that can be stored in KV cache \(?([\d,]+)",
    re.IGNORECASE,
)
_KV_NONE = re.compile(r"No available memory for the cache blocks", re.IGNORECASE)


def key_missing(said: str) -> str:
    """What a container waits for that refers to a Secret or ConfigMap that is not there; "" for something else."""
    if found := _NO_KEY.search(said):
        return f"key missing: Secret {clean_line(found[2], 80)} has no {clean_line(found[1], 60)}"
    if found := _NO_SECRET.search(said):
        return f"key missing: there is no Secret {clean_line(found[1], 80)}"
    if found := _NO_MAP.search(said):
        return f"there is no ConfigMap {clean_line(found[1], 80)}"
    return ""


def denied(said: str) -> bool:
    """Whether a registry refused for want of the right key."""
    return _DENIED.search(said) is not None


def last_words(text: str) -> str:
    """What the last lines of a model server mean; "" when they are nothing that is known."""
    if found := _KV.search(text):
        fits = _KV_FITS.search(text)
        remedy = f"; --max-model-len {_plain(fits[1])} would fit" if fits else ""
        return f"KV cache too small: {_plain(found[1])} tokens need {found[2]} GiB, {found[3]} GiB are free{remedy}"
    if found := _KV_OLD.search(text):
        fits_old = _plain(found[2])
        return (
            f"KV cache too small: {_plain(found[1])} tokens do not fit; --max-model-len {fits_old} would fit"
        )
    if _KV_NONE.search(text):
        return "KV cache too small: no GPU memory is left for it; raise --gpu-memory-utilization"
    for line in reversed(text.splitlines()):
        name = _KEY_NAMES.search(line)
        if name is None:
            continue
        if _LEGACY.search(line):
            return f"{name[1]} is a key of the wrong kind: a personal or service key is wanted"
        if _REFUSED.search(line):
            return f"{name[1]} is not accepted"
        if _UNSET.search(line):
            return f"key missing: {name[1]} is not set"
    return ""


def _plain(number: str) -> str:
    return number.replace(",", "")
