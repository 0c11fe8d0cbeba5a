"""What the C library's heap keeps of memory that Python has given back."""

from __future__ import annotations

#: glibc's M_MMAP_THRESHOLD (malloc.h).
_MMAP_THRESHOLD = -3
#: Blocks from this size on lie apart, bytes: a page of a list is 3 MB, a record of TLS 16 kB.
LARGE_BYTES = 256 * 1024


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
    return bool(mallopt(_MMAP_THRESHOLD, LARGE_BYTES))
