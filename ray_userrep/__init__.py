"""Universal user representations from interaction logs: prepare, pretrain, evaluate, transfer, embed.

    import ray_userrep as ur

    result = ur.pretrain(ur.recipe("sasrec", logs="s3://bucket/log"))
    encoder = ur.UserEncoder.from_pretrained(result["run"] + "/encoder")
    vectors = encoder.encode([["85123A", "22423"], ["POST"]])

Importing it imports nothing heavy; what a function needs is imported when it is called.
"""

from typing import TYPE_CHECKING, Any

# Three functions have the names of rooms. Python sets a package's attribute when a room is first imported, so that
# importing these before the functions keeps the functions there.
import ray_userrep.prepare
import ray_userrep.recipe
import ray_userrep.transfer  # noqa: F401
from ray_userrep.library import (
    compare,
    embed,
    evaluate,
    index,
    load_result,
    predict,
    prepare,
    prepare_tables,
    pretrain,
    recipe,
    recommend,
    runs,
    sweep,
    transfer,
)

if TYPE_CHECKING:
    from ray_userrep.embedding.index import VectorIndex
    from ray_userrep.encoder.user_encoder import UserEncoder

__version__ = "0.2.0"
__all__ = [
    "UserEncoder",
    "VectorIndex",
    "compare",
    "embed",
    "evaluate",
    "index",
    "load_result",
    "predict",
    "prepare",
    "prepare_tables",
    "pretrain",
    "recipe",
    "recommend",
    "runs",
    "sweep",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name == "UserEncoder":
        from ray_userrep.encoder.user_encoder import UserEncoder

        return UserEncoder
    if name == "VectorIndex":
        from ray_userrep.embedding.index import VectorIndex

        return VectorIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
