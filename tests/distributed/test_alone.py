"""A job that trains by itself: only where nothing else is asked for, with the losses of a worker group."""

import shutil

import pytest
import torch

from ray_userrep.distributed import alone
from ray_userrep.distributed.alone import fit_alone, trains_alone
from ray_userrep.distributed.workers import fit_distributed
from tests.ranks import losses


@pytest.mark.parametrize(
    ("is_own", "changes", "by_itself"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"train.num_workers": 2}, False),
        (True, {"train.zero.stage": 1}, False),
        (True, {"train.use_gpu": True}, False),
    ],
)
def test_a_job_trains_by_itself_only_where_nothing_else_is_asked_for(
    ray_session, recipe, monkeypatch, is_own, changes, by_itself
):
    monkeypatch.setattr(alone, "is_alone", lambda: is_own)
    assert trains_alone(recipe(**changes)) == by_itself


@pytest.mark.system
def test_it_trains_as_a_worker_does_and_leaves_torch_as_it_was(ray_session, corpus, recipe, tmp_path):
    chosen, threads = recipe(**{"train.cpus_per_worker": 1, "train.max_steps": 6}), torch.get_num_threads()
    fit_alone(chosen, corpus, str(tmp_path / "alone"), lambda record: None)
    assert torch.get_num_threads() == threads
    fit_distributed(chosen, corpus, str(tmp_path / "worker"), lambda record: None)
    assert losses(tmp_path / "alone") == pytest.approx(losses(tmp_path / "worker"), rel=1e-6)


@pytest.mark.system
def test_a_run_that_was_begun_alone_goes_on_with_workers(ray_session, corpus, recipe, tmp_path):
    few, more = {"train.cpus_per_worker": 1, "train.max_steps": 4}, {"train.cpus_per_worker": 1, "train.max_steps": 8}
    fit_alone(recipe(**few), corpus, str(tmp_path / "alone"), lambda record: None)
    shutil.copytree(tmp_path / "alone", tmp_path / "moved")
    fit_alone(recipe(**more), corpus, str(tmp_path / "alone"), lambda record: None)
    partitioned = recipe(**more, **{"train.num_workers": 2, "train.zero.stage": 2})
    fit_distributed(partitioned, corpus, str(tmp_path / "moved"), lambda record: None)
    expected = losses(tmp_path / "alone")
    assert len(expected) == 8 and losses(tmp_path / "moved") == pytest.approx(expected, rel=1e-5)
