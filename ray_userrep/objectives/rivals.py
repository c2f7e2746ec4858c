"""Cross-entropy of a truth among rivals that differ from it, in chunks.

What is drawn, and what else a batch holds, are rivals of every state; those that are the same as its truth count for
nothing. Their scores are made for a few states at a time and turned into gradients at once, as in the full softmax: the
whole of them would be written to memory and read again by every step of the arithmetic.

Shapes: T states, K rivals, D width, C states of a chunk.
"""

import torch
from torch import Tensor

from ray_userrep.objectives.base import Gather
from ray_userrep.objectives.softmax import add_product, chunk_length, product_dtype, product_into


def rival_cross_entropy(
    positive_T: Tensor, states_TD: Tensor, rivals_KD: Tensor, key_T: Tensor, key_K: Tensor, offset_K: Tensor
) -> Tensor:
    """Summed cross-entropy of truths that score `positive_T` among rivals of another key, float32.

    `offset_K` is added to the rivals' scores; minus infinity leaves a rival out. Equal to the plain cross-entropy over
    the truth and the rivals.
    """
    return _RivalCrossEntropy.apply(positive_T.float(), states_TD, rivals_KD, key_T, key_K, offset_K.float())


def batch_cross_entropy(states_TD: Tensor, truth_TD: Tensor, key_T: Tensor, is_filler: bool, gather: Gather) -> Tensor:
    """Summed cross-entropy of each state's truth among those of all ranks that have another key, float32.

    `is_filler` says that this rank's are none, and only keep the ranks in step.
    """
    truth_KD, _ = gather(truth_TD)
    key_K, _ = gather(key_T)
    is_filler_K, _ = gather(torch.full_like(key_T, is_filler))
    offset_K = torch.zeros(len(key_K), device=key_K.device).masked_fill(is_filler_K != 0, float("-inf"))
    positive_T = (states_TD.float() * truth_TD.float()).sum(1)
    return rival_cross_entropy(positive_T, states_TD, truth_KD, key_T, key_K, offset_K)


class _RivalCrossEntropy(torch.autograd.Function):
    """Gradients are made with the loss, chunk by chunk, and only scaled in the backward pass."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,
        positive_T: Tensor,
        states_TD: Tensor,
        rivals_KD: Tensor,
        key_T: Tensor,
        key_K: Tensor,
        offset_K: Tensor,
    ) -> Tensor:
        dtype = product_dtype(states_TD)
        states_TD, rivals_KD = states_TD.to(dtype), rivals_KD.to(dtype)
        _, need_states, need_rivals, *_ = ctx.needs_input_grad
        grad_T = torch.empty_like(positive_T)
        grad_TD = torch.empty_like(states_TD) if need_states else None
        grad_KD = torch.zeros_like(rivals_KD, dtype=torch.float32) if need_rivals else None
        loss, length = positive_T.new_zeros(()), chunk_length(rivals_KD)
        buffer_CK = positive_T.new_empty(min(length, len(states_TD)), len(rivals_KD))
        for first in range(0, len(states_TD), length):
            here = slice(first, first + length)
            h_CD, positive_C1 = states_TD[here], positive_T[here, None]
            scores_CK = product_into(buffer_CK[: len(h_CD)], h_CD, rivals_KD.T).add_(offset_K)
            scores_CK.masked_fill_(key_T[here, None] == key_K, float("-inf"))
            peak_C1 = torch.maximum(scores_CK.amax(1, keepdim=True), positive_C1)
            own_C1 = (positive_C1 - peak_C1).exp()
            total_C1 = scores_CK.sub_(peak_C1).exp_().sum(1, keepdim=True) + own_C1
            loss += (total_C1.log() + peak_C1 - positive_C1).sum()
            grad_T[here] = (own_C1 / total_C1 - 1).squeeze(1)
            error_CK = scores_CK.to(dtype)
            if grad_TD is not None:
                torch.mm(error_CK, rivals_KD, out=grad_TD[here]).div_(total_C1)
            if grad_KD is not None:
                add_product(grad_KD, error_CK.T, (h_CD / total_C1).to(dtype))
        ctx.save_for_backward(grad_T, grad_TD, grad_KD)
        return loss

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]
        return *(x if x is None else x.mul_(grad) for x in ctx.saved_tensors), None, None, None
