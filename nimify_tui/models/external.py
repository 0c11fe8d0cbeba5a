"""External data of an ONNX file: a model may name files of its own folder and nothing else.

The rules are those of onnx >= 1.21 and a hard-link check (a hard link reaches any file of the same
disk, and onnxruntime follows it).
"""

from __future__ import annotations

import itertools
import os
import stat
from collections import defaultdict
from pathlib import Path

from nimify_tui.domain.models import Finding, FindingLevel
from nimify_tui.models.onnx_file import ExternalRef

MAX_FINDINGS = 20


def check_external(folder: Path, refs: list[ExternalRef]) -> list[Finding]:
    """What is wrong with the files that hold the weights; nothing is read of them."""
    by_file: dict[str, list[ExternalRef]] = defaultdict(list)
    for ref in refs:
        by_file[ref.location].append(ref)
    wrong: list[str] = []
    for location, inside in by_file.items():
        text = _check_location(folder, location)
        if text:
            wrong.append(f"external data {location[:200]!r}: {text}")
            continue
        wrong += _check_ranges(location, (folder / location).stat().st_size, inside)
    found = [Finding(FindingLevel.ERROR, text) for text in wrong[:MAX_FINDINGS]]
    if len(wrong) > MAX_FINDINGS:
        found.append(
            Finding(FindingLevel.ERROR, f"and {len(wrong) - MAX_FINDINGS} more problems of external data")
        )
    return found


def _check_location(folder: Path, location: str) -> str:
    if not location:
        return "it names no file"
    if "\0" in location or "\\" in location or location.startswith("/") or ":" in location[:2]:
        return "it is no relative path"
    if ".." in Path(location).parts:
        return "it leads out of the model's folder"
    here, status = folder, os.lstat(folder)
    for part in Path(location).parts:
        here = here / part
        try:
            status = os.lstat(here)
        except OSError:
            return "the file is missing"
        if stat.S_ISLNK(status.st_mode):
            return "it is a symbolic link (copy the model out of the cache it lies in)"
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_nlink != 1:
        return "it has more than one name (a hard link)"
    return ""


def _check_ranges(location: str, size: int, refs: list[ExternalRef]) -> list[str]:
    wrong = []
    ranges = []
    for ref in refs:
        offset = ref.offset or 0
        length = ref.length if ref.length is not None else ref.expected_bytes
        if offset + length > size:
            wrong.append(
                f"tensor {ref.tensor[:80]!r} ends at byte {offset + length} of {location!r}, which has {size}"
            )
        if ref.length is not None and ref.expected_bytes and ref.length != ref.expected_bytes:
            wrong.append(
                f"tensor {ref.tensor[:80]!r} needs {ref.expected_bytes} bytes and names {ref.length}"
            )
        ranges.append((offset, offset + length, ref.tensor))
    ranges.sort()
    for (start, end, first), (begin, finish, second) in itertools.pairwise(ranges):
        # The very same bytes for two tensors are shared weights; any other overlap is a mistake or a trick.
        if begin < end and (start, end) != (begin, finish):
            wrong.append(f"tensors {first[:80]!r} and {second[:80]!r} overlap in {location!r}")
            break
    return wrong
