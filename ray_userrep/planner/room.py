"""Whether a model has room in memory, before the first step: the system ends what has none without a word.

Only what is certain is refused: weights, gradients and moments of item tables and backbone. What a step takes beside
them is worked out where backbone and loss are ones that a plan knows, and said. A GPU's own message when it runs out
comes later, and does not say what to lower.
"""

from typing import NamedTuple, assert_never

from ray_userrep.errors import UserError
from ray_userrep.planner import memory
from ray_userrep.planner.accounting import Catalogue, backbone_parameters
from ray_userrep.recipe.encoder import (
    ByModalityItemsConfig,
    FeatureItemsConfig,
    HashedItemsConfig,
    IdItemsConfig,
    ImageItemsConfig,
    ItemsConfig,
    LanguageItemsConfig,
    ProjectedItemsConfig,
    RowItemsConfig,
    SideItemsConfig,
    SumItemsConfig,
    TextItemsConfig,
    TransformerConfig,
    WhitenedMoEItemsConfig,
    WordItemsConfig,
)
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe


class Room(NamedTuple):
    """The memory of a node, for so many workers, or that of a worker's GPU."""

    num_bytes: float
    workers: int = 1
    is_gpu: bool = False

    def __str__(self) -> str:
        return f"on a {'GPU' if self.is_gpu else 'node'} that has {self.num_bytes / 1e9:,.1f} GB"


def tight(recipe: Recipe, num_items: int, room: Room) -> str | None:
    """What to say of a step that may not fit beside the models of all workers, if anything.

    Raises:
        UserError: the models alone do not fit; the message has the numbers, and what takes less.
    """
    encoder = recipe.encoder
    dense, rows = _tables(encoder.items, num_items, encoder.width)
    dense += num_items * (encoder.bag_width + 1) if encoder.bag_width else 0
    backbone = backbone_parameters(encoder.backbone, encoder.width, recipe.stream.max_len)
    states = memory.model_states(dense + backbone, recipe.train.zero, recipe.train.num_workers, rows)
    model = room.workers * (states.states + (0 if room.is_gpu else states.host))
    if model > room.num_bytes:
        raise UserError(
            f"weights, gradients and Adam's moments of {dense + rows:,} numbers of items and {backbone:,} of the "
            f"backbone take {model / 1e9:,.1f} GB {room}: take encoder.items.kind hashed or rows, or a smaller "
            "encoder.width; several nodes divide a table of rows between them, and train.zero.stage 3 all others"
        )
    step = model + room.workers * _step_bytes(recipe, num_items, room.is_gpu)
    if step <= room.num_bytes:
        return None
    return (
        f"a step takes about {step / 1e9:,.1f} GB, {model / 1e9:,.1f} of them for the model, {room}: if it runs out, "
        f"lower stream.micro_tokens, which is {recipe.stream.micro_tokens}"
    )


def _tables(config: ItemsConfig, num_items: int, width: int) -> tuple[int, int]:
    """Numbers of the tables that grow with the catalogue or are as large: trained whole, and by rows.

    No embedder is made for it, as `memory.item_parameters` does: that reads weights of packages, and texts' widths.
    """
    match config:
        case IdItemsConfig():
            return num_items * width, 0
        case RowItemsConfig():
            return 0, num_items * width
        case ProjectedItemsConfig(table_width=table_width):
            return num_items * table_width, 0
        case HashedItemsConfig(num_rows=num_rows) | SideItemsConfig(num_rows=num_rows):
            return num_rows * width, 0
        case WordItemsConfig(num_rows=num_rows):
            return num_rows * width, 0
        case SumItemsConfig(parts=parts):
            dense, rows = zip(*(_tables(part, num_items, width) for part in parts), strict=True)
            return sum(dense), sum(rows)
        case TextItemsConfig() | WhitenedMoEItemsConfig() | FeatureItemsConfig():
            return 0, 0
        case ByModalityItemsConfig() | LanguageItemsConfig() | ImageItemsConfig():
            return 0, 0
        case never:
            assert_never(never)


def _step_bytes(recipe: Recipe, num_items: int, on_gpu: bool) -> float:
    """Activations and logits of a worker's micro-batch; 0 where a plan does not know them."""
    encoder, objective, stream = recipe.encoder, recipe.objective, recipe.stream
    if not isinstance(encoder.backbone, TransformerConfig) or not isinstance(objective, AutoregressiveConfig):
        return 0.0
    tokens = min(stream.micro_tokens, max(stream.max_len, stream.batch_tokens / recipe.train.num_workers))
    kept = memory.activations(encoder, tokens, recipe.train.precision == "bf16", on_gpu)
    return kept + memory.softmax_bytes(objective, encoder, Catalogue(num_items), tokens, stream.batch_tokens)
