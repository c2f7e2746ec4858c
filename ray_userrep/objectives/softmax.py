"""The item softmax: full cross-entropy in chunks, and sampled softmax with logQ correction.

Full cross-entropy makes the logits of a few tokens at a time and turns them into gradients at once, so that memory
grows with the table, not with tokens times items; the price is that gradients are made in the forward pass. Sampled
softmax makes scores for the drawn items only and pays with variance.

Shapes: T tokens, D width, V items, K negatives, C tokens of a chunk.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.batch import Batch
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.objectives.base import Draws

_CHUNK_LOGITS = 2**20  # about what stays in a core's cache while it is turned from logits into gradients
_CHUNK_TOKENS = 64  # fewer would read the item table from memory for too little work

NEGATIVES = "negatives"
_NEGATIVE_DRAW = 12


class ItemSoftmax(nn.Module):
    """The loss of predicting items from states."""

    def sample(self, rng: Draws) -> dict[str, Tensor]:
        """What is drawn once a global batch and travels with its views."""
        return {}

    def forward(self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch) -> Tensor:
        """Summed negative log-likelihood, float32."""
        raise NotImplementedError


class FullSoftmax(ItemSoftmax):
    """Cross-entropy over the whole catalogue; logits are never held whole."""

    def forward(self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch) -> Tensor:
        return chunked_cross_entropy(states_TD, encoder.items(None), targets_T)


class SampledSoftmax(ItemSoftmax):
    """Cross-entropy over the target and K negatives shared by the global batch.

    Negatives come from counts to the power alpha, with replacement; their expected number of draws is taken off the
    scores (Bengio & Senécal 2008), and a negative that is a token's own target is left out for that token.
    """

    def __init__(self, counts_V: NDArray[np.int64], num_negatives: int, alpha: float) -> None:
        super().__init__()
        weight_V = np.maximum(counts_V, 1).astype(np.float64) ** alpha
        self._cdf_V = np.cumsum(weight_V / weight_V.sum())
        self._log_expected_V = torch.from_numpy(np.log(weight_V / weight_V.sum() * num_negatives)).float()
        self._num_negatives = num_negatives

    def sample(self, rng: Draws) -> dict[str, Tensor]:
        draws_K = rng.uniforms(_NEGATIVE_DRAW, np.arange(self._num_negatives))
        ids_K = np.searchsorted(self._cdf_V, draws_K, side="right").clip(max=len(self._cdf_V) - 1)
        return {NEGATIVES: torch.from_numpy(ids_K)}

    def forward(self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch) -> Tensor:
        negatives_K = view.labels[NEGATIVES]
        log_expected_V = self._log_expected_V.to(states_TD.device)
        positive_T = (states_TD * encoder.items(targets_T)).sum(-1).float() - log_expected_V[targets_T]
        negative_TK = (states_TD @ encoder.items(negatives_K).T).float() - log_expected_V[negatives_K]
        negative_TK = negative_TK.masked_fill(targets_T[:, None] == negatives_K, float("-inf"))
        logits = torch.cat([positive_T[:, None], negative_TK], 1)
        return F.cross_entropy(logits, torch.zeros_like(targets_T), reduction="sum")


def chunked_cross_entropy(states_TD: Tensor, table_VD: Tensor, targets_T: Tensor) -> Tensor:
    """Summed cross-entropy of `states @ table.T` against the targets, float32; equal to the plain one."""
    return _ChunkedCrossEntropy.apply(states_TD, table_VD, targets_T)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients are made with the loss, chunk by chunk, and only scaled in the backward pass."""

    @staticmethod
    def forward(ctx, states_TD: Tensor, table_VD: Tensor, targets_T: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        need_states, need_table, _ = ctx.needs_input_grad
        half = _autocast_dtype(states_TD)
        states_TD, table_VD = states_TD.to(half), table_VD.to(half)
        grad_states_TD = torch.empty_like(states_TD) if need_states else None
        grad_table_VD = torch.zeros_like(table_VD, dtype=torch.float32) if need_table else None
        loss = states_TD.new_zeros((), dtype=torch.float32)
        chunk = max(_CHUNK_TOKENS, _CHUNK_LOGITS // table_VD.shape[0])
        for first in range(0, states_TD.shape[0], chunk):
            here = slice(first, first + chunk)
            h_CD, target_C1 = states_TD[here], targets_T[here, None]
            logits_CV = (h_CD @ table_VD.T).float()
            peak_C1 = logits_CV.amax(1, keepdim=True)
            loss -= (logits_CV.gather(1, target_C1) - peak_C1).sum()
            share_CV = logits_CV.sub_(peak_C1).exp_()
            total_C1 = share_CV.sum(1, keepdim=True)
            loss += total_C1.log().sum()
            if grad_states_TD is None and grad_table_VD is None:
                continue
            share_CV.div_(total_C1).scatter_add_(1, target_C1, torch.full_like(peak_C1, -1.0))
            share_CV = share_CV.to(half)
            if grad_states_TD is not None:
                torch.mm(share_CV, table_VD, out=grad_states_TD[here])
            if grad_table_VD is not None:
                _add_product(grad_table_VD, share_CV.T, h_CD)
        ctx.save_for_backward(grad_states_TD, grad_table_VD)
        return loss

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[no-untyped-def]
        states_TD, table_VD = ctx.saved_tensors
        scaled = lambda x: None if x is None else x * grad  # noqa: E731
        return scaled(states_TD), scaled(table_VD), None


def _autocast_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
