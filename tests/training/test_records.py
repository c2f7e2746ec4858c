"""Records while a run goes on: what is in its folder, and what is not touched again."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from ray_userrep import storage
from ray_userrep.training.records import MetricsFile, TensorBoard
from ray_userrep.training.runs import read_records


def record(step: int) -> dict[str, object]:
    return {"kind": "train", "step": step, "loss": 1.0 / step}


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.system)])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = request.getfixturevalue("s3_uri") if request.param == "s3" else str(tmp_path)
    return f"{place}/run"


def test_records_are_appended_as_they_come(tmp_path: Path) -> None:
    file, path = MetricsFile(str(tmp_path), 0), tmp_path / "metrics.jsonl"
    place = path.stat().st_ino
    for step in range(1, 4):
        before = path.read_bytes()
        file(record(step))
        assert path.read_bytes().startswith(before) and read_records(str(tmp_path))[-1] == record(step)
    assert path.stat().st_ino == place and path.read_bytes().count(b"\n") == 3


def test_a_resumed_run_drops_a_half_line_and_what_came_after_its_checkpoint(run: str) -> None:
    file = MetricsFile(run, 0)
    for step in range(1, 5):
        file(record(step))
    file.flush()
    whole = storage.read_bytes(f"{run}/metrics.jsonl")
    storage.write_bytes(f"{run}/metrics.jsonl", whole + b'{"kind": "train", "step": "5"}\n{"kind": "tra')
    file = MetricsFile(run, 2)
    file(record(3))
    file.flush()
    assert read_records(run) == [record(1), record(2), record(3)]
    assert storage.read_text(f"{run}/metrics.jsonl").count("\n") == 3


def test_tensorboard_is_written_while_the_run_goes_on(run: str, tmp_path: Path) -> None:
    board = TensorBoard(run, 0)
    board(record(1))
    board.flush()
    storage.download_dir(f"{run}/tensorboard", tmp_path / "seen")
    (file,) = (tmp_path / "seen").iterdir()
    tags = [value.tag for event in EventFileLoader(str(file)).Load() for value in event.summary.value]
    assert tags == ["train/loss"]
    board.close()


def test_a_place_for_tensorboard_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(Exception, match=r"tensorboard") as caught:
        TensorBoard(str(tmp_path), 0)
    assert "\n" not in str(caught.value)
