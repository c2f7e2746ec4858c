"""Rows of item tables between the ranks of a run, by torch.distributed: what `encoder/items/exchange.py` asks for."""

import torch
import torch.distributed as dist
from torch import Tensor

from ray_userrep.encoder.items.exchange import ALONE, Exchange


class _BetweenRanks:
    """All-to-all over the default group, which must be up."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def numbers(self, going_W: Tensor) -> tuple[list[int], list[int]]:
        coming_W = torch.empty_like(going_W)
        dist.all_to_all_single(coming_W, going_W)
        going, coming = torch.stack([going_W, coming_W]).tolist()
        return going, coming

    def rows(self, rows_N: Tensor, going: list[int], coming: list[int]) -> Tensor:
        found_N = rows_N.new_empty(sum(coming), *rows_N.shape[1:])
        dist.all_to_all_single(found_N, rows_N.contiguous(), coming, going)
        return found_N


def exchange_of_ranks() -> Exchange:
    """That of the ranks of this run; the default process group must be up."""
    return _BetweenRanks() if dist.get_world_size() > 1 else ALONE
