"""Rows of a profile: where they lie, who sees them, and how callers tell of them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.profiles import profile_hashes
from ray_userrep.encoder.bundles import single_rows
from ray_userrep.encoder.profile import behind_profile
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import EncoderConfig

SEQUENCES = [[1, 2, 3, 4], [], [5], [6, 7, 8]]
TOWNS, AGES = ["Ulm", "Bonn", None, "Ulm"], [20, None, 30, 40]
HISTORIES = [["item-1", "item-2"], ["item-3"]]
BACKBONES = [
    {"kind": "transformer"}, {"kind": "transformer", "causal": False, "positions": "learned"}, {"kind": "hstu"},
    {"kind": "cnn"}, {"kind": "gru"}, {"kind": "lstm"}, {"kind": "mean"},
]  # fmt: skip


def batch_of(towns=TOWNS, ages=AGES):
    batch = Batch.of(SEQUENCES)
    lengths = batch.lengths().numpy()
    side = {"user.town": profile_hashes(pa.array(towns)), "user.age": profile_hashes(pa.array(ages))}
    side = {name: torch.from_numpy(np.repeat(column, lengths)) for name, column in side.items()}
    return replace(batch, side=side | {TIMESTAMPS: torch.arange(batch.num_tokens) * 10**9})


def encoder_of(table, **fields) -> UserEncoder:
    torch.manual_seed(0)
    config = EncoderConfig.model_validate({"width": 16, "profile": ("town", "age")} | fields)
    encoder = build_encoder(config, table, 4).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def test_rows_of_a_profile_lie_before_each_window():
    batch = batch_of().to("cpu")
    x_TD, profile_BAD = torch.randn(batch.num_tokens, 3), torch.randn(4, 2, 3)
    rows, place_BA = behind_profile(single_rows(x_TD, batch), profile_BAD)
    expected, times, lengths = [], [], []
    for user, (low, high) in enumerate(pairwise(batch.offsets_B1.tolist())):
        expected += [*profile_BAD[user], *x_TD[low:high]]
        times += [low * 10**9] * 2 + batch.side[TIMESTAMPS][low:high].tolist()
        lengths.append(2 + high - low)
    assert torch.equal(rows.x_KD, torch.stack(expected)) and rows.windows.side[TIMESTAMPS].tolist() == times
    assert torch.equal(rows.x_KD[rows.row_T], x_TD) and torch.equal(rows.x_KD[place_BA], profile_BAD)
    assert rows.windows.lengths().tolist() == np.diff(rows.windows.host_B1).tolist() == lengths
    assert rows.windows.max_len == 6


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_profile_is_known_to_all_its_user_s_interactions_and_to_no_others(table, backbone):
    encoder = encoder_of(table, backbone=backbone)
    states_TD, profile_BAD = encoder.states_apart(batch_of())
    other_TD, other_BAD = encoder.states_apart(batch_of(towns=["Bonn", *TOWNS[1:]]))
    moved_T = (states_TD - other_TD).abs().amax(1) > 1e-4
    assert moved_T.tolist() == [True] * 4 + [False] * 4
    moved_B = (profile_BAD - other_BAD).abs().amax((1, 2)) > 1e-4
    assert moved_B.tolist() == [True, False, False, False]


@torch.no_grad()
def test_a_causal_backbone_sees_the_profile_and_no_future(table):
    encoder, batch = encoder_of(table), batch_of()
    later = replace(batch, values_T=torch.where(torch.arange(8) == 3, 9, batch.values_T))
    moved_T = (encoder.states(batch) - encoder.states(later)).abs().amax(1) > 1e-5
    assert moved_T.tolist() == [False] * 3 + [True] + [False] * 4


def test_a_profile_is_given_as_a_value_a_user_a_list_or_a_column(table):
    encoder = encoder_of(table)
    fields = {"town": ["Ulm", None], "age": [20, 40]}
    expected = encoder.encode(HISTORIES, fields=fields)
    lists = {"town": [["Ulm"], []], "age": pa.array([[20], [40]])}
    frames = {"town": pd.Series(["Ulm", None], dtype="category"), "age": np.array([20, 40])}
    for given in (lists, frames):
        np.testing.assert_allclose(encoder.encode(HISTORIES, fields=given), expected, rtol=1e-5)
    rows = {"user_id": [1, 1, 2], "item_id": ["item-1", "item-2", "item-3"], "town": ["Ulm", "Ulm", None]}
    found = encoder.encode_table(pd.DataFrame(rows | {"age": [20, 20, 40]}))
    np.testing.assert_allclose(np.stack(found["vector"].to_pylist()), expected, rtol=1e-5)
    assert np.abs(encoder.encode(HISTORIES, fields=fields | {"age": [30, 40]}) - expected)[0].max() > 1e-3


@pytest.mark.parametrize("fields, named", [
    ({"age": [1, 2]}, r"this encoder reads the town of users \(encoder.profile\): give fields=\{'town'"),
    ({"town": ["Ulm"], "age": [1, 2]}, "'town' wants one value for each of the 2 users"),
    ({"town": "Ulm", "age": [1, 2]}, "'town' wants one value for each of the 2 users"),
    ({"town": ["Ulm", 7], "age": [1, 2]}, "the encoder takes values of town as a value a user"),
    ({"town": ["Ulm", "Bonn"], "age": [1, 2], "zip": [1, 2]}, "'zip' is none of those that are read: town, age"),
])  # fmt: skip
def test_a_profile_that_is_missing_or_does_not_fit_is_refused_by_name(table, fields, named):
    with pytest.raises(UserError, match=named):
        encoder_of(table).encode(HISTORIES, fields=fields)


def test_a_profile_lives_through_saving_and_another_catalogue(table, tmp_path):
    encoder, fields = encoder_of(table), {"town": ["Ulm", "Bonn"], "age": [20, 40]}
    encoder.save_pretrained(tmp_path)
    expected = encoder.encode(HISTORIES, fields=fields)
    for other in (UserEncoder.from_pretrained(tmp_path), encoder.with_items(table)):
        np.testing.assert_allclose(other.encode(HISTORIES, fields=fields), expected, rtol=1e-5)
