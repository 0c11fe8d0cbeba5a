"""Pages of dcgm-exporter as they were recorded, and what a test makes of them.

- :func:`ada`: whole, of an RTX 4000 Ada in Kubernetes; driver 580.95.05, dcgm-exporter of the GPU operator (default
  counters), from the README of linode/lke-ai-conformance (2025-11).
- :func:`a800`: of an A800 with three MIG slices and one without; driver 535.129.03, from a public page on the exporter
  (slug ai/gpu-dcgm-exporter), its cards 2 to 7 left out.
- :data:`A30`: the engine's counters of a MIG slice that works, from NVIDIA/dcgm-exporter issue 68 (DCGM 2.4).
- :data:`SHARED`: the labels that a Prometheus has of a time-sliced RTX 4090, from NVIDIA/dcgm-exporter issue 340
  (driver 545.29.06); the label ``vgpu`` is that of its pull request 432.
"""

from __future__ import annotations

_ADA = (
    'gpu="0",UUID="GPU-a8394b51-c086-568a-9f1a-c1e1c934c44c",pci_bus_id="00000000:00:02.0",device="nvidia0",'
    'modelName="NVIDIA RTX 4000 Ada Generation",Hostname="{node}",DCGM_FI_DRIVER_VERSION="580.95.05",'
    'container="cuda",{more}namespace="{space}",pod="{pod}",pod_uid=""'
)
_ADA_VALUES = {
    "DCGM_FI_DEV_SM_CLOCK": "2310", "DCGM_FI_DEV_MEM_CLOCK": "9001", "DCGM_FI_DEV_MEMORY_TEMP": "0",
    "DCGM_FI_DEV_GPU_TEMP": "48", "DCGM_FI_DEV_POWER_USAGE": "40.979000",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": "455497156", "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": "0",
    "DCGM_FI_DEV_GPU_UTIL": "0", "DCGM_FI_DEV_MEM_COPY_UTIL": "0", "DCGM_FI_DEV_ENC_UTIL": "0",
    "DCGM_FI_DEV_DEC_UTIL": "0", "DCGM_FI_DEV_XID_ERRORS": "0", "DCGM_FI_DEV_FB_FREE": "20015",
    "DCGM_FI_DEV_FB_USED": "1", "DCGM_FI_DEV_FB_RESERVED": "457", "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": "0",
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": "0", "DCGM_FI_DEV_ROW_REMAP_FAILURE": "0",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": "0", "DCGM_FI_DEV_VGPU_LICENSE_STATUS": "0",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": "0.004656", "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": "0.000000",
    "DCGM_FI_PROF_DRAM_ACTIVE": "0.003074", "DCGM_FI_PROF_PCIE_TX_BYTES": "78398480",
    "DCGM_FI_PROF_PCIE_RX_BYTES": "45987793",
}  # fmt: skip


def ada(
    node: str = "lke529760-766837-0a634ab30000", pod: str = "cuda-75454ffb9f-8ljq7", space: str = "default",
    **other: str | None,
) -> str:  # fmt: skip
    """The page; ``other`` values by the end of the field's name (``GPU_UTIL="87"``), None for a field left out."""
    lines = []
    values = {**_ADA_VALUES, **{name: value for name, value in other.items() if name.startswith("DCGM_") and value}}
    for name, plain in values.items():
        short = next((each for each in other if name.endswith(f"_{each}")), "")
        value = other[short] if short else plain
        if value is None:
            continue
        kind = "counter" if name.endswith(("TOTAL", "COUNTER", "CONSUMPTION", "ROWS")) else "gauge"
        xid = 'err_code="0",err_msg="No Error",' if name.endswith("XID_ERRORS") else ""
        labels = _ADA.format(node=node, pod=pod, space=space, more=xid)
        lines += [f"# TYPE {name} {kind}", f"{name}{{{labels}}} {value}"]
    return "\n".join(lines) + "\n"


