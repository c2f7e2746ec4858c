"""Bridges bring a user from one domain to the factors of another: by one map for everybody, or by one for each user.

The one map is that of EMCDR (Man et al., IJCAI 2017). The other is that of PTUPCDR (Zhu et al., WSDM 2022): attention
over the items that a user liked makes a taste, and a network makes a map of that; it has many more parameters, which
all users share. Both lead everybody to zero at first, where nothing is predicted beyond the biases.

Shapes: B users, L liked items of all of them, F numbers of a user vector, E of an item vector, D factors.
"""

import torch
from torch import Tensor, nn

from ray_userrep.encoder.layers import ZeroLinear


class LinearBridge(ZeroLinear):
    """One map without a bias."""


class PersonalBridge(nn.Module):
    """A map for each user."""

    def __init__(self, num_inputs: int, item_width: int, hidden: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Linear(item_width, item_width)
        self.query = nn.Linear(item_width, 1, bias=False)
        self.inner = nn.Linear(item_width, hidden)
        self.outer = nn.Linear(hidden, num_inputs * width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, vectors_BF: Tensor, liked_LE: Tensor, of_L: Tensor) -> Tensor:
        """Users at the factors, `[B, D]`; `of_L` says whose each liked item is."""
        taste_BE = self.taste(liked_LE, of_L, len(vectors_BF))
        maps_BFD = self.outer(self.inner(taste_BE).relu()).view(*vectors_BF.shape, -1)
        return torch.einsum("bf,bfd->bd", vectors_BF, maps_BFD)

    def taste(self, liked_LE: Tensor, of_L: Tensor, num_users: int) -> Tensor:
        """The weighted mean of each user's liked items, `[B, E]`; zeros for who liked none."""
        score_L = self.query(self.keys(liked_LE).relu())[:, 0].float()
        highest_B = score_L.new_full((num_users,), float("-inf")).scatter_reduce(0, of_L, score_L.detach(), "amax")
        weight_L = (score_L - highest_B[of_L]).exp()
        sums_B = weight_L.new_zeros(num_users).index_add(0, of_L, weight_L)
        share_L1 = (weight_L / sums_B[of_L])[:, None].to(liked_LE)
        return liked_LE.new_zeros(num_users, liked_LE.shape[1]).index_add(0, of_L, liked_LE * share_L1)
