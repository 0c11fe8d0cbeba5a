"""What the C library's heap keeps of memory that Python has given back."""

from __future__ import annotations

#: glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD (malloc.h).
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
#: Blocks from this size on lie apart, bytes: a page of a list is 3 MB. A piece of a watch is up to 256 kB; a hundred of
#: them come in a second while thousands of pods roll, and memory that is new each time costs a fifth of a core then.
LARGE_BYTES = 1024 * 1024
#: For the same reason so much at the end of a heap is kept for what comes next.
SPARE_BYTES = 4 * 1024 * 1024


def keep_large_blocks_apart() -> bool:
    """Blocks of ``LARGE_BYTES`` and more are given back to the system as soon as they are free; False if it cannot be.

    By itself glibc raises that bound to 32 MB as it sees large blocks come and go: the pages of a few lists then
    leave 50 MB of holes between what stays.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library: it has rules of its own
    return bool(mallopt(_MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, SPARE_BYTES))
