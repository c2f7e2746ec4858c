"""A graph neural network over users and items: a user is told by a few items, other users of these, and their items.

Two hops by recursion. Items of a window first take in users who took them, and the user the items; in the second hop
the user takes in the items as they are now. Users have no vectors of their own: where the recursion ends, one is the
mean of some of their items, so that new users need no training; it costs S² item vectors a token. An item that nothing
is known of but its users is told in the same way, by the same weights.

Inspired by PT-GNN (Hao et al., WSDM 2021, arXiv 2012.07064). Its authors' code has no nonlinearity, no recursion and no
attention over the graph: here the layers are those of GraphSAGE and GAT, and a policy's baseline is learned.

Shapes: T tokens, B windows or items, S neighbours, L longest window, N nodes, D width, H heads, E width of a head.
"""

from typing import NamedTuple, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.backbones.attention import AttentionLayout, WindowGroup
from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.transformer import TransformerBlock
from ray_userrep.encoder.graph import Around
from ray_userrep.encoder.layers import Dropout, Linear, Norm
from ray_userrep.encoder.readout import window_sums
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import GNNConfig, TransformerConfig

META_BLOCKS, POLICY_WIDTH = 2, 8
META = TransformerConfig(causal=False, ffn="gelu", norm="layer", dropout=0.0)  # a block of the meta-aggregator
_SLOPE = 0.2  # of the LeakyReLU that GAT scores neighbours with


class GNN(Backbone):
    """The state of the user after each item of a window; `items` has those of items."""

    causal = True

    def __init__(self, config: GNNConfig, width: int) -> None:
        super().__init__()
        self.unknown = Unknown(width)
        self.policy = Policy(width) if config.sampler == "learned" else None
        self.hops = nn.ModuleList(Hop(config, width, is_last) for is_last in (False, True))
        self.norm = Norm(width, "layer")

    def forward(  # type: ignore[override]
        self, x_TD: Tensor, batch: Batch, around: Around, x_TSSD: Tensor
    ) -> Tensor:
        """States of users, `[T, D]`, from the items of their windows and the items around these."""
        first, second = self.hops
        users_TSD = masked_mean(x_TSSD, around.is_item_TSS)
        place_TL, is_there_TL = _so_far(batch)
        is_read_TS = around.is_user_TS
        if self.policy is not None:
            seen_BD = window_sums(x_TD, batch.offsets_B1) / batch.lengths()[:, None].clamp(min=1)
            owner_T = batch.per_token(torch.arange(batch.num_users, device=x_TD.device))
            is_read_TS = self.policy(x_TD, users_TSD, is_read_TS, around.draw_TS, owner_T, seen_BD)
        items_TD = first(x_TD, users_TSD, is_read_TS)
        user_TD = first(self.unknown(x_TD), x_TD[place_TL], is_there_TL)
        return self.norm(second(user_TD, items_TD[place_TL], is_there_TL))

    def items(self, around: Around, x_BSSD: Tensor) -> Tensor:
        """States of items, `[B, D]`, from users who took them and the items of these, all of them others."""
        first, second = self.hops
        users_BSD = masked_mean(x_BSSD, around.is_item_TSS)
        item_BD = first(self.unknown(users_BSD[:, 0]), users_BSD, around.is_user_TS)
        users_BSD = first(users_BSD, x_BSSD, around.is_item_TSS)
        return self.norm(second(item_BD, users_BSD, around.is_user_TS))

    def credited(self, loss_B: Tensor) -> Tensor:
        return loss_B if self.policy is None else self.policy.credited(loss_B)


class Unknown(nn.Module):
    """One trained vector for all users and items of which nothing but neighbours is known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, like_ND: Tensor) -> Tensor:
        return self.weight.expand_as(like_ND)


class Hop(nn.Module):
    """A node's next state from its own and its neighbours'; where it has none, from its own alone."""

    def __init__(self, config: GNNConfig, width: int, is_last: bool) -> None:
        super().__init__()
        self.meta = MetaAggregator(width, config.num_heads) if config.meta_aggregator else None
        self.layer = _layer(config, width)
        self.dropout = Dropout(config.dropout)
        self._is_last = is_last

    def forward(self, own_ND: Tensor, near_NSD: Tensor, is_there_NS: Tensor) -> Tensor:
        near_NSD = near_NSD.masked_fill(~is_there_NS[..., None], 0.0)  # what is elsewhere may be of another window
        more_ND = None if self.meta is None else self.meta(near_NSD, is_there_NS)
        state_ND: Tensor = self.dropout(self.layer(own_ND, near_NSD, is_there_NS, more_ND))
        return state_ND if self._is_last else F.elu(state_ND)


def _layer(config: GNNConfig, width: int) -> nn.Module:
    match config.layer:
        case "sage":
            return SAGE(width)
        case "gat":
            return GAT(width, config.num_heads)
        case never:
            assert_never(never)


class SAGE(nn.Module):
    """W · [own ‖ mean of the neighbours] (Hamilton et al., NeurIPS 2017, algorithm 1); `more_ND` adds to the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own, self.near = Linear(width, width), Linear(width, width)

    def forward(self, own_ND: Tensor, near_NSD: Tensor, is_there_NS: Tensor, more_ND: Tensor | None) -> Tensor:
        mean_ND = masked_mean(near_NSD, is_there_NS)
        joined_ND: Tensor = self.own(own_ND) + self.near(mean_ND if more_ND is None else mean_ND + more_ND)
        return joined_ND


