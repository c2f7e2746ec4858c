"""Heads on user vectors: what they put out, what they lose on, and which scores that makes.

A head is of one of three kinds: one of several classes (softmax), any of several labels (a sigmoid each), or a value,
which is learned in units of its own spread. The kind is all that tells them apart, so that whoever trains, stores or
applies a head needs no other case.

Shapes: B users, F numbers of a vector with what is beside it, C outputs (classes, labels, or one value).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["classes", "several", "value"]


class Head(nn.Sequential):
    """A linear layer, or one behind a hidden layer; values are `centre` and `scale` apart from what it puts out."""

    def __init__(
        self,
        kind: Kind,
        num_inputs: int,
        hidden: int,
        num_outputs: int,
        centre: float = 0.0,
        scale: float = 1.0,
        value_loss: Callable[..., Tensor] = F.mse_loss,
    ) -> None:
        layers: list[nn.Module] = [nn.Linear(num_inputs, hidden), nn.GELU()] if hidden else []
        super().__init__(*layers, nn.Linear(hidden or num_inputs, num_outputs))
        self.kind: Kind = kind
        self.num_inputs, self.hidden, self.num_outputs = num_inputs, hidden, num_outputs
        self.centre, self.scale, self._value_loss = centre, scale, value_loss

    def losses(self, inputs_BF: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with class codes, `[B]`, or with labels, `[B, C]`, or the loss of values, `[B]`."""
        out_BC = self(inputs_BF).float()
        if self.kind == "classes":
            return F.cross_entropy(out_BC, labels.long(), reduction="none")
        if self.kind == "several":
            return F.binary_cross_entropy_with_logits(out_BC, labels.float(), reduction="none").mean(1)
        asked_B = ((labels - self.centre) / self.scale).float()
        found_B: Tensor = self._value_loss(out_BC[:, 0], asked_B, reduction="none")
        return found_B

    @torch.no_grad()
    def scores(self, inputs_BF: Tensor) -> Tensor:
        """Probabilities of classes or labels, `[B, C]`, or values in the label's own unit, `[B]`."""
        out_BC = self(inputs_BF.to(next(self.parameters()))).float()
        if self.kind == "classes":
            return out_BC.softmax(-1)
        return out_BC.sigmoid() if self.kind == "several" else out_BC[:, 0] * self.scale + self.centre
