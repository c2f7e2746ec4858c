"""What a plan is made for: GPUs, their network, and the log."""

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

GpuName = Literal["a10g", "l4", "a100-40", "a100-80", "h100", "h200"]


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


class PlanConfig(BaseModel):
    """Hardware and log of a plan."""

    model_config = ConfigDict(extra="forbid")

    gpu: GpuName = "h100"
    gpus_per_node: int = Field(8, ge=1)
    nodes: int = Field(1, ge=1)
    network_gbps: float = Field(3200.0, gt=0, description="gigabits/s that a node sends to the others")
    host_gb: float = Field(1000.0, gt=0, description="memory of a node, for what is offloaded")
    mfu: float = Field(0.3, gt=0, le=1, description="FLOPs used over the peak: better a measured one")
    reserve: float = Field(0.08, ge=0, lt=1, description="share of a GPU's memory that is left free")
    usd_per_gpu_hour: float | None = Field(None, gt=0, description="for the cost; empty: none is told")
    interactions: float = Field(1e12, gt=0, description="of the log; each is trained on in every epoch")
    users: float = Field(1e9, gt=0)
    items: int = Field(10_000_000, ge=1)
    text_width: int = Field(384, ge=0, description="width of item text vectors, where items are made from text")
    bytes_per_interaction: float = Field(16.0, gt=0, description="of the corpus, uncompressed: item and time")
    prepare_rate: float = Field(180_000.0, gt=0, description="interactions/s that a CPU core prepares")
