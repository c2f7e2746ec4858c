"""The records of a job that has ended are read as they were written, or not at all."""

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training.stored import read_result, store_result

RECORDS = {"metrics.jsonl": b'{"kind": "train", "step": 1, "loss": 2.5}\n', "points.csv": b"N,D\n100,2000\n"}
RESULT = {"job": "pretrain", "metrics": {"ndcg@10": {"mean": 0.1234}}}


@pytest.fixture
def run(tmp_path):
    for name, data in RECORDS.items():
        (tmp_path / name).write_bytes(data)
    store_result(str(tmp_path), RESULT)
    return tmp_path


def test_a_result_comes_back(run):
    assert read_result(str(run)) == {"format": 1} | RESULT
    (run / "report.html").write_text("a page may be drawn again")
    store_result(str(run), RESULT | {"job": "scale"})  # as a study that goes on
    assert read_result(str(run))["job"] == "scale"


@pytest.mark.parametrize("name", ["result.json", *RECORDS])
def test_every_digit_counts(run, name):
    data = (run / name).read_bytes()
    for place in [i for i, byte in enumerate(data) if chr(byte).isdigit()]:
        (run / name).write_bytes(data[:place] + b"9" * (data[place : place + 1] != b"9") + b"8" + data[place + 1 :])
        with pytest.raises(UserError, match=f"{name} is missing or was changed after it was written: "):
            read_result(str(run))
    (run / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing or was changed"):
        read_result(str(run))


def test_a_run_of_before_there_were_checksums_is_read(run):
    storage.delete(f"{run}/checksums.json")
    storage.write_json(f"{run}/result.json", RESULT)
    assert read_result(str(run)) == RESULT
