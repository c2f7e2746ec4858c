"""Whose vectors or next items are made and as of when, by how many actors; indexes of vectors."""

import datetime as dt
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ray_userrep.recipe.settings import Settings


class EmbeddingConfig(Settings):
    """The batch export of user vectors."""

    num_actors: int = Field(1, ge=1, description="processes that hold an encoder and encode side by side")
    cpus_per_actor: int = Field(1, ge=1, description="CPU cores of an actor")
    batch_tokens: int = Field(16384, ge=1, description="interactions in one forward pass")
    until: list[dt.date] = Field(
        default_factory=list,
        description="days as of which vectors are made, in one pass: of each user what lies before the day, nothing of "
        "it or later; none: all of the log",
    )
    users: str | None = Field(
        None, min_length=1, description="file with a column user_id: only these users; none: all of the log"
    )
    since: int | None = Field(
        None, ge=1, description="only users of whom something was appended after this version of the corpus; none: all"
    )
    dtype: Literal["float32", "float16"] = Field("float32", description="numbers of the vectors that are written")
    challenge: str | None = Field(
        None,
        min_length=1,
        description="folder into which vectors are also written as RecSys Challenge 2025 takes them (client_ids.npy "
        "and embeddings.npy)",
    )
    items: bool = Field(False, description="also write the vectors of the items, into items/")
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

    @property
    def keeps_sums(self) -> bool:
        """Whether sums are written beside the vectors."""
        return self.sums or self.previous is not None

    @field_validator("until", mode="before")
    @classmethod
    def _several(cls, days: Any) -> Any:
        return [days] if isinstance(days, str | dt.date) else days

    @model_validator(mode="after")
    def _whole(self) -> "EmbeddingConfig":
        if self.keeps_sums and (self.until or self.users or self.since):
            raise ValueError(
                "embedding.sums and embedding.previous are for all users and all of the log: leave out "
                "embedding.until, embedding.users and embedding.since"
            )
        if self.challenge is not None and len(self.until) > 1:
            raise ValueError("embedding.challenge takes one vector of each user: name one day in embedding.until")
        if len(set(self.until)) < len(self.until):
            raise ValueError("embedding.until: a day is named twice")
        return self


class RecommendConfig(Settings):
    """The batch export of next items; actors are those of `embedding`."""

    k: int = Field(20, ge=1, description="items for each user")
    exclude_seen: bool = Field(True, description="leave out items of the user's own history")
    users: str | None = Field(None, min_length=1, description="the same as embedding.users")
    until: dt.date | None = Field(None, description="the same as embedding.until, for one day")


class IndexConfig(Settings):
    """An index of vectors."""

    of: Literal["users", "items"] = Field("users", description="whose; items where embedding.items wrote them")
    recall: float = Field(
        0.95, gt=0, le=1, description="share of the true ten nearest that is to be found; more of it takes longer"
    )
