"""Row tables: the update is that of torch's SparseAdam, and training with one goes as with a dense table."""

import shutil

import numpy as np
import pytest
import torch

from ray_userrep.encoder.items.tables import RowItems
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.objectives.base import identity_gather
from ray_userrep.training.step import RowAdam
from tests.ranks import fit_bare, fit_on_ranks, losses


def test_updates_are_sparse_adam_s():
    torch.manual_seed(0)
    rows = RowItems(20, 4).train()
    reference = torch.nn.Embedding.from_pretrained(rows.weight.clone(), freeze=False, sparse=True)
    ours, theirs = RowAdam(rows, (0.9, 0.98)), torch.optim.SparseAdam(reference.parameters(), 1e-2, (0.9, 0.98))
    for step in range(5):
        ids = torch.randint(20, (7,), generator=torch.Generator().manual_seed(step))
        for embed in (rows, reference):
            (embed(ids).square().sum() + embed(ids[:2]).sum()).backward()
        theirs.step()
        theirs.zero_grad()
        ours.step(1e-2, 1, identity_gather)
        torch.testing.assert_close(rows.weight, reference.weight.detach())


def test_rows_read_without_gradients_are_left_alone():
    rows = RowItems(5, 2)
    before = rows.weight.clone()
    with torch.no_grad():
        rows.train()(torch.tensor([1, 2]))
    rows.eval()(torch.tensor([3]))
    RowAdam(rows, (0.9, 0.98)).step(1.0, 1, identity_gather)
    assert torch.equal(rows.weight, before)


SAMPLED = {
    "encoder.items": {"kind": "rows"},
    "objective": {"kind": "autoregressive", "softmax": {"kind": "sampled", "num_negatives": 64}},
    "train.max_steps": 30, "train.epochs": 9.0, "stream.micro_tokens": 48,
}  # fmt: skip


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_two_workers_learn_the_rows_that_one_does(corpus, recipe, tmp_path, stage):
    fit_bare(recipe(**SAMPLED), corpus, tmp_path / "bare")
    assert fit_on_ranks(2, recipe(**SAMPLED, **{"train.zero.stage": stage}), corpus, tmp_path / "two") == []
    expected = losses(tmp_path / "bare")
    assert len(expected) == 30 and expected[-1] < 0.9 * expected[0]
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=1e-5)
    ours, theirs = (UserEncoder.from_pretrained(str(tmp_path / run / "encoder")) for run in ("bare", "two"))
    torch.testing.assert_close(ours.items.weight, theirs.items.weight, rtol=1e-3, atol=1e-4)
    assert "items.weight" in ours.state_dict() and not any("first" in name for name in ours.state_dict())


def test_a_resumed_run_keeps_the_moments(corpus, recipe, tmp_path):
    chosen = recipe(**SAMPLED | {"train.checkpoint_every": 0.5})
    fit_bare(chosen, corpus, tmp_path)
    whole = losses(tmp_path)
    shutil.rmtree(sorted((tmp_path / "checkpoints").iterdir())[-1])
    fit_bare(chosen, corpus, tmp_path)
    assert losses(tmp_path) == whole
