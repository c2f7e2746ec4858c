"""How likely a model of text finds the answers: the mean over an answer's tokens, so that a word weighs as a sentence.

transformers' T5 reads padded batches. A micro-batch's rows are therefore read in a few groups of like lengths, as many
on every rank and in every step: padding is what is left of the spread inside a group.

Shapes: B rows, L tokens of the longest, T tokens of all, V tokens of the vocabulary.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.corpus.jagged import ranges
from ray_userrep.feed.batch import Batch
from ray_userrep.generative.model import TextModel
from ray_userrep.generative.rows import ANSWER, WORD
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather

_GROUPS = 4


class TextLikelihood(Objective[TextModel]):
    """The negative log-likelihood of a row's answer given its prompt, a mean over its tokens (P5, equation 1)."""

    parts = ("text",)

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """Prompts and answers by turns, a pair for each group of rows of like lengths, fillers where there are few."""
        order_B = np.argsort(batch.lengths().numpy(), kind="stable")
        is_answer_T = (batch.side[WORD] == ANSWER).numpy()
        views = []
        for rows in np.array_split(order_B, _GROUPS):
            weight = batch.weight if len(rows) else 0.0
            rows = rows if len(rows) else order_B[:1]
            views += [_part(batch, rows, ~is_answer_T, weight), _part(batch, rows, is_answer_T, weight)]
        return views

    def counts(self, views: list[Batch]) -> Tensor:
        return torch.tensor([sum(view.num_users * view.weight for view in views[1::2])])

    def forward(self, encoder: TextModel, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        pairs = zip(views[::2], views[1::2], strict=True)
        losses = [_loss(encoder, source, answer) * answer.weight for source, answer in pairs]
        return LossSum(torch.stack(losses).sum()[None])


def padded(batch: Batch, values_T: Tensor, fill: int) -> Tensor:
    """Values of tokens as rows of one length, `[B, L]`."""
    values_BL = values_T.new_full((batch.num_users, batch.max_len), fill)
    values_BL[_rows(batch), batch.positions()] = values_T
    return values_BL


def inputs(model: TextModel, source: Batch) -> dict[str, Tensor]:
    """What the model's encoder is given of prompts, in training and in generation."""
    words_BL = padded(source, source.side[WORD], 0)
    mask_BL = padded(source, torch.ones_like(source.values_T), 0)
    ids_BL = padded(source, source.values_T, model.pad)
    return {"inputs_embeds": model.embedded(ids_BL, words_BL), "attention_mask": mask_BL}


def _loss(model: TextModel, source: Batch, answer: Batch) -> Tensor:
    """The sum over rows of the mean loss of an answer's tokens."""
    given_BL = F.pad(padded(answer, answer.values_T, model.pad), (1, -1), value=model.pad)
    logits_BLV = model(**inputs(model, source), decoder_input_ids=given_BL, use_cache=False).logits
    logits_TV = logits_BLV[_rows(answer), answer.positions()].float()
    loss_T = F.cross_entropy(logits_TV, answer.values_T, reduction="none")
    return (loss_T / answer.per_token(answer.lengths())).sum()


def _rows(batch: Batch) -> Tensor:
    """The row of each token, `[T]`."""
    return batch.per_token(torch.arange(batch.num_users, device=batch.values_T.device))


def _part(batch: Batch, rows: NDArray[np.int64], kept_T: NDArray[np.bool_], weight: float) -> Batch:
    """The tokens of some rows that are kept: their prompts, or their answers."""
    offsets_B1 = batch.offsets_B1.numpy().astype(np.int64)
    before_T1 = np.append(0, np.cumsum(kept_T))
    starts_B, lengths_B = before_T1[offsets_B1[:-1]], np.diff(before_T1[offsets_B1])
    place = torch.from_numpy(np.flatnonzero(kept_T)[ranges(starts_B[rows], lengths_B[rows])])
    return replace(
        batch,
        values_T=batch.values_T[place],
        offsets_B1=torch.from_numpy(np.append(0, np.cumsum(lengths_B[rows])).astype(np.int32)),
        users_B=batch.users_B[torch.from_numpy(rows)],
        max_len=int(lengths_B[rows].max()),
        side={WORD: batch.side[WORD][place]},
        labels={},
        weight=weight,
    )