_A800 = (
    'gpu="{gpu}",UUID="{uuid}",device="nvidia{gpu}",modelName="NVIDIA A800-SXM4-80GB",{part}'
    'Hostname="msxf-hpc-64-35-ai",DCGM_FI_DRIVER_VERSION="535.129.03",DCGM_FI_PROCESS_NAME="/usr/bin/dcgm-exporter"'
)
#: Of each field: what a slice of card 0 tells and what card 1 tells; None: nothing.
_A800_VALUES: dict[str, tuple[str | None, str]] = {
    "DCGM_FI_DEV_SM_CLOCK": ("1410", "210"), "DCGM_FI_DEV_MEM_CLOCK": ("1593", "1593"),
    "DCGM_FI_DEV_MEMORY_TEMP": ("29", "25"), "DCGM_FI_DEV_GPU_TEMP": ("33", "27"),
    "DCGM_FI_DEV_GPU_UTIL": (None, "0"), "DCGM_FI_DEV_MEM_COPY_UTIL": (None, "0"),
    "DCGM_FI_DEV_XID_ERRORS": ("0", "0"), "DCGM_FI_DEV_FB_FREE": ("19957", "81226"),
    "DCGM_FI_DEV_FB_USED": ("10", "2"), "DCGM_FI_DEV_ROW_REMAP_FAILURE": (None, "0"),
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": ("0", "0"),
    "DCGM_FI_DEV_VGPU_PER_PROCESS_UTILIZATION": ("ERROR - FAILED TO CONVERT TO STRING",) * 2,
}  # fmt: skip


def a800(*, whole: bool = True) -> str:
    """The page; not ``whole``: without the field whose values are no numbers, for which a Prometheus refuses all."""
    lines = []
    for name, (of_slice, of_card) in _A800_VALUES.items():
        if not whole and of_card.startswith("ERROR"):
            continue
        lines.append(f"# TYPE {name} gauge")
        for part in ("3", "5", "6") if of_slice is not None else ():
            labels = _A800.format(gpu=0, uuid="GPU-1f027ee8-6e1e-2b8c-0108-3d370e5f0418",
                                  part=f'GPU_I_PROFILE="2g.20gb",GPU_I_ID="{part}",')  # fmt: skip
            lines.append(f"{name}{{{labels}}} {of_slice}")
        labels = _A800.format(gpu=1, uuid="GPU-9e5b8fec-61bf-5124-a0a9-079af1b65cc6", part="")
        lines.append(f"{name}{{{labels}}} {of_card}")
    return "\n".join(lines) + "\n"


_A30_LABELS = (
    'gpu="0",UUID="GPU-603a8873-0edd-c157-ce48-2078e8b1a935",device="nvidia0",modelName="NVIDIA A30",'
    'GPU_I_PROFILE="2g.12gb",GPU_I_ID="1",Hostname="dcgm-exporter-sn5rp",container="",namespace="",pod=""'
)
A30 = f"""DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{_A30_LABELS}}} 0.381124
DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{{{_A30_LABELS}}} 0.022137
"""

#: One series of each pod; the numbers are the card's, and so the same.
SHARED = [
    {
        "DCGM_FI_DRIVER_VERSION": "545.29.06", "Hostname": "worker1", "UUID": "GPU-longgui",
        "container": "exporter", "device": "nvidia0", "endpoint": "metrics", "exported_container": container,
        "exported_namespace": space, "exported_pod": pod, "gpu": "0", "instance": "10.0.0.7:9400",
        "job": "dcgm-exporter-dev", "modelName": "NVIDIA GeForce RTX 4090", "namespace": "monitoring",
        "pod": "dcgm-exporter-dev-78z52", "service": "dcgm-exporter-dev", "vgpu": str(share),
    }
    for share, (pod, space, container) in enumerate(
        (("pod1", "default", "ai-artifactory-control"), ("pod2", "default", "somecontainer"),
         ("pod3", "somenamespace", "runner"))
    )
]  # fmt: skip


def shared() -> str:
    """What the exporter of :data:`SHARED` tells itself: without what the server adds, by the names it had."""
    own = ("gpu", "UUID", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION", "vgpu")
    lines = ["# TYPE DCGM_FI_DEV_GPU_UTIL gauge"]
    for each in SHARED:
        labels = {name: each[name] for name in own}
        labels |= {name: each[f"exported_{name}"] for name in ("container", "namespace", "pod")}
        words = ",".join(f'{name}="{value}"' for name, value in labels.items())
        lines.append(f"DCGM_FI_DEV_GPU_UTIL{{{words}}} 71")
    return "\n".join(lines) + "\n"
