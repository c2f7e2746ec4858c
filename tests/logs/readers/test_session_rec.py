"""session-rec's splits: both parts once, fractions of seconds kept."""

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

HEADER = "SessionId\tItemId\tTime\n"


def test_both_parts_once(read, tmp_path):
    (tmp_path / "yoo_train_full.txt").write_text(HEADER + "3\t21\t1396437466.94\n3\t22\t1396438212.318\n")
    (tmp_path / "yoo_train_tr.txt").write_text(HEADER + "3\t21\t1396437466.94\n")
    (tmp_path / "yoo_train_valid.txt").write_text(HEADER + "3\t22\t1396438212.318\n")
    (tmp_path / "yoo_test.txt").write_text(HEADER + f"{2**53 + 1}\t21\t1396860669.277\n")
    log = read(tmp_path)
    assert log.logs.reader == "session_rec"
    assert [(user, item) for user, item, _ in log.short()] == [(2**53 + 1, 21), (3, 21), (3, 22)]
    assert log.rows["timestamp"][2].as_py().isoformat() == "2014-04-02T11:30:12.318000+00:00"


def test_a_training_part_in_two_halves(read, tmp_path):
    (tmp_path / "yoo_train_tr.txt").write_text(HEADER + "3\t21\t1\n")
    (tmp_path / "yoo_train_valid.txt").write_text(HEADER + "4\t22\t2\n")
    assert read(tmp_path, reader="session_rec").counts == (2, 2, 2)


@pytest.mark.parametrize(
    "names", [(), ("a_train_full.txt", "b_train_full.txt"), ("a_train_full.0.txt", "a_test.1.txt")]
)
def test_not_one_split(ray_session, tmp_path, names):
    for name in ("notes.md", *names):
        (tmp_path / name).write_text(HEADER + "1\t2\t3\n")
    with pytest.raises(UserError, match="one split of session-rec"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="session_rec"))


def test_published_figures(read, sample_data):
    log = read(sample_data / "yoochoose-100k")
    assert log.logs.reader == "session_rec" and not log.reasons
    assert log.counts == (83_846, 21_210, 2_933)
    times = log.rows["timestamp"].to_pylist()
    assert (str(min(times))[:10], str(max(times))[:10]) == ("2014-04-01", "2014-04-08")
