"""Row tables: the update is that of torch's SparseAdam, and gradients are those of a dense table, clipped alike."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from ray_userrep.corpus.splits import resolve
from ray_userrep.distributed.workers import fit_distributed
from ray_userrep.encoder.items.exchange import dealt_out
from ray_userrep.encoder.items.rows import RowItems
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import build_model
from ray_userrep.training.rows import RowAdam, clip_factor
from ray_userrep.training.runs import read_records
from ray_userrep.training.step import prepare_micros, train_step
from tests.ranks import fit_bare, fit_on_ranks, losses, on_ranks


def updated(optimizer, learning_rate):
    optimizer.collect(lambda x: x)
    optimizer.step(learning_rate, torch.ones(()))


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
        updated(ours, 1e-2)
        torch.testing.assert_close(rows.weight, reference.weight.detach())


def test_rows_read_without_gradients_are_left_alone():
    rows = RowItems(5, 2)
    before = rows.weight.clone()
    with torch.no_grad():
        rows.train()(torch.tensor([1, 2]))
    rows.eval()(torch.tensor([3]))
    updated(RowAdam(rows, (0.9, 0.98)), 1.0)
    assert torch.equal(rows.weight, before)


SAMPLED = {
    "encoder.items": {"kind": "rows"},
    "objective": {"kind": "autoregressive", "softmax": {"kind": "sampled", "num_negatives": 64}},
    "train.max_steps": 30, "train.clip_norm": 0.2, "train.epochs": 9.0, "stream.micro_tokens": 48,
}  # fmt: skip


class Recording(BareEngine):
    """An engine that keeps the norm of its last step."""

    def step(self, learning_rate):
        self.norm = super().step(learning_rate)
        return self.norm


HIDDEN = {
    "encoder.readout": "mask", "encoder.backbone.causal": False,
    "objective": {"kind": "autoencoding", "mask_rate": 0.5, "softmax": {"kind": "sampled", "num_negatives": 3}},
}  # fmt: skip


def stepped(recipe, corpus, kind):
    """An engine after one step over windows of the upper half of the items, with a filler of others behind."""
    chosen = recipe(**HIDDEN, **{"encoder.items": {"kind": kind}, "train.clip_norm": 0.05})
    model = build_model(chosen, corpus, resolve(chosen.split, corpus, 1.0))
    engine = Recording(model, chosen.train, torch.device("cpu"))
    rng = np.random.default_rng(0)
    shown = Batch.of([rng.integers(30, 60, 6) for _ in range(30)])
    filler = replace(Batch.of([[3, 4, 5, 6, 7, 8]]), weight=0.0)
    train_step(engine, prepare_micros(model.objective, [shown, filler], Draws(0, 0, 0), 0), 1e-3)
    return engine


def test_gradients_are_clipped_by_the_norm_of_all_as_with_a_dense_table(corpus, recipe):
    rows, dense = (stepped(recipe, corpus, kind) for kind in ("rows", "id"))
    assert dense.norm > 10 * 0.05  # far above what it is clipped to
    torch.testing.assert_close(rows.norm, dense.norm)
    first_SD = rows.model.row_optimizers[0].first_SD
    (dense_N,) = [part.values_N for part in dense.moments() if part.key == "exp_avg/encoder.items.weight"]
    torch.testing.assert_close(first_SD, dense_N.view_as(first_SD))


def test_fillers_and_hidden_places_leave_rows_and_moments_alone(corpus, recipe):
    engine = stepped(recipe, corpus, "rows")
    optimizer, table = engine.model.row_optimizers[0], engine.model.encoder.items
    learned_V = optimizer.first_SD.any(1)
    negatives = set(engine.model.objective.softmax.sample(Draws(0, 0, 0), torch.zeros(0))["negatives"].tolist())
    assert learned_V[30:].any() and set(learned_V[:30].nonzero()[:, 0].tolist()) <= negatives
    assert torch.equal(learned_V, optimizer.second_SD.any(1))
    before = table.weight.clone(), optimizer.first_SD.clone()
    filler = replace(Batch.of([list(range(30, 36)), list(range(40, 46))]), weight=0.0)
    train_step(engine, prepare_micros(engine.model.objective, [filler], Draws(0, 0, 1), 0), 1e-3)
    assert torch.equal(before[0], table.weight) and torch.equal(before[1], optimizer.first_SD)


def test_the_factor_is_that_of_torch():
    for norm in (0.0, 0.5, 3.0, float("inf")):
        gradient = torch.nn.Parameter(torch.zeros(2))
        gradient.grad = torch.ones(2)
        torch.nn.utils.clip_grads_with_norm_([gradient], 1.0, torch.tensor(norm))
        torch.testing.assert_close(clip_factor(1.0, norm).expand(2), gradient.grad)


def validations(run_uri, metric):
    return [r[metric] for r in read_records(str(run_uri)) if r["kind"] == "validation"]


def same_as_bare(run, bare, metric="ndcg@10"):
    expected = losses(bare)
    assert len(expected) == 30 and expected[-1] < 0.9 * expected[0]
    np.testing.assert_allclose(losses(run), expected, rtol=1e-5)
    np.testing.assert_allclose(validations(run, metric), validations(bare, metric), rtol=1e-3)
    ours, theirs = (UserEncoder.from_pretrained(f"{place}/encoder") for place in (run, bare))
    torch.testing.assert_close(ours.items.state_dict(), theirs.items.state_dict(), rtol=1e-3, atol=1e-4)
    return ours


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_two_workers_learn_the_rows_that_one_does(corpus, recipe, tmp_path, stage):
    fit_bare(recipe(**SAMPLED), corpus, tmp_path / "bare")
    assert fit_on_ranks(2, recipe(**SAMPLED, **{"train.zero.stage": stage}), corpus, tmp_path / "two") == []
    ours = same_as_bare(tmp_path / "two", tmp_path / "bare")
    assert ours.items.weight.shape == (60, 16) and not any("first" in name for name in ours.state_dict())


IN_BATCH = {"objective": {"kind": "autoregressive", "softmax": {"kind": "in_batch", "temperature": 0.1}}}
WORKS = [  # what looks up other items than the next ones, or is judged by something else
    ({"encoder.unit_items": True, "evaluation.exclude_seen": True, **IN_BATCH}, "ndcg@10"),
    ({"objective": {"kind": "contrastive", "views": "subsequences"}}, "log likelihood"),
    ({"train.select": "vector", "train.zero.stage": 3, "train.zero.init": True}, "future r2"),
]


@pytest.mark.parametrize(("changes", "metric"), WORKS)
def test_three_workers_judge_as_one_does(corpus, recipe, tmp_path, changes, metric):
    chosen = recipe(**{**SAMPLED, "train.clip_norm": 1.0, **changes})
    fit_bare(chosen, corpus, tmp_path / "bare")
    assert fit_on_ranks(3, chosen, corpus, tmp_path / "three") == []
    same_as_bare(tmp_path / "three", tmp_path / "bare", metric)


@pytest.mark.system
def test_ray_s_workers_start_from_rows_that_were_trained(ray_session, corpus, recipe, tmp_path):
    fit_bare(recipe(**SAMPLED), corpus, tmp_path / "first")
    warm = recipe(**SAMPLED, **{
        "train.warm_start": str(tmp_path / "first"), "train.num_workers": 2, "train.cpus_per_worker": 1,
        "train.zero.stage": 1,
    })  # fmt: skip
    fit_bare(warm, corpus, tmp_path / "bare")
    fit_distributed(warm, corpus, str(tmp_path / "two"), lambda record: None)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "bare"), rtol=1e-5)


def test_each_rank_holds_its_share_and_learns_what_all_ask(tmp_path):
    assert on_ranks(3, _hold, tmp_path / "meeting") == []


def _hold() -> None:
    import torch.distributed as dist

    from ray_userrep.distributed.exchange import exchange_of_ranks

    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    whole = RowItems(20, 4).train()
    torch.manual_seed(0)
    with dealt_out(exchange_of_ranks()):
        held = RowItems(20, 4).train()
    ours, alone = RowAdam(held, (0.9, 0.98)), RowAdam(whole, (0.9, 0.98))
    assert ours.first_SD.shape == held.weight.shape == (len(range(rank, 20, world)), 4)
    for step in range(3):
        asked = [torch.arange(step, 20, 3), torch.arange(0), torch.tensor([[7, 7], [step, 19]])]
        vectors = held(asked[rank])
        torch.testing.assert_close(vectors, whole(asked[rank]))
        whole.take_gradients()
        vectors.square().sum().backward()
        sum(whole(ids).square().sum() / world for ids in asked).backward()
        for optimizer in (ours, alone):
            optimizer.collect(_added_up)
            optimizer.step(0.1, torch.ones(()))
        torch.testing.assert_close(ours.norm(), alone.norm())
        torch.testing.assert_close(held.weight, whole.weight[rank::world])


def _added_up(x: torch.Tensor) -> torch.Tensor:
    import torch.distributed as dist

    dist.all_reduce(x)
    return x


def test_a_resumed_run_keeps_the_moments(corpus, recipe, tmp_path):
    chosen = recipe(**SAMPLED | {"train.checkpoint_every": 0.5})
    fit_bare(chosen, corpus, tmp_path)
    whole = losses(tmp_path)
    shutil.rmtree(sorted((tmp_path / "checkpoints").iterdir())[-1])
    fit_bare(chosen, corpus, tmp_path)
    assert losses(tmp_path) == whole
