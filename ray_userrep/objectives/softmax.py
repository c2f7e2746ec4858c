"""The item softmax: full cross-entropy in chunks, and sampled softmax with logQ correction.

Full cross-entropy makes the logits of a few tokens at a time and turns them into gradients at once, so that memory
grows with the table, not with tokens times items; the price is that gradients are made in the forward pass. Sampled
softmax makes scores for the drawn items only and pays with variance.

Shapes: T tokens, D width, V items, K negatives, C tokens of a chunk.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.batch import Batch
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.objectives.base import Draws

# About what stays in a CPU's caches while it is turned from logits into gradients; a GPU wants large products.
_CHUNK_LOGITS = {"cpu": 2**21, "cuda": 2**26}
_CHUNK_TOKENS = 64  # fewer would read the item table from memory for too little work

NEGATIVES, LOG_EXPECTED = "negatives", "log_expected"
_NEGATIVE_DRAW = 12


class ItemSoftmax(nn.Module, ABC):
    """The loss of predicting items from states."""

    def sample(self, rng: Draws) -> dict[str, Tensor]:
        """What is drawn once a global batch and travels with its views."""
        return {}

    @abstractmethod
    def forward(self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch) -> Tensor:
        """Summed negative log-likelihood, float32."""


class FullSoftmax(ItemSoftmax):
    """Cross-entropy over the whole catalogue; logits are never held whole."""

    def forward(self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch) -> Tensor:
        return chunked_cross_entropy(states_TD, encoder.items(None), targets_T)


class SampledSoftmax(ItemSoftmax):
    """Cross-entropy over the target and K negatives shared by the global batch.

    Negatives come from counts to the power alpha, with replacement, and the log of their expected number of draws is
    taken off their scores (Bengio & Senécal 2008). The target is there for certain, so that nothing is taken off its
    own, and a negative that is a token's target is left out for that token: the normaliser is unbiased, and the loss
    goes to full cross-entropy as K grows.
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
        return {NEGATIVES: torch.from_numpy(ids_K), LOG_EXPECTED: self._log_expected_V[ids_K]}

    def forward(self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch) -> Tensor:
        negatives_K = view.labels[NEGATIVES]
        positive_T = (states_TD.float() * encoder.items(targets_T).float()).sum(-1)
        negative_TK = (states_TD @ encoder.items(negatives_K).T).float() - view.labels[LOG_EXPECTED]
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
        dtype = _product_dtype(states_TD)
        states_TD, table_VD = states_TD.to(dtype), table_VD.to(dtype)
        grad_states_TD = torch.empty_like(states_TD) if need_states else None
        grad_table_VD = torch.zeros_like(table_VD, dtype=torch.float32) if need_table else None
        loss = _sum_loss(states_TD, table_VD, targets_T, grad_states_TD, grad_table_VD)
        ctx.save_for_backward(grad_states_TD, grad_table_VD)
        return loss

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[no-untyped-def]
        # In place: a table's gradient is as large as the table. A second backward is refused by autograd.
        states_TD, table_VD = (x if x is None else x.mul_(grad) for x in ctx.saved_tensors)
        return states_TD, table_VD, None


def _sum_loss(
    states_TD: Tensor, table_VD: Tensor, targets_T: Tensor, grad_states_TD: Tensor | None, grad_table_VD: Tensor | None
) -> Tensor:
    """The summed loss; fills in the gradients that are wanted."""
    loss = states_TD.new_zeros((), dtype=torch.float32)
    chunk = max(_CHUNK_TOKENS, _CHUNK_LOGITS[states_TD.device.type] // len(table_VD))
    buffer_CV = states_TD.new_empty(min(chunk, len(states_TD)), len(table_VD), dtype=torch.float32)
    for first in range(0, len(states_TD), chunk):
        here = slice(first, first + chunk)
        h_CD = states_TD[here]
        logits_CV = _product_into(buffer_CV[: len(h_CD)], h_CD, table_VD.T)
        loss_here, total_C1 = _errors_in_place(logits_CV, targets_T[here, None])
        loss += loss_here
        error_CV = logits_CV.to(states_TD.dtype)
        if grad_states_TD is not None:
            torch.mm(error_CV, table_VD, out=grad_states_TD[here]).div_(total_C1)
        if grad_table_VD is not None:
            _add_product(grad_table_VD, error_CV.T, (h_CD / total_C1).to(states_TD.dtype))
    return loss


def _errors_in_place(logits_CV: Tensor, target_C1: Tensor) -> tuple[Tensor, Tensor]:
    """Turn logits into (softmax - one-hot) times a total; returns the summed loss and the total, `[C, 1]`.

    Dividing the narrow products by the total is cheaper than dividing the wide errors.
    """
    peak_C1 = logits_CV.amax(1, keepdim=True)
    own_C1 = logits_CV.gather(1, target_C1) - peak_C1
    total_C1 = logits_CV.sub_(peak_C1).exp_().sum(1, keepdim=True)
    logits_CV.scatter_add_(1, target_C1, -total_C1)
    return (total_C1.log() - own_C1).sum(), total_C1


def _product_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _product_into(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a, b, out=out) if a.dtype == out.dtype else out.copy_(a @ b)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
