"""What an encoder is made of; its JSON is stored with the weights."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class IdItemsConfig(BaseModel):
    """One trained vector an item."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["id"] = "id"
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the item vectors that enter the backbone")


class TransformerConfig(BaseModel):
    """Pre-norm Transformer over the user's interactions."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["transformer"] = "transformer"
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(2, ge=1)
    causal: bool = Field(True, description="a position sees only itself and what came before")
    positions: Literal["rotary", "learned"] = "rotary"
    ffn: Literal["swiglu", "gelu"] = "swiglu"
    ffn_mult: float = Field(
        4.0, gt=0, description="hidden width of the feed-forward over the model's (two thirds of it in SwiGLU)"
    )
    norm: Literal["rms", "layer"] = "rms"
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the residual branches; attention has none")


class EncoderConfig(BaseModel):
    """Item embedder, backbone and readout."""

    model_config = ConfigDict(extra="forbid")

    width: int = Field(128, ge=2, description="width of item, position and user vectors")
    items: IdItemsConfig = Field(default_factory=IdItemsConfig)
    backbone: TransformerConfig = Field(default_factory=TransformerConfig)
    readout: Literal["last", "mean"] = Field(
        "last", description="user vector: the newest position's state, or the mean"
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "EncoderConfig":
        heads = self.backbone.num_heads
        if self.width % heads or (self.backbone.positions == "rotary" and (self.width // heads) % 2):
            raise ValueError(
                f"encoder.width {self.width} must split into encoder.backbone.num_heads {heads} heads of even width"
            )
        return self
