"""Tencent's transfer-learning files: histories, targets behind a double comma, labels, and numbered users."""

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

PRETRAIN = "history_sequences_2018_x_transfer_pretrain_small.csv"
FINETUNE = "history_sequences_2018_x_transfer_finetune_small.csv"


def test_histories_and_targets(read, tmp_path):
    (tmp_path / PRETRAIN).write_text("0,0,5,6\n7,8,9,5\n")
    (tmp_path / FINETUNE).write_text("0,5,6,,70,71\n0,0,0,,72\n8,9,9,,\n")
    log = read(tmp_path)
    one, two = 2**40, 0  # files by path: the pretraining file is the second
    assert log.logs.reader == "tencent_tl" and log.logs.users is None
    assert log.short("domain") == [
        *((two, 5, 0, "source"), (two, 6, 1, "source"), (two, 70, 2, "target"), (two, 71, 3, "target")),
        (two + 1, 72, 0, "target"),
        *((two + 2, 8, 0, "source"), (two + 2, 9, 1, "source"), (two + 2, 9, 2, "source")),
        *((one, 5, 0, "source"), (one, 6, 1, "source")),
        *((one + 1, item, second, "source") for second, item in enumerate((7, 8, 9, 5))),
    ]


def test_labels_are_attributes(read, tmp_path):
    (tmp_path / "original_desen_age.csv").write_text("0,5,6,,3\n5,6,7,,1\n")
    (tmp_path / "original_desen_lifestatus.csv").write_text("5,9,,2\n")
    log = read(tmp_path)
    assert {user for user, _, _ in log.short()} == {0, 1, 2**40}
    assert [item for _, item, _ in log.short()] == [5, 6, 5, 6, 7, 5, 9]
    assert log.logs.users.to_pylist() == [
        {"user_id": 0, "age": "3", "life": None},
        {"user_id": 1, "age": "1", "life": None},
        {"user_id": 2**40, "age": None, "life": "2"},
    ]


def test_no_histories(ray_session, tmp_path):
    (tmp_path / PRETRAIN).write_text("0,0\n")
    with pytest.raises(UserError, match=r"the log is empty: no rows in .*pretrain_small\.csv"):
        open_logs(LogsConfig(uri=str(tmp_path)))


def test_the_published_sample(read, sample_data):
    place = sample_data / "tencent-tl-sample"
    log = read(place)
    expected = []
    for number, file in enumerate(sorted(place.rglob("*.csv"))):
        lines = file.read_text().splitlines()
        assert len(lines) == 30
        for line, text in enumerate(lines):
            history, _, targets = text.partition(",,")
            both = [(item, "source") for item in history.split(",")] + [(item, "target") for item in targets.split(",")]
            kept = [(int(item), domain) for item, domain in both if item not in ("", "0")]
            expected += [(number * 2**40 + line, item, n, domain) for n, (item, domain) in enumerate(kept)]
    assert log.logs.reader == "tencent_tl" and not log.reasons
    assert log.short("domain") == expected
    assert log.counts == (541, 60, 190)
