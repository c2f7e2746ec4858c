"""From a backbone's size and its data to the settings of a run, so that a study's points differ in nothing else.

Shape, batch, warm-up and learning rate follow rules, not a search at every point: a search would cost more than the
study, and a point that was tuned more than its neighbours bends the law. What the rules get wrong shows as a trend in
the residuals; `scale.tune` measures the learning rate at each size instead.

- Depth grows with N^(1/4), and so width with N^(3/8), as from the smallest to the largest GPT-3 (Brown et al. 2020,
  table 2.1): 16 x 1 at 3 K parameters, 768 x 12 at 85 M.
- The global batch grows with the square root of the data, in powers of two: steps and batch grow together. Where an
  objective tells the users of a batch apart, the batch is part of what is learned and stays the recipe's.
- Warm-up lasts for as many interactions as the backbone has parameters, within bounds (Porian et al. 2024).
- The learning rate falls with the square root of the width and grows with that of the batch (Malladi et al. 2022, for
  Adam), from the recipe's own rate at its own width and batch, and stays below a bound. The items' own rate only
  follows the batch: their table is as wide at every size, and learning it as slowly as a wide backbone learns holds
  large sizes back (embeddings under maximal update: Yang et al. 2022, table 3).
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from ray_userrep.errors import UserError
from ray_userrep.planner.accounting import backbone_parameters
from ray_userrep.recipe.encoder import BackboneConfig, GNNConfig
from ray_userrep.recipe.objective import ContrastiveConfig
from ray_userrep.recipe.recipe import Recipe

_ONE_LAYER = 3072.0  # parameters at which one layer is deep enough: 12 * 16²
_HEAD_WIDTH, _ALIGNED = 32, 256
_SMALLEST_WIDTH, _LARGEST_WIDTH = 4, 2**15
_BATCH_PER_ROOT = 0.5  # 512 interactions a batch where there are a million: on MovieLens-1M more cost a tenth of a nat
_WARMUP_SHARES = (0.02, 0.2)
_HIGHEST_RATE = 1e-2


class BackboneShape(NamedTuple):
    """Width, depth and heads of a backbone, and how many parameters that makes."""

    width: int
    depth: int
    heads: int
    parameters: int


def shape_of(backbone: BackboneConfig, max_len: int, target: int) -> BackboneShape:
    """The shape whose backbone has the number of parameters nearest to the target, about as deep as the rule says.

    Raises:
        UserError: the target is smaller than the smallest backbone of this kind, or larger than the ladder goes; or the
            kind has no layers to add.
    """
    if isinstance(backbone, GNNConfig):
        raise UserError("encoder.backbone.kind gnn has two hops at any size: a ladder of sizes takes another kind")
    depth = depth_of(target)
    shapes = [_at_depth(backbone, max_len, target, d) for d in range(max(1, depth - 1), depth + 2)]
    best = min(shapes, key=lambda shape: abs(math.log(shape.parameters / target)))
    if abs(math.log(best.parameters / target)) > math.log(1.25):
        raise UserError(
            f"a {backbone.kind} of {target:,} parameters: the nearest one that the ladder has is {best.parameters:,} "
            f"(width {best.width}, {best.depth} layers)"
        )
    return best


def depth_of(target: int) -> int:
    """The rule's number of layers for so many parameters."""
    return max(1, round((target / _ONE_LAYER) ** 0.25))


def num_heads_of(width: int) -> int:
    """Heads about 32 wide."""
    return max(1, round(width / _HEAD_WIDTH))


def allowed_widths() -> list[int]:
    """Widths that split into heads of even width; from 256 on, of 32 exactly, as fast kernels want."""
    small = [w for w in range(_SMALLEST_WIDTH, _ALIGNED) if w % (2 * num_heads_of(w)) == 0]
    return [*small, *range(_ALIGNED, _LARGEST_WIDTH + 1, _HEAD_WIDTH)]


