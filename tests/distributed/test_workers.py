"""A group of workers as one: it ends together, and asks for what a node can give."""

import pytest

from ray_userrep.distributed.workers import fit_distributed
from ray_userrep.errors import UserError


@pytest.mark.system
def test_an_error_of_one_rank_ends_all_at_once(ray_session, corpus, recipe, tmp_path):
    """The other rank waits for the checkpoint, which would take it half an hour to give up."""
    chosen = recipe(**{"train.num_workers": 2, "train.cpus_per_worker": 1, "train.max_steps": 2})
    (tmp_path / "run/checkpoints/step-00000002/weights-00001-of-00002.safetensors/folder").mkdir(parents=True)
    attempts = []
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        fit_distributed(chosen, corpus, str(tmp_path / "run"), attempts.append)
    assert len([record for record in attempts if record["kind"] == "model"]) == 1
