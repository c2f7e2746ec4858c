"""The driver's node, and whether others work for it: what a local path means on a cluster."""

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_userrep import storage
from ray_userrep.errors import UserError


def here() -> NodeAffinitySchedulingStrategy:
    """The driver's node: what is placed there is lost only with the driver."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def refuse_unshared(uri: str, what: str = "corpus", option: str = "--corpus") -> None:
    """Refuse a local folder where other nodes than the driver's do the work: each would write into a folder of its own.

    A head without cores leaves all work to nodes that may be still to come.

    Raises:
        UserError: that is the case.
    """
    working = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0}
    own = {ray.get_runtime_context().get_node_id()}
    if storage.is_local(uri) and working != own:
        nodes = f"{len(working | own)} nodes" if working else "nodes that are started when there is work,"
        raise UserError(
            f"{what} folder {uri} is a local path, but the cluster has {nodes} that cannot all see it: "
            f"name a shared place with {option}, such as s3://bucket/{what}s/name"
        )
