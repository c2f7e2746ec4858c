"""What a log's size asks of the corpus, of the driver and of each node: where the limits lie, on paper.

It follows from the layout alone: an item is held in four bytes, a time in eight where something reads it, and two
shuffle groups of decoded buckets at a time, one more where workers share them; each node holds its share of these.
Users are taken as equally active, so that the largest buckets of a real log hold somewhat more.
"""

from math import ceil
from typing import Any, NamedTuple

from ray_userrep.feed.stream import at_home, buckets_held
from ray_userrep.recipe.corpus import MOST_BUCKETS, LeaveKOutConfig, LeaveOneOutConfig, num_buckets_of
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe

_NUMBER, _ITEM = 8, 4
_WINDOW = 10 * _NUMBER  # four numbers, twice while they are put in order, and by what and how they are
_FILE = 130  # what a manifest says of a file: place, counts, checksums


class Footprint(NamedTuple):
    """Interactions and users of a bucket; bytes of one that is decoded, of all that a node holds of the log, of what
    the driver reads of the corpus's files, and of ids and counts of items, which each process holds as it starts;
    seconds until ranks of one core have counted what there is to plan, none where the corpus's own counts tell, and of
    a core for all that is read in a pass.
    """

    num_buckets: int
    interactions: float
    users: float
    bucket: float
    node: float
    manifest: float
    items: float
    plan_seconds: float
    pass_seconds: float


def footprint(recipe: Recipe, config: PlanConfig) -> Footprint:
    """That of a log whose sequences have items and times alone."""
    is_timed = recipe.reads_times_of_windows() is not None
    num_bytes = round(config.interactions * config.bytes_per_interaction)
    num_buckets = recipe.corpus.num_buckets or num_buckets_of(num_bytes)
    interactions, users = config.interactions / num_buckets, config.users / num_buckets
    bucket = (_ITEM + is_timed * _NUMBER) * interactions + 2 * _NUMBER * users
    group = min(num_buckets, recipe.stream.shuffle_buckets)
    windows = users * ceil(config.interactions / config.users / recipe.stream.max_len)
    is_shared = config.world > 1
    held = min(num_buckets, buckets_held(recipe.stream) + is_shared * recipe.stream.shuffle_buckets)
    planned = group * (_WINDOW * windows + _NUMBER * users)
    return Footprint(
        num_buckets=num_buckets,
        interactions=interactions,
        users=users,
        bucket=bucket,
        node=at_home(held, config.nodes) * bucket + config.gpus_per_node * planned,
        manifest=float(_FILE * num_buckets),
        items=2.0 * _NUMBER * config.items,
        plan_seconds=0.0 if _is_counted(recipe) else config.interactions / config.outline_rate / config.world,
        pass_seconds=config.interactions / config.decode_rate,
    )


def _is_counted(recipe: Recipe) -> bool:
    return recipe.stream.user_share == 1 and isinstance(recipe.split, LeaveOneOutConfig | LeaveKOutConfig)


def advice(found: Footprint, recipe: Recipe, config: PlanConfig) -> list[str]:
    """What to set where a node's part of the log is more than its memory; empty where it fits."""
    most = config.host_gb * 1e9
    if found.node <= most:
        return []
    fitting = int(recipe.stream.shuffle_buckets * most / found.node)
    wanted = 1 << (ceil(found.num_buckets * found.node / most) - 1).bit_length()
    ways = [f"stream.shuffle_buckets {fitting}"] if fitting else []
    ways += [f"corpus.num_buckets {wanted}"] if wanted <= MOST_BUCKETS else []
    said = f"a node would hold {found.node / 1e9:,.0f} GB of the log, and has {config.host_gb:,.0f} GB"
    return [f"{said}: set {', or '.join(ways)}" if ways else f"{said}: nodes with more memory are needed"]


def told(recipe: Recipe, config: PlanConfig) -> dict[str, Any]:
    """Footprint and advice as a plan has them."""
    found = footprint(recipe, config)
    return found._asdict() | {"advice": advice(found, recipe, config)}
