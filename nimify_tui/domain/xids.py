"""What the numbers mean that NVIDIA's driver reports a GPU's faults by, and what to do.

Numbers and texts: NVIDIA's XID catalogue (docs.nvidia.com/deploy/xid-errors). Those that a program on the GPU causes
are warnings; the others mean that the GPU or its link is to be taken out of service.
"""

from __future__ import annotations

from nimify_tui.domain.gpus import GpuFault

_PROGRAM = "a program on the GPU did it: see the log of the service that ran there"
_RESET = "drain the node, then reset the GPU or reboot; replace it when this comes again"
_LINKS = "drain the node, reset all its GPUs, check link and bridge"
_REPLACE = "drain the node and reboot; the GPU or its slot is to be checked"

#: XID: (what it is, whether it is the hardware, what to do).
XIDS: dict[int, tuple[str, bool, str]] = {
    13: ("graphics engine exception", False, _PROGRAM),
    31: ("memory page fault", False, _PROGRAM),
    43: ("stopped processing", False, _PROGRAM),
    45: ("preemptive cleanup", False, _PROGRAM),
    46: ("stopped processing", True, _RESET),
    48: ("double-bit ECC error", True, _RESET),
    61: ("internal microcontroller breakpoint", True, _RESET),
    62: ("internal microcontroller halt", True, _RESET),
    63: ("memory row was remapped", True, "reset the GPU at the next chance, so that the spare row is used"),
    64: ("memory row could not be remapped", True, _REPLACE),
    74: ("NVLink error", True, _LINKS),
    79: ("fell off the bus", True, _REPLACE),
    92: ("many single-bit ECC errors", True, _RESET),
    94: ("contained ECC error", True, "restart the service that ran there; reset the GPU at the next chance"),
    95: ("uncontained ECC error", True, _RESET),
    109: ("context switch timed out", True, _RESET),
    119: ("GSP did not answer", True, _RESET),
    120: ("GSP error", True, _RESET),
    121: ("link to the CPU (C2C) corrected an error", True, "no hurry: reset the GPU at the next chance"),
    136: ("NVLink did not come up", True, _LINKS),
    137: ("access over NVLink was refused", False, _PROGRAM),
    140: ("unrecovered ECC error", True, _RESET),
    143: ("initialisation failed", True, _REPLACE),
    144: ("NVLink error (SAW)", True, _LINKS),
    145: ("NVLink error (RLW)", True, _LINKS),
    146: ("NVLink error (TLW)", True, _LINKS),
    147: ("NVLink error (TREX)", True, _LINKS),
    148: ("NVLink error (NVLPW_CTRL)", True, _LINKS),
    149: ("NVLink error (NETIR)", True, _LINKS),
    154: ("recovery action changed", True, "see `nvidia-smi -q` for the action that the driver asks for"),
}


def fault_of(at: float, xid: int) -> GpuFault:
    """The fault with its words; a number that is not known here counts as one of the hardware."""
    text, hardware, remedy = XIDS.get(xid, ("not known here", True, "see NVIDIA's XID catalogue"))
    return GpuFault(at=at, xid=xid, text=text, hardware=hardware, remedy=remedy)