def batch_of(recipe: Recipe, data: float) -> int:
    """The global batch of a recipe's run on so many interactions."""
    if isinstance(recipe.objective, ContrastiveConfig):
        return recipe.stream.batch_tokens
    return batch_tokens(data, recipe.stream.max_len)


def batch_tokens(data: float, max_len: int) -> int:
    """The rule's batch: a power of two, and at least one window."""
    wanted = _BATCH_PER_ROOT * math.sqrt(data)
    return max(2 ** round(math.log2(max(1.0, wanted))), 2 ** math.ceil(math.log2(max_len)))


def warmup_share(parameters: int, data: float) -> float:
    """The share of the steps in which as many interactions are seen as there are parameters, within bounds."""
    low, high = _WARMUP_SHARES
    return min(high, max(low, parameters / data))


def scaled_learning_rate(recipe: Recipe, width: int, batch: int) -> float:
    """The recipe's rate carried over to another width and batch."""
    by_width = math.sqrt(recipe.encoder.width / width)
    return min(_HIGHEST_RATE, recipe.train.learning_rate * by_width * _by_batch(recipe, batch))


def item_learning_rate(recipe: Recipe, batch: int) -> float:
    """The recipe's rate for the items carried over to another batch."""
    own = recipe.train.item_learning_rate or recipe.train.learning_rate
    return own * _by_batch(recipe, batch)


def _by_batch(recipe: Recipe, batch: int) -> float:
    return math.sqrt(batch / recipe.stream.batch_tokens)


def settings(recipe: Recipe, shape: BackboneShape, data: float, batch: int | None = None) -> dict[str, dict[str, Any]]:
    """The fields of a recipe that a run of this shape on so many interactions has of its own."""
    batch = batch_of(recipe, data) if batch is None else batch
    train = {
        "learning_rate": scaled_learning_rate(recipe, shape.width, batch),
        "item_learning_rate": item_learning_rate(recipe, batch),
        "schedule": recipe.train.schedule.model_dump() | {"warmup_share": warmup_share(shape.parameters, data)},
    }
    return {
        "encoder": {"width": shape.width, "backbone": _shaped(recipe.encoder.backbone, shape.depth, shape.width)},
        "stream": {"batch_tokens": batch},
        "train": train,
    }


def _at_depth(backbone: BackboneConfig, max_len: int, target: int, depth: int) -> BackboneShape:
    """The width nearest to the target at one depth; parameters grow with the width, so that halving finds it."""
    widths = allowed_widths()

    def count(width: int) -> int:
        return parameters_of(backbone.model_dump_json(), width, depth, max_len)

    low, high = 0, len(widths) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(widths[middle]) <= target else (low, middle)
    near = [(width, count(width)) for width in (widths[low], widths[high])]
    width, parameters = min(near, key=lambda one: abs(math.log(one[1] / target)))
    return BackboneShape(width, depth, num_heads_of(width), parameters)


@lru_cache(maxsize=4096)
def _ends(backbone: str, width: int, max_len: int) -> tuple[int, int]:
    """Parameters of one layer and of two: all that is between grows by the same."""
    kind = TypeAdapter[BackboneConfig](BackboneConfig).validate_json(backbone)
    configs = [type(kind).model_validate(_shaped(kind, depth, width)) for depth in (1, 2)]
    return backbone_parameters(configs[0], width, max_len), backbone_parameters(configs[1], width, max_len)


def parameters_of(backbone: str, width: int, depth: int, max_len: int) -> int:
    """Parameters of a backbone, given as JSON, at another width and depth."""
    one, two = _ends(backbone, width, max_len)
    return one + (depth - 1) * (two - one)


def _shaped(backbone: BackboneConfig, depth: int, width: int) -> dict[str, Any]:
    """The backbone's fields at another depth and width."""
    raw = backbone.model_dump()
    raw["num_blocks" if "num_blocks" in raw else "num_layers"] = depth
    if "num_heads" in raw:
        raw["num_heads"] = num_heads_of(width)
    return raw
