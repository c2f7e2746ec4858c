"""Graphs of encoders give the vectors of `encode`, for any number of histories of any length."""

from datetime import datetime

import numpy as np
import pytest
import torch

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import EncoderConfig
from tests.encoder.conftest import MAX_LEN, NUM_ITEMS

SASREC = {
    "kind": "transformer",
    "num_heads": 2,
    "num_layers": 2,
    "positions": "learned",
    "ffn": "gelu",
    "norm": "layer",
}
BAG = {"readout": "bag", "bag_width": 8, "bag_kept": 4, "tempo": True}
CONFIGS = {
    "sasrec": {"backbone": SASREC, "context": ["gap"]},
    "gru4rec": {"backbone": {"kind": "gru"}},
    "bert4rec": {"backbone": SASREC | {"causal": False}, "readout": "mask"},
    "universal": {"backbone": {"kind": "transformer", "num_heads": 2}} | BAG,
}
UNTIL = datetime(2024, 3, 1)


def encoder_of(config, table):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig.model_validate({"width": 8} | config), table, MAX_LEN)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3)
    return encoder


def drawn(num_histories, longest, rng):
    """Items, lengths and times of histories."""
    lengths = rng.integers(1, longest + 1, num_histories)
    first = int(datetime(2024, 1, 1).timestamp()) * 10**6
    times = np.concatenate([first + np.sort(rng.integers(0, 50 * 86_400 * 10**6, n)) for n in lengths])
    return rng.integers(NUM_ITEMS, size=lengths.sum()), lengths, times


@pytest.mark.parametrize("name", CONFIGS)
def test_a_graph_gives_the_vectors_of_encode(table, tmp_path, name):
    encoder, rng = encoder_of(CONFIGS[name], table), np.random.default_rng(0)
    encoder.export(tmp_path / "encoder.pt2")
    graph = torch.export.load(tmp_path / "encoder.pt2").module()
    has_tempo, reads_times = name == "universal", name in ("universal", "sasrec")
    longest = 3 * MAX_LEN if name == "universal" else MAX_LEN
    for num_histories in (1, 2, 9):
        items, lengths, times = drawn(num_histories, longest if num_histories > 1 else 1, rng)
        until = torch.tensor(int(np.datetime64(UNTIL, "us").astype(int)))
        given = [items, lengths, *([times] if reads_times else [])]
        found = graph(*map(torch.from_numpy, given), *([until] if has_tempo else []))
        cuts = np.cumsum(lengths)[:-1]
        histories = [[f"item-{item}" for item in part] for part in np.split(items, cuts)]
        moments = [part.astype("M8[us]") for part in np.split(times, cuts)] if reads_times else None
        expected = encoder.encode(histories, moments, UNTIL if has_tempo else None)
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)
    if name == "gru4rec":
        for wrong in ([MAX_LEN + 1], [MAX_LEN + 1, 0]):
            with pytest.raises(RuntimeError, match=f"histories of 1 to {MAX_LEN} interactions"):
                graph(torch.zeros(MAX_LEN + 1, dtype=torch.long), torch.tensor(wrong))


def test_what_a_graph_cannot_do_is_refused(table, tmp_path):
    with pytest.raises(UserError, match=r"encoder.backbone.kind gnn looks up who took what"):
        graph = UserItemGraph.of(np.zeros(3, np.int64), np.arange(3), NUM_ITEMS)
        config = EncoderConfig.model_validate({"width": 8, "backbone": {"kind": "gnn"}})
        build_encoder(config, table, MAX_LEN, graph=graph).export(tmp_path / "encoder.pt2")
    for config, told in (
        ({"backbone": {"kind": "lstm"}}, r"encoder\.backbone\.kind lstm takes as many steps"),
        ({"readout": "whole"}, r"encoder\.readout whole takes as many steps"),
        ({"context": ["price"]}, r"reads price \(encoder\.context"),
        (
            {"bundle": "day", "backbone": SASREC | {"causal": False}},
            r"encoder\.bundle day makes rows of what",
        ),
    ):
        with pytest.raises(UserError, match=told):
            encoder_of(config, table).export(tmp_path / "encoder.pt2")
