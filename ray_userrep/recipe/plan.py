"""What a plan is made for: GPUs, their network, and the log."""

from typing import Literal

from pydantic import Field

from ray_userrep.recipe.settings import Settings

GpuName = Literal["a10g", "l4", "a100-40", "a100-80", "h100", "h200"]


class PlanConfig(Settings):
    """Hardware and log of a plan."""

    gpu: GpuName = Field("h100", description="its memory, speed and links are those of its data sheet")
    gpus_per_node: int = Field(8, ge=1, description="GPUs of a node")
    nodes: int = Field(1, ge=1, description="nodes of the cluster")
    network_gbps: float = Field(3200.0, gt=0, description="gigabits/s that a node sends to the others")
    host_gb: float = Field(1000.0, gt=0, description="memory of a node, for what is offloaded")
    mfu: float = Field(0.3, gt=0, le=1, description="FLOPs used over the peak: better a measured one")
    reserve: float = Field(0.08, ge=0, lt=1, description="share of a GPU's memory that is left free")
    usd_per_gpu_hour: float | None = Field(None, gt=0, description="for the cost; none: no cost is given")
    interactions: float = Field(1e12, gt=0, description="of the log; each is trained on in every epoch")
    users: float = Field(1e9, gt=0, description="of the log")
    items: int = Field(10_000_000, ge=1, description="of the log")
    text_width: int = Field(384, ge=0, description="width of item text vectors, where items are made from text")
    bytes_per_interaction: float = Field(16.0, gt=0, description="of the corpus, uncompressed: item and time")
    prepare_rate: float = Field(500_000.0, gt=0, description="interactions/s that a CPU core prepares")
    outline_rate: float = Field(
        50_000_000.0, gt=0, description="interactions/s of which a core reads how long sequences are, before it plans"
    )
    decode_rate: float = Field(15_000_000.0, gt=0, description="interactions/s that a core reads from the corpus")

    @property
    def world(self) -> int:
        """GPUs of the cluster, each a worker's."""
        return self.gpus_per_node * self.nodes
