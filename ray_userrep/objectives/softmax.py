"""The item softmax, and its full form: cross-entropy over the whole catalogue in chunks.

The logits of a few tokens at a time are made and turned into gradients at once, so that memory grows with the table,
not with tokens times items; the price is that gradients are made in the forward pass.

Shapes: T tokens, D width, V items, C tokens of a chunk.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder import device
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, identity_gather

# About what stays in a CPU's caches while it is turned from logits into gradients; a GPU wants large products.
_CHUNK_LOGITS, _CHUNK_LOGITS_ON_GPU = 2**21, 2**26
_CHUNK_TOKENS = 64  # fewer would read the item table from memory for too little work


class ItemSoftmax(nn.Module, ABC):
    """The loss of predicting items from states; one that `looks_across` windows depends on what it gathers."""

    looks_across: bool = False

    def sample(self, rng: Draws, targets_T: Tensor) -> dict[str, Tensor]:
        """What is drawn for the given targets and travels with their view."""
        return {}

    def scaled(self, states_TD: Tensor) -> Tensor:
        """States whose products with item vectors are the scores."""
        return states_TD

    @abstractmethod
    def forward(
        self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch, gather: Gather = identity_gather
    ) -> Tensor:
        """Summed negative log-likelihood, float32."""


class FullSoftmax(ItemSoftmax):
    """Cross-entropy over the whole catalogue; logits are never held whole."""

    def forward(
        self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch, gather: Gather = identity_gather
    ) -> Tensor:
        return chunked_cross_entropy(states_TD, encoder.items(None), targets_T)


class Cosine(ItemSoftmax):
    """Another softmax over cosines and a temperature; the encoder's items have length one already."""

    def __init__(self, inner: ItemSoftmax, temperature: float) -> None:
        super().__init__()
        self.inner = inner
        self.looks_across = inner.looks_across
        self._temperature = temperature

    def sample(self, rng: Draws, targets_T: Tensor) -> dict[str, Tensor]:
        return self.inner.sample(rng, targets_T)

    def scaled(self, states_TD: Tensor) -> Tensor:
        return (F.normalize(states_TD.float(), dim=-1) / self._temperature).to(states_TD.dtype)

    def forward(
        self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch, gather: Gather = identity_gather
    ) -> Tensor:
        loss: Tensor = self.inner(self.scaled(states_TD), targets_T, encoder, view, gather)
        return loss


def chunked_cross_entropy(states_TD: Tensor, table_VD: Tensor, targets_T: Tensor) -> Tensor:
    """Summed cross-entropy of `states @ table.T` against the targets, float32; equal to the plain one."""
    return _ChunkedCrossEntropy.apply(states_TD, table_VD, targets_T)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients are made with the loss, chunk by chunk, and only scaled in the backward pass."""

    @staticmethod
    def forward(ctx, states_TD: Tensor, table_VD: Tensor, targets_T: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        need_states, need_table, _ = ctx.needs_input_grad
        dtype = product_dtype(states_TD)
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
    chunk = chunk_length(table_VD)
    buffer_CV = states_TD.new_empty(min(chunk, len(states_TD)), len(table_VD), dtype=torch.float32)
    for first in range(0, len(states_TD), chunk):
        here = slice(first, first + chunk)
        h_CD = states_TD[here]
        logits_CV = product_into(buffer_CV[: len(h_CD)], h_CD, table_VD.T)
        loss_here, total_C1 = _errors_in_place(logits_CV, targets_T[here, None])
        loss += loss_here
        error_CV = logits_CV.to(states_TD.dtype)
        if grad_states_TD is not None:
            torch.mm(error_CV, table_VD, out=grad_states_TD[here]).div_(total_C1)
        if grad_table_VD is not None:
            add_product(grad_table_VD, error_CV.T, (h_CD / total_C1).to(states_TD.dtype))
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


def chunk_length(table_VD: Tensor) -> int:
    """How many states are scored together against a table."""
    logits = _CHUNK_LOGITS_ON_GPU if device.on_gpu(table_VD) else _CHUNK_LOGITS
    return max(_CHUNK_TOKENS, logits // max(1, len(table_VD)))


def product_dtype(x: Tensor) -> torch.dtype:
    """What products are made in: the type that autocast asks for, else that of what is given."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def product_into(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices, in a buffer that may be of another type."""
    return torch.mm(a, b, out=out) if a.dtype == out.dtype else out.copy_(a @ b)


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the product of two matrices to a total that may be of another type."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
