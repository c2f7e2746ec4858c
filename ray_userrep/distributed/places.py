"""Where a training runs: how many cores a worker has, whether it has a GPU, and whether there are workers at all.

Little is imported here, as a job is told before its modules are loaded whether it needs Ray.
"""

from collections.abc import Sequence

from ray_userrep.errors import UserError
from ray_userrep.logs.connection import nodes, num_gpus
from ray_userrep.recipe.train import TrainConfig


def num_threads(config: TrainConfig) -> int:
    """Cores of a worker on the nodes that there are now."""
    return cpus_per_worker(config, [int(node.get("CPU", 0)) for node in nodes()])


def cpus_per_worker(config: TrainConfig, cores_of_nodes: Sequence[int]) -> int:
    """Cores of a worker: as named, else the most with which all workers find a place on the nodes, at least 1.

    Raises:
        UserError: no node has as many as are named; a head without cores brings nodes that are not known yet.
    """
    named, largest = config.cpus_per_worker, max(cores_of_nodes, default=0)
    if named is None:
        fitting = (cores for cores in range(largest, 0, -1) if _places(cores, cores_of_nodes) >= config.num_workers)
        return next(fitting, 1)
    if named > largest and all(cores_of_nodes):
        raise UserError(f"train.cpus_per_worker is {named}, but no node has more than {largest} cores: take fewer")
    return named


def _places(cores: int, cores_of_nodes: Sequence[int]) -> int:
    return sum(of_node // cores for of_node in cores_of_nodes)


def uses_gpu(config: TrainConfig) -> bool:
    """Whether each worker has a GPU: as asked for, else if there are enough of them."""
    if config.use_gpu is not None:
        return config.use_gpu
    return num_gpus() >= config.num_workers


def needs_workers(config: TrainConfig) -> bool:
    """Whether a training takes processes beside the job's own: several, GPUs, or partitioned states."""
    return config.num_workers > 1 or config.zero.stage > 0 or uses_gpu(config)
