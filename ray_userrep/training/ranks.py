"""What one rank finds out and all act upon, and what each counts for all.

Ranks that each looked for themselves might see a store at different moments and part ways; then every one waits for
the others for ever. So rank 0 looks, and its answer or refusal is everybody's.
"""

import json
from collections.abc import Callable
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.errors import UserError
from ray_userrep.feed.ranks import Count
from ray_userrep.training.step import Engine


def told(engine: Engine, find: Callable[[], Any]) -> Any:
    """What rank 0 finds, as plain values, on all ranks.

    Raises:
        UserError: rank 0 met one; on all ranks alike.
    """
    answer = _answer(find) if engine.rank == 0 else b""
    length = int(engine.sum(torch.tensor([len(answer)], device=engine.device)))
    said = torch.zeros(length, dtype=torch.int32, device=engine.device)
    if engine.rank == 0:
        said += torch.tensor(list(answer), dtype=torch.int32, device=engine.device)
    heard = json.loads(bytes(engine.sum(said).tolist()))
    if "refused" in heard:
        raise UserError(heard["refused"])
    return heard["found"]


class Group(Protocol):
    """Ranks that add up tensors: those of an engine, or of what an engine will be made with."""

    device: torch.device
    rank: int
    world: int

    def sum(self, x: Tensor) -> Tensor: ...


class Together:
    """The ranks of a group, as those that count together see each other."""

    def __init__(self, group: Group) -> None:
        self.rank, self.world = group.rank, group.world
        self._group = group

    def total(self, counts: NDArray[Count]) -> NDArray[Count]:
        """The sums of each rank's counts; all ranks have to ask."""
        found: NDArray[Count] = self._group.sum(torch.from_numpy(counts).to(self._group.device)).cpu().numpy()
        return found


def _answer(find: Callable[[], Any]) -> bytes:
    try:
        return json.dumps({"found": find()}).encode()
    except UserError as error:
        return json.dumps({"refused": str(error)}).encode()
