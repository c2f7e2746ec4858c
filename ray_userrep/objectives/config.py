"""Which objective is pretrained with, and which item softmax it uses."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class FullSoftmaxConfig(BaseModel):
    """Cross-entropy over the whole catalogue, in chunks."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["full"] = "full"


class SampledSoftmaxConfig(BaseModel):
    """Cross-entropy over sampled negatives, corrected for how they were sampled."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["sampled"] = "sampled"
    num_negatives: int = Field(1024, ge=1, description="negatives shared by a global batch, drawn with replacement")
    alpha: float = Field(0.75, ge=0, le=1, description="negatives follow training counts to this power; 0 is uniform")


SoftmaxConfig = Annotated[FullSoftmaxConfig | SampledSoftmaxConfig, Field(discriminator="kind")]


class AutoregressiveConfig(BaseModel):
    """Predict each next item from what came before it."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["autoregressive"] = "autoregressive"
    softmax: SoftmaxConfig = Field(default_factory=FullSoftmaxConfig)
