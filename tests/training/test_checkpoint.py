"""What a run's folder may hold beside or in place of what was written: passed over, or one clear line."""

import pytest
import torch

from ray_userrep.corpus.splits import resolve
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.best import has_best, keep_best, read_best
from ray_userrep.training.checkpoint import Checkpoints
from ray_userrep.training.fit import build_model
from ray_userrep.training.loop import TrainState
from ray_userrep.training.runs import read_records
from tests.ranks import on_ranks


@pytest.fixture
def engine(corpus, recipe):
    model = build_model(recipe(), corpus, resolve(LeaveOneOutConfig(), corpus))
    return BareEngine(model, recipe().train, torch.device("cpu"))


@pytest.mark.parametrize("manifest", [b"[]", b'{"wrold": 1}', b"\xff\xfe", b'{"state"', b"null"])
def test_a_manifest_that_says_something_else_is_one_clear_line(engine, tmp_path, manifest):
    own = Checkpoints(str(tmp_path), 2, "data")
    own.save(engine, TrainState(step=3))
    folder = tmp_path / "checkpoints"
    for stray in ("notes/manifest.json", "step-old/manifest.json", "step-00000009/weights", "step-00000099"):
        (folder / stray).parent.mkdir(parents=True, exist_ok=True)
        (folder / stray).write_bytes(manifest)
    assert own.load_latest(engine) == TrainState(step=3)
    (folder / "step-00000003" / "manifest.json").write_bytes(manifest)
    with pytest.raises(UserError, match=r"step-00000003: manifest\.json is not what was written: delete"):
        own.load_latest(engine)


def test_what_crashes_left_is_deleted_once_a_later_checkpoint_is_there(engine, tmp_path):
    own = Checkpoints(str(tmp_path), 2, "data")
    for step in (1, 2, 3, 4):
        own.save(engine, TrainState(step=step))
        if step == 2:
            (tmp_path / "checkpoints" / "step-00000002" / "manifest.json").unlink()
            (tmp_path / "checkpoints" / "step-00000000").mkdir()
            (tmp_path / "checkpoints" / "step-00000000" / ".weights-00000-of-00001.safetensors.3f").write_text("half")
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000003", "step-00000004"]


def test_the_best_weights_are_kept_whole_or_refused(tmp_path):
    run_uri, weights = str(tmp_path), [{"w": torch.full((3,), float(step))} for step in range(2)]
    assert not has_best(run_uri)
    for kept in weights:
        keep_best(run_uri, kept)
    assert has_best(run_uri) and torch.equal(read_best(run_uri)["w"], weights[1]["w"])
    (file,) = (tmp_path / "best").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="the best weights are missing or were changed"):
        read_best(run_uri)


def test_lines_that_broke_off_are_no_records(tmp_path):
    whole = b'{"kind": "train", "step": 1}\n'
    (tmp_path / "metrics.jsonl").write_bytes(whole + b"[]\n7\n\xff\n{}\n\n" + whole[:-8])
    assert read_records(str(tmp_path)) == [{"kind": "train", "step": 1}]


def test_all_ranks_act_on_what_the_first_one_sees(tmp_path):
    said = on_ranks(2, _look, tmp_path / "meeting")
    assert sorted(said) == [(0, "there is nothing here, says 0"), (1, "there is nothing here, says 0")]


def _look() -> None:
    """A rank that would see another store than the first one's."""
    import torch.distributed as dist

    from ray_userrep.training.ranks import told

    class Group:
        rank, world, device = dist.get_rank(), dist.get_world_size(), torch.device("cpu")

        def sum(self, x):
            dist.all_reduce(x)
            return x

    assert told(Group(), lambda: {"newest": Group.rank, "ü": None}) == {"newest": 0, "ü": None}

    def refuse():
        raise UserError(f"there is nothing here, says {Group.rank}")

    told(Group(), refuse)
