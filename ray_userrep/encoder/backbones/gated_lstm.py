"""An LSTM in which what is known of an interaction (when, how, at what price) only decides what is let through.

Item vectors drive gates and candidate, properties the gates alone: they say how much an interaction counts, not what it
was of. Without properties apart it is the plain LSTM, to compare with. Steps are taken one after the other in Python,
over all windows at once: on GPU a fused LSTM, which knows no such gates, would be faster.

Shapes: T tokens, D width, H width of the recurrent state, N windows that reach a step, L steps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.gru import packing
from ray_userrep.encoder.layers import Dropout, Linear, Norm, ZeroLinear
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import LSTMConfig


class PropertyLSTM(Backbone):
    """Layers of the recurrence between residual connections, after DUPN (Ni et al., KDD 2018)."""

    causal = True

    def __init__(self, config: LSTMConfig, width: int) -> None:
        super().__init__()
        self.separates_context = config.context == "gates"
        self.blocks = nn.ModuleList(LSTMBlock(config, width) for _ in range(config.num_layers))
        self.norm = Norm(width, "layer")

    def forward(self, x_TD: Tensor, batch: Batch, context_TD: Tensor | None = None) -> Tensor:
        if batch.num_tokens == 0:
            return self.norm(x_TD)
        packed_T, sizes_L = packing(batch)
        x_TD = x_TD[packed_T]
        context_TD = None if context_TD is None else context_TD[packed_T]
        for block in self.blocks:
            x_TD = block(x_TD, context_TD, sizes_L.tolist())
        return self.norm(torch.empty_like(x_TD).index_copy(0, packed_T, x_TD))


class LSTMBlock(nn.Module):
    """x + map(lstm(norm(x), context)); gates are in the order input, forget, output, and the candidate comes last."""

    def __init__(self, config: LSTMConfig, width: int) -> None:
        super().__init__()
        hidden = config.hidden or width
        self.norm = Norm(width, "layer")
        self.items = Linear(width, 4 * hidden)
        self.properties = Linear(width, 3 * hidden) if config.context == "gates" else None
        self.recurrent = nn.Parameter(torch.randn(4 * hidden, hidden) * hidden**-0.5)
        # At first little is forgotten (Jozefowicz et al., ICML 2015).
        self.bias = nn.Parameter(torch.cat([torch.zeros(hidden), torch.ones(hidden), torch.zeros(2 * hidden)]))
        self.out = ZeroLinear(hidden, width)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_TD: Tensor, context_TD: Tensor | None, sizes_L: list[int]) -> Tensor:
        return x_TD + self.dropout(self.out(self._states(self._driven(x_TD, context_TD), sizes_L)))

    def _driven(self, x_TD: Tensor, context_TD: Tensor | None) -> Tensor:
        """What gates and candidates are driven by but for the state before, `[T, 4 H]`."""
        driven_T4H = self.items(self.norm(x_TD)) + self.bias
        if self.properties is None or context_TD is None:
            return driven_T4H
        return driven_T4H + F.pad(self.properties(context_TD), (0, self.recurrent.shape[1]))

    def _states(self, driven_T4H: Tensor, sizes_L: list[int]) -> Tensor:
        """The state after each token, `[T, H]`; tokens lie step by step, longer windows first."""
        width, states = self.recurrent.shape[1], []
        state_NH = cell_NH = driven_T4H.new_zeros(sizes_L[0], width)
        for driven_N4H in driven_T4H.split(sizes_L):
            going_on = slice(len(driven_N4H))
            driven_N4H = driven_N4H + state_NH[going_on] @ self.recurrent.T
            gates_N3H, candidate_NH = driven_N4H.split([3 * width, width], 1)
            let_in_NH, kept_NH, shown_NH = gates_N3H.sigmoid().chunk(3, 1)
            cell_NH = kept_NH * cell_NH[going_on] + let_in_NH * candidate_NH.tanh()
            state_NH = shown_NH * cell_NH.tanh()
            states.append(state_NH)
        return torch.cat(states)
