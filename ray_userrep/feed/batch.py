"""The jagged batch that every room speaks: values end to end and offsets, never padded.

What the host has to know of a batch that lies on a device travels with it, since asking would make the host wait:
where windows begin, and what modules of a model made of it while it was on the host (`WorksAhead`).

Shapes: B users (windows), T tokens of all windows together, B1 = B + 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TIMESTAMPS = "timestamps"  # side column: microseconds since the epoch
START = "start"  # label: place of a window's first item in the user's sequence
DRAW = "draw"  # label, in training only: a number of each window, another one in each epoch
MASK, CLS = -1, -2  # values that are no items: a hidden one, and the place where a window is summed up


@dataclass(frozen=True)
class Batch:
    """Windows of several users laid end to end.

    `values_T` int64 item indices, `offsets_B1` int32 window bounds, `users_B` int64 stable user hashes,
    `side` aligned token columns, `labels` aligned user columns, `max_len` the longest window (on the host, so that
    no kernel launch waits for the device), `weight` 0.0 for a filler that only keeps the ranks in step. `host_B1` are
    the bounds on the host, of a batch that may be on a device; `ahead` is what modules made of these windows: whoever
    makes others of them leaves it out.
    """

    values_T: Tensor
    offsets_B1: Tensor
    users_B: Tensor
    max_len: int
    side: dict[str, Tensor] = field(default_factory=dict)
    labels: dict[str, Tensor] = field(default_factory=dict)
    weight: float = 1.0
    host_B1: NDArray[np.int32] | None = None
    ahead: dict["WorksAhead", "Batch"] = field(default_factory=dict)

    @property
    def num_users(self) -> int:
        return self.users_B.shape[0]

    @property
    def num_tokens(self) -> int:
        return self.values_T.shape[0]

    def lengths(self) -> Tensor:
        """Window lengths, `[B]`."""
        return self.offsets_B1.diff()

    def bounds(self) -> NDArray[np.int32]:
        """`offsets_B1` on the host; a device is asked, and waited for, where nobody kept them."""
        if self.host_B1 is None:
            return self.offsets_B1.cpu().numpy()
        is_on_host = self.offsets_B1.device.type == "cpu"
        assert not is_on_host or np.array_equal(self.offsets_B1.numpy(), self.host_B1), "bounds of other windows"
        return self.host_B1

    def per_token(self, values_B: Tensor) -> Tensor:
        """Each window's value at each of its tokens, `[T]`; the host is not asked how many those are."""
        return torch.repeat_interleave(values_B, self.lengths(), output_size=self.num_tokens)

    def positions(self) -> Tensor:
        """Each token's place in its window, int64 `[T]`."""
        return torch.arange(self.num_tokens, device=self.values_T.device) - self.per_token(self.offsets_B1[:-1])

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device; copies do not block the host, which keeps the bounds."""
        return self._each(lambda x: x.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same in memory from which a GPU copies while the host goes on; without a GPU there is none."""
        return self._each(Tensor.pin_memory)

    def _each(self, moved: Callable[[Tensor], Tensor]) -> "Batch":
        is_on_host = self.offsets_B1.device.type == "cpu"
        return replace(
            self,
            values_T=moved(self.values_T),
            offsets_B1=moved(self.offsets_B1),
            users_B=moved(self.users_B),
            side={name: moved(x) for name, x in self.side.items()},
            labels={name: moved(x) for name, x in self.labels.items()},
            host_B1=self.offsets_B1.numpy() if is_on_host else self.host_B1,
            ahead={module: made._each(moved) for module, made in self.ahead.items()},
        )

    @staticmethod
    def of(sequences: list[list[int]] | list[np.ndarray], users: np.ndarray | None = None) -> "Batch":
        """A batch of the given sequences, for a handful of users; the stream builds its batches from columns."""
        lengths = np.fromiter((len(s) for s in sequences), np.int32, len(sequences))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        values = (
            np.concatenate([np.asarray(s, np.int64) for s in sequences]) if len(sequences) else np.zeros(0, np.int64)
        )
        users = np.arange(len(sequences), dtype=np.int64) if users is None else users
        return Batch(
            values_T=torch.from_numpy(values),
            offsets_B1=torch.from_numpy(offsets),
            users_B=torch.from_numpy(users),
            max_len=int(lengths.max(initial=0)),
            labels={START: torch.zeros(len(sequences), dtype=torch.int64)},
        )


class WorksAhead(ABC):
    """A module of a model that makes something of a batch as long as it is on the host, in the thread that reads it."""

    @abstractmethod
    def ahead(self, batch: Batch) -> Batch:
        """What the module would otherwise have to ask the device for, found by it in `batch.ahead`."""
