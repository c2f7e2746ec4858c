"""What an endpoint that does not come up waits for: Ray Serve looks for room for its replicas without end or word.

Which replicas have no node yet is in Ray's table of actors; asking it costs one call, so that it is asked again and
again until there is something to tell.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import state

from ray_userrep.recipe.serve import ServeConfig

_PATIENCE = 10.0  # seconds: a process that has room is there by then, and nodes that are there take no longer


@contextmanager
def told_of_no_room(name: str, config: ServeConfig) -> Iterator[None]:
    """Say once, in a line, that the application of this name finds no room, while the block waits for it."""
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(name, config, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(name: str, config: ServeConfig, over: threading.Event) -> None:
    while not over.wait(_PATIENCE):
        if homeless := _num_homeless(name):
            print(no_room(homeless, config, list(state.available_resources_per_node().values())), flush=True)
            return


def _num_homeless(name: str) -> int:
    """How many replicas of an application no node has taken in."""
    pending = state.actors(actor_state_name="PENDING_CREATION").values()
    return sum(
        actor["Name"].startswith(f"SERVE_REPLICA::{name}#") and not actor["Address"]["IPAddress"] for actor in pending
    )


def no_room(homeless: int, config: ServeConfig, free: list[dict[str, float]]) -> str:
    """The line that says what is missing, given what each node has free."""
    wanted = {"CPU": config.cpus_per_replica, "GPU": config.gpus_per_replica}
    kinds = [kind for kind, number in wanted.items() if number]
    each = " and ".join(f"{wanted[kind]:g} {kind}" for kind in kinds)
    most = " and ".join(f"{max((node.get(kind, 0) for node in free), default=0):g} {kind}" for kind in kinds)
    return (
        f"waiting   no room for {homeless} of the endpoint's replicas: each wants {each} on one node, where at most "
        f"{most} are free: end other work, add nodes, or serve with a smaller --serve.cpus_per_replica; it goes on "
        "when there is room"
    )
