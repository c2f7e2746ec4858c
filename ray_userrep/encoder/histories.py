"""User vectors of histories of any length: the one place where a history is cut into what an encoder is shown.

A readout of the newest window sees `max_len` interactions. Readouts of the whole history (`whole`, `bag`) are sums over
windows that tile it from its oldest interaction on: memory is bounded by a batch, whatever a user's number of
interactions, and windows that are full stay as they are when a day is added.

Shapes: U users, N interactions of all of them, W windows, F numbers of a user vector, E of what is summed, S of what is
remembered of a user.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_userrep.corpus.jagged import ranges
from ray_userrep.encoder.layers import without_noise
from ray_userrep.encoder.tempo import Moments, tempo_states
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import WHOLE_HISTORY, ReadoutKind

_BATCH_TOKENS = 16384


class Reader(Protocol):
    """What is asked of a user encoder here."""

    readout: ReadoutKind
    width: int
    max_len: int

    @property
    def tempo(self) -> nn.Module | None: ...

    @property
    def vector_width(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(self, batch: Batch, until: Moments | None = None, /) -> Tensor: ...

    def ranking(self, batch: Batch) -> Tensor: ...

    def sums(self, batch: Batch) -> Tensor: ...

    def scaled(self, sums_BS: Tensor, until: Moments | None = None) -> Tensor: ...


def user_vectors(
    encoder: Reader,
    items_N: NDArray[np.int64],
    lengths_U: NDArray[np.int64],
    columns_N: Mapping[str, NDArray[np.generic]],
    until: Moments | None = None,
    batch_tokens: int = _BATCH_TOKENS,
) -> NDArray[np.float32]:
    """The vector of each history as the encoder reads users out, `[U, F]`; zeros where there is nothing to read.

    Histories lie end to end, oldest interaction first, with whatever columns the encoder wants beside the items. An
    encoder with a tempo counts days up to `until` (us, of all or of each), or up to each history's newest. There is no
    dropout, whatever mode the encoder is in.
    """
    # Not inference mode: parameters gathered under it (ZeRO-3) could not be trained on afterwards.
    with without_noise(), torch.no_grad():
        if encoder.readout not in WHOLE_HISTORY:
            return _newest(encoder, encoder, encoder.vector_width, items_N, lengths_U, columns_N, batch_tokens)
        sums_US = history_sums(encoder, items_N, lengths_U, columns_N, batch_tokens)
        return encoder.scaled(torch.from_numpy(sums_US).to(encoder.device), until).cpu().numpy()


def ranking_vectors(
    encoder: Reader,
    items_N: NDArray[np.int64],
    lengths_U: NDArray[np.int64],
    columns_N: Mapping[str, NDArray[np.generic]],
    batch_tokens: int = _BATCH_TOKENS,
) -> NDArray[np.float32]:
    """What scores the items as each history's next, `[U, D]`; given what `user_vectors` is given."""
    with without_noise(), torch.no_grad():
        return _newest(encoder, encoder.ranking, encoder.width, items_N, lengths_U, columns_N, batch_tokens)


def history_sums(
    encoder: Reader,
    items_N: NDArray[np.int64],
    lengths_U: NDArray[np.int64],
    columns_N: Mapping[str, NDArray[np.generic]],
    batch_tokens: int = _BATCH_TOKENS,
) -> NDArray[np.float32]:
    """What is remembered of each history at a readout of the whole of it, `[U, S]`.

    What its windows add up to, `[U, E + 1]`, and the state of its times, where the encoder has a tempo.
    """
    tiles_U = -(-lengths_U // encoder.max_len)
    user_W = np.repeat(np.arange(len(lengths_U)), tiles_U)
    first_W = ranges(np.zeros_like(tiles_U), tiles_U) * encoder.max_len
    length_W = np.minimum(lengths_U[user_W] - first_W, encoder.max_len)
    start_W = (np.cumsum(lengths_U) - lengths_U)[user_W] + first_W
    sums_UE1 = None
    with without_noise(), torch.no_grad():
        for rows in by_length(length_W, batch_tokens):
            batch = _batch(items_N, columns_N, start_W[rows], length_W[rows], user_W[rows])
            sums_BE1 = encoder.sums(batch.to(encoder.device)).float().cpu().numpy()
            if sums_UE1 is None:
                sums_UE1 = np.zeros((len(lengths_U), sums_BE1.shape[1]), np.float32)
            np.add.at(sums_UE1, user_W[rows], sums_BE1)
    assert sums_UE1 is not None, "there is one run of windows, if an empty one"
    if encoder.tempo is None:
        return sums_UE1
    offsets_U1 = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths_U)]))
    times_N = np.array(columns_N[TIMESTAMPS])  # a copy: that of Arrow cannot be written to, of which torch warns
    states_US = tempo_states(torch.from_numpy(times_N), offsets_U1).numpy()
    return np.concatenate([sums_UE1, states_US], axis=1)


def by_length(lengths_W: NDArray[np.int64], tokens: int) -> list[NDArray[np.int64]]:
    """Indices of the windows, shortest first, cut into runs of about so many tokens."""
    order = np.argsort(lengths_W, kind="stable")
    run_W = (np.cumsum(lengths_W[order]) - 1) // tokens
    return np.split(order, np.flatnonzero(np.diff(run_W)) + 1)


def _newest(
    encoder: Reader,
    read: Callable[[Batch], Tensor],
    width: int,
    items_N: NDArray[np.int64],
    lengths_U: NDArray[np.int64],
    columns_N: Mapping[str, NDArray[np.generic]],
    batch_tokens: int,
) -> NDArray[np.float32]:
    """What is read of each history's newest window, `[U, width]`."""
    kept_U = np.minimum(lengths_U, encoder.max_len)
    start_U = np.cumsum(lengths_U) - kept_U
    vectors_UF = np.zeros((len(lengths_U), width), np.float32)
    for rows in by_length(kept_U, batch_tokens):
        batch = _batch(items_N, columns_N, start_U[rows], kept_U[rows], rows)
        vectors_UF[rows] = read(batch.to(encoder.device)).float().cpu().numpy()
    return vectors_UF


def _batch(
    items_N: NDArray[np.int64],
    columns_N: Mapping[str, NDArray[np.generic]],
    start_W: NDArray[np.int64],
    length_W: NDArray[np.int64],
    user_W: NDArray[np.int64],
) -> Batch:
    place_T = ranges(start_W, length_W)
    offsets = np.concatenate([[0], np.cumsum(length_W)]).astype(np.int32)
    return Batch(
        torch.from_numpy(items_N[place_T]),
        torch.from_numpy(offsets),
        torch.from_numpy(user_W),
        int(length_W.max(initial=0)),
        side={name: torch.from_numpy(column[place_T]) for name, column in columns_N.items()},
    )
