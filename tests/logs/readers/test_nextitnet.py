"""NextItNet's session files: lines of items, padded with zeros."""

import gzip

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.readers import nextitnet
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig


def test_a_line_is_a_session(read, tmp_path):
    (tmp_path / "user-filter-20items-session3.csv").write_text("0,7,9\n9,9,8\n\n0,0,0\n5,0,6\n")
    log = read(tmp_path)
    assert (log.logs.reader, log.logs.items, log.logs.users) == ("nextitnet", None, None)
    assert log.short() == [(0, 7, 0), (0, 9, 1), (1, 9, 0), (1, 9, 1), (1, 8, 2), (3, 5, 0), (3, 6, 1)]


def test_sessions_of_several_files_are_apart(read, tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text(f"{name}1,{name}2\n")
    log = read(tmp_path, reader="nextitnet")
    assert log.short() == [(0, "a1", 0), (0, "a2", 1), (2**40, "b1", 0), (2**40, "b2", 1)]


@pytest.mark.parametrize("name", ["sessions.csv", "user-filter-20items.csv"])
def test_other_names_are_not_recognised(name):
    assert not nextitnet.recognise([name])


def test_no_sessions(ray_session, tmp_path):
    (tmp_path / "a.txt").write_text("1,2\n")
    with pytest.raises(UserError, match=r"no file of sessions \(\.csv\) among 1 files"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="nextitnet"))


def test_published_figures(read, sample_data):
    place = sample_data / "nextitnet-music-session5"
    log = read(place)
    with gzip.open(next(place.rglob("*.csv.gz")), "rt") as file:
        lines = [line.strip().split(",") for line in file]
    expected = [(user, item, second) for user, line in enumerate(lines) for second, item in enumerate(line)]
    assert log.logs.reader == "nextitnet" and log.short() == expected
    assert log.counts == (5 * 1_804, 1_804, 2_794) and not log.reasons
