"""A group of workers as one: it ends together, and asks for what a node can give."""

import pytest
import torch
from ray.util.queue import Queue

from ray_userrep.distributed.notes import slow_precision
from ray_userrep.distributed.places import cpus_per_worker
from ray_userrep.distributed.workers import fit_distributed, records_shown
from ray_userrep.errors import UserError
from ray_userrep.recipe.train import TrainConfig


@pytest.mark.parametrize(
    ("nodes", "workers", "cores"),
    [([2, 2], 1, 2), ([8], 2, 4), ([8, 3], 3, 3), ([0, 4], 1, 4), ([1], 3, 1), ([0], 2, 1)],
)
def test_a_worker_gets_what_one_node_can_give(nodes, workers, cores):
    assert cpus_per_worker(TrainConfig(num_workers=workers), nodes) == cores


def test_what_no_node_has_is_refused_unless_nodes_are_still_to_come():
    config = TrainConfig(cpus_per_worker=6)
    with pytest.raises(UserError, match=r"train\.cpus_per_worker is 6, but no node has more than 4 cores"):
        cpus_per_worker(config, [4, 4])
    assert cpus_per_worker(config, [0]) == cpus_per_worker(config, [0, 4]) == 6


def test_half_precision_is_said_to_be_slow_on_a_processor_that_lacks_it_alone(monkeypatch):
    bf16, fp32 = TrainConfig(precision="bf16"), TrainConfig()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False})
    assert "avx512_bf16" in str(slow_precision(bf16, False))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "EPYC", "avx512_bf16": True})
    assert slow_precision(bf16, False) is None
    assert slow_precision(bf16, True) is None and slow_precision(fp32, False) is None


@pytest.mark.system
def test_an_error_of_one_rank_ends_all_at_once(ray_session, corpus, recipe, tmp_path):
    """The other rank waits for the checkpoint, which would take it half an hour to give up."""
    chosen = recipe(**{"train.num_workers": 2, "train.cpus_per_worker": 1, "train.max_steps": 2})
    (tmp_path / "run/checkpoints/step-00000002/weights-00001-of-00002.safetensors/folder").mkdir(parents=True)
    attempts = []
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        fit_distributed(chosen, corpus, str(tmp_path / "run"), attempts.append)
    assert len([record for record in attempts if record["kind"] == "model"]) == 1


def test_a_sink_that_fails_is_told_of_once_and_the_others_go_on(ray_session, capsys):
    seen, failed = [], []

    def failing(record):
        failed.append(record)
        raise RuntimeError("the screen is gone")

    queue = Queue(actor_options={"num_cpus": 0})
    with records_shown(queue, {"the screen": failing, "a list": seen.append}) as refused:
        for step in range(3):
            queue.put({"kind": "train", "step": step})
    assert (len(failed), [record["step"] for record in seen], refused) == (1, [0, 1, 2], [])
    assert capsys.readouterr().out.count("the screen is gone") == 1