class GAT(nn.Module):
    """Sum over neighbours and the node itself of softmax(LeakyReLU(a · [W own ‖ W other])) · W other, by heads.

    Veličković et al., ICLR 2018, equations 1 to 5; `more_ND` goes through the same map and is added.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.map = Linear(width, width)
        self.own = nn.Parameter(torch.randn(num_heads, width // num_heads) * (num_heads / width) ** 0.5)
        self.other = nn.Parameter(torch.randn(num_heads, width // num_heads) * (num_heads / width) ** 0.5)

    def forward(self, own_ND: Tensor, near_NSD: Tensor, is_there_NS: Tensor, more_ND: Tensor | None) -> Tensor:
        own_ND, near_NSD = self.map(own_ND), self.map(near_NSD)
        others_NSHE = torch.cat([own_ND[..., None, :], near_NSD], -2).unflatten(-1, (len(self.own), -1))
        own_NHE = others_NSHE[..., 0, :, :]
        score_NSH = F.leaky_relu(
            (own_NHE * self.own).sum(-1)[..., None, :] + (others_NSHE * self.other).sum(-1), _SLOPE
        )
        is_seen_NS = F.pad(is_there_NS, (1, 0), value=True)
        weight_NSH = score_NSH.masked_fill(~is_seen_NS[..., None], float("-inf")).softmax(-2)
        state_ND = (weight_NSH[..., None] * others_NSHE).sum(-3).flatten(-2)
        return state_ND if more_ND is None else state_ND + self.map(more_ND)


class MetaAggregator(nn.Module):
    """The mean of a node's neighbours once they have attended to each other; zeros where there are none."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        config = META.model_copy(update={"num_heads": num_heads})
        self.blocks = nn.ModuleList(TransformerBlock(config, width) for _ in range(META_BLOCKS))

    def forward(self, near_NSD: Tensor, is_there_NS: Tensor) -> Tensor:
        *nodes, number, width = near_NSD.shape
        x_TD, layout = near_NSD.reshape(-1, width), _all_alike(is_there_NS.reshape(-1, number))
        for block in self.blocks:
            x_TD = block(x_TD, layout, None)
        return masked_mean(x_TD.view(*nodes, number, width), is_there_NS)


class Chosen(NamedTuple):
    """The log-probability of what was chosen for each window, and the loss that was expected of it, `[B]` both."""

    log_p_B: Tensor
    expected_B: Tensor


class Policy(nn.Module):
    """Which of an item's users are read: in training as drawn, else the likelier ones; where none is, all are.

    Learned from rewards (REINFORCE: Williams 1992), with a baseline that is learned as well, of what is seen of each
    user. It learns nothing of what it reads: gradients end here.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(3 * width, POLICY_WIDTH), nn.Linear(POLICY_WIDTH, 1)
        self.baseline = nn.Linear(width, 1)
        self._chosen: Chosen | None = None

    def forward(
        self, x_TD: Tensor, near_TSD: Tensor, is_there_TS: Tensor, draw_TS: Tensor, owner_T: Tensor, seen_BD: Tensor
    ) -> Tensor:
        """Which neighbours are read, `[T, S]`; `owner_T` is each token's window."""
        x_TSD, near_TSD = x_TD.detach()[:, None].expand_as(near_TSD), near_TSD.detach()
        logit_TS = self.out(self.hidden(torch.cat([x_TSD, near_TSD, x_TSD * near_TSD], -1)).relu()).squeeze(-1).float()
        is_taken_TS = is_there_TS & (draw_TS < logit_TS.detach().sigmoid())
        log_p_TS = -F.binary_cross_entropy_with_logits(logit_TS, is_taken_TS.float(), reduction="none")
        log_p_T = (log_p_TS * is_there_TS).sum(1)
        log_p_B = log_p_T.new_zeros(len(seen_BD)).index_add(0, owner_T, log_p_T)
        self._chosen = Chosen(log_p_B, self.baseline(seen_BD.detach()).squeeze(-1).float())
        return torch.where(is_taken_TS.any(1, keepdim=True), is_taken_TS, is_there_TS)

    def credited(self, loss_B: Tensor) -> Tensor:
        """The losses, with the gradient that makes choices likelier after which they are lower than expected."""
        if self._chosen is None:
            return loss_B
        (log_p_B, expected_B), self._chosen = self._chosen, None
        known_B = loss_B.detach()
        told_B = (known_B - expected_B.detach()) * log_p_B + (expected_B - known_B).square()
        return loss_B + (told_B - told_B.detach())


def masked_mean(x_NSD: Tensor, is_there_NS: Tensor) -> Tensor:
    """The mean over those that are there, zeros where none is, `[N, D]`."""
    sums_ND = x_NSD.masked_fill(~is_there_NS[..., None], 0.0).sum(-2)
    return sums_ND / is_there_NS.sum(-1, keepdim=True).clamp(min=1)


def _so_far(batch: Batch) -> tuple[Tensor, Tensor]:
    """The tokens of each token's window up to it, newest first, and which of these places there are, `[T, L]`."""
    back_L = torch.arange(max(1, batch.max_len), device=batch.values_T.device)
    token_T1 = torch.arange(batch.num_tokens, device=batch.values_T.device)[:, None]
    return (token_T1 - back_L).clamp(min=0), back_L <= batch.positions()[:, None]


def _all_alike(is_there_NS: Tensor) -> AttentionLayout:
    """The layout of equally many neighbours of each node; where none is there all are seen, and left out later."""
    num_nodes, number = is_there_NS.shape
    visible_NS = is_there_NS | ~is_there_NS.any(1, keepdim=True)
    group = WindowGroup(num_nodes, number, visible_NS[:, None, None])
    offsets_N1 = torch.arange(num_nodes + 1, dtype=torch.int32, device=is_there_NS.device) * number
    place_T = torch.arange(num_nodes * number, device=is_there_NS.device)
    return AttentionLayout(offsets_N1, number, False, [group], place_T, place_T, place_T[:0])
