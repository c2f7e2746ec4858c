"""The profile of a user as rows of the backbone: one for each attribute, in front of what the user did.

Attributes are known to every interaction by attention, and are predicted at their own rows where they are hidden.
Values are hashed into a fixed number of vectors, so that an encoder reads users of any log; two that fall on one are
not told apart, which happens to one in six attributes of twenty values.

Shapes: T tokens, B windows, A attributes, K rows without profile, R with it, D width.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.profiles import refuse_too_many, refuse_unprofiled, stored_name
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.bundles import Rows
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import CLS, TIMESTAMPS, Batch

PROFILE_SIZE = 1024  # codes of an attribute; 0: not known, or hidden


def profile_codes(batch: Batch, name: str) -> Tensor:
    """The code of each window's user, from any interaction that tells it, `[B]`.

    Raises:
        UserError: the batch lacks the attribute.
    """
    if stored_name(name) not in batch.side:
        raise UserError(f"encoder.profile {name} is an attribute of users that is not told here")
    hash_T = batch.side[stored_name(name)]
    code_T = torch.where(hash_T == 0, 0, 1 + hash_T % (PROFILE_SIZE - 1))
    window_T = batch.per_token(torch.arange(batch.num_users, device=code_T.device))
    return code_T.new_zeros(batch.num_users).scatter_reduce(0, window_T, code_T, "amax")


def refuse_profile(names: Sequence[str], corpus: Corpus) -> None:
    """Check that a log tells of its users what the encoder reads of them.

    Raises:
        UserError: it does not, or an attribute tells single users rather than groups.
    """
    refuse_unprofiled(names, corpus.user_columns(), corpus.manifest.source_uri)
    users = corpus.users() if names else None
    for name in names:
        assert users is not None, "it has columns"
        refuse_too_many(name, users[name])


class Profile(nn.Module):
    """A vector for each value of each attribute, and one for not knowing it."""

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self._names = tuple(names)
        self.tables = nn.ParameterList(torch.randn(PROFILE_SIZE, width) for _ in names)

    def forward(self, batch: Batch) -> Tensor:
        """The vectors of each window's user, `[B, A, D]`."""
        tables = zip(self._names, self.tables, strict=True)
        return torch.stack([F.embedding(profile_codes(batch, name), table) for name, table in tables], 1)


def behind_profile(rows: Rows, profile_BAD: Tensor) -> tuple[Rows, Tensor]:
    """The rows with those of a profile before each window's, and where these are, `[B, A]`."""
    windows, (num_users, num_attributes, width) = rows.windows, profile_BAD.shape
    device, num_rows = rows.x_KD.device, windows.num_tokens
    added_B1 = num_attributes * torch.arange(num_users + 1, device=device)
    place_K = torch.arange(num_rows, device=device) + windows.per_token(added_B1[1:])
    offsets_B1 = windows.offsets_B1 + added_B1.to(windows.offsets_B1.dtype)
    place_BA = offsets_B1[:-1, None].long() + torch.arange(num_attributes, device=device)
    x_RD = rows.x_KD.new_zeros(num_rows + profile_BAD[:, :, 0].numel(), width)
    x_RD = x_RD.index_copy(0, place_K, rows.x_KD)
    x_RD = x_RD.index_copy(0, place_BA.flatten(), profile_BAD.flatten(0, 1).to(x_RD.dtype))

    def grown(column_K: Tensor, filling_B: Tensor) -> Tensor:
        out = column_K.new_zeros(len(x_RD)).index_copy(0, place_K, column_K)
        return out.index_copy(0, place_BA.flatten(), filling_B[:, None].expand_as(place_BA).flatten())

    values_R = grown(windows.values_T, torch.full_like(windows.users_B, CLS))
    side = {}
    if TIMESTAMPS in windows.side:
        times_K1 = F.pad(windows.side[TIMESTAMPS], (0, 1))
        side[TIMESTAMPS] = grown(times_K1[:-1], times_K1[windows.offsets_B1[:-1].long()])
    added = num_attributes * np.arange(num_users + 1, dtype=np.int32)
    host_B1 = None if windows.host_B1 is None else windows.host_B1 + added
    grown_windows = replace(
        windows,
        values_T=values_R,
        offsets_B1=offsets_B1,
        max_len=windows.max_len + num_attributes,
        side=side,
        host_B1=host_B1,
        ahead={},
    )
    return Rows(x_RD, grown_windows, place_K[rows.row_T]), place_BA
