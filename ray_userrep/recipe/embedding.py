"""How many actors encode users, on what, and whether vectors are brought up to date later."""

from pydantic import Field

from ray_userrep.recipe.settings import Settings


class EmbeddingConfig(Settings):
    """The batch export of user vectors."""

    num_actors: int = Field(1, ge=1, description="processes that hold an encoder and encode side by side")
    cpus_per_actor: int = Field(1, ge=1, description="CPU cores of an actor")
    batch_tokens: int = Field(16384, ge=1, description="interactions in one forward pass")
    sums: bool = Field(
        False,
        description="also store what brings a vector up to date without its history (encoder.readout bag): about four "
        "times the space of the vectors",
    )
    previous: str | None = Field(
        None,
        min_length=1,
        description="output folder of an earlier version of the corpus, made with embedding.sums: only what was "
        "appended since is read; the output has sums again",
    )
