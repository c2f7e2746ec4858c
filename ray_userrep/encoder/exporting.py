"""An encoder as a graph of torch alone, to be run where this library is not: one forward pass, of windows to vectors.

What `encode` does around it is the caller's to do: items as rows of the item table, and of each history the newest
`max_len`. What is gained is that neither transformers nor this library need be there. Windows are padded to `max_len`
in it, as one graph has to do for all batches: on a processor `encode` is faster.

Shapes: T interactions of all histories, B histories, F numbers of a user vector.
"""

import warnings

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from transformers import PreTrainedModel

from ray_userrep.encoder.layers import without_noise
from ray_userrep.encoder.reading import Reads
from ray_userrep.encoder.tempo import DAY
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import EncoderConfig, ReadoutKind

_STEPWISE = ("lstm", "mean")


class Graph(nn.Module):
    """What is exported: histories end to end and their lengths go in."""

    def __init__(self, encoder: nn.Module, max_len: int, is_bounded: bool) -> None:
        super().__init__()
        self.encoder, self._max_len, self._is_bounded = encoder, max_len, is_bounded

    def forward(
        self, items_T: Tensor, lengths_B: Tensor, times_T: Tensor | None = None, until: Tensor | None = None
    ) -> Tensor:
        """User vectors, `[B, F]`."""
        if self._is_bounded:
            is_right = (lengths_B > 0).all() & (lengths_B <= self._max_len).all()
            torch._assert_async(is_right, f"histories of 1 to {self._max_len} interactions are taken")
        offsets_B1 = torch.cat([lengths_B.new_zeros(1), lengths_B.cumsum(0)])
        side = {} if times_T is None else {TIMESTAMPS: times_T}
        vectors_BF: Tensor = self.encoder(Batch(items_T, offsets_B1, lengths_B, self._max_len, side), until)
        return vectors_BF


def exported(
    encoder: PreTrainedModel, max_len: int, readout: ReadoutKind, wanted: Reads, has_tempo: bool
) -> ExportedProgram:
    """The graph of an encoder, for any number of histories; times and a moment go in where the encoder reads them."""
    items_T, tokens = torch.tensor([0, 1, 0, 1, 0]), {0: Dim("tokens", min=1)}
    given, shapes = [items_T, torch.tensor([2, 3])], [tokens, {0: Dim("histories", min=1)}]
    if wanted.times_for is not None:
        given, shapes = [*given, items_T * DAY], [*shapes, tokens]
    if has_tempo:
        given, shapes = [*given, torch.tensor(2 * DAY)], [*shapes, {}]
    given = [tensor.to(encoder.device) for tensor in given]
    with without_noise(), torch.no_grad(), warnings.catch_warnings():
        # torch lists the weights of a recurrence a second time; they are in the graph once.
        warnings.filterwarnings("ignore", message=r"The tensor attributes .*_flat_weights")
        graph = Graph(encoder, max_len, readout != "bag")
        return torch.export.export(graph, tuple(given), dynamic_shapes=tuple(shapes))


def refuse_unlike_graphs(config: EncoderConfig, readout: ReadoutKind, wanted: Reads) -> None:
    """Refuse an encoder that is no one graph.

    Raises:
        UserError: it goes on from step to step, looks users up, or reads columns that texts have to be made to numbers
            of.
    """
    if wanted.fields:
        named = ", ".join(wanted.fields)
        raise UserError(f"export: the encoder reads {named} (encoder.context, encoder.profile): a graph takes times")
    if config.content_parts():
        raise UserError(
            f"export: encoder.items.kind {config.items.kind} makes vectors of texts and pictures, which no graph holds"
        )
    if config.backbone.kind == "gnn":
        raise UserError("export: encoder.backbone.kind gnn looks up who took what, which no graph of torch holds")
    if config.bundle != "none":
        raise UserError(
            f"export: encoder.bundle {config.bundle} makes rows of what the times are: that is not one graph"
        )
    if (kind := config.backbone.kind) in _STEPWISE or readout == "whole":
        what = "encoder.readout whole" if readout == "whole" else f"encoder.backbone.kind {kind}"
        raise UserError(f"export: {what} takes as many steps as a history is long: that is not one graph")
