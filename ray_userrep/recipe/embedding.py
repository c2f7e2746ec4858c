"""How many actors encode users, and on what."""

from pydantic import BaseModel, ConfigDict, Field


class EmbeddingConfig(BaseModel):
    """The batch export of user vectors."""

    model_config = ConfigDict(extra="forbid")

    num_actors: int = Field(1, ge=1, description="processes that hold an encoder and encode side by side")
    cpus_per_actor: int = Field(1, ge=1, description="CPU cores of an actor")
    batch_tokens: int = Field(16384, ge=1, description="interactions in one forward pass")
