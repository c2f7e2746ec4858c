"""What GPUs hold and do, from their data sheets."""

from typing import NamedTuple

from ray_userrep.recipe.plan import GpuName


class Gpu(NamedTuple):
    """Memory in bytes, dense peaks in FLOP/s, and what one GPU sends to the others of its node in bytes/s."""

    memory: float
    bf16: float
    fp32: float
    link: float


# Data sheets of NVIDIA: dense tensor-core bf16, fp32 without tf32, one direction of NVLink, or of PCIe 4.0 x16.
GPUS: dict[GpuName, Gpu] = {
    "a10g": Gpu(24e9, 70e12, 35e12, 25e9),
    "l4": Gpu(24e9, 121e12, 30e12, 25e9),
    "a100-40": Gpu(40e9, 312e12, 19.5e12, 300e9),
    "a100-80": Gpu(80e9, 312e12, 19.5e12, 300e9),
    "h100": Gpu(80e9, 989e12, 67e12, 450e9),
    "h200": Gpu(141e9, 989e12, 67e12, 450e9),
}
