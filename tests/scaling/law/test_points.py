"""CSV files, good and bad."""

from pathlib import Path

import numpy as np
import pytest

from ray_userrep.errors import UserError
from ray_userrep.scaling.law.points import LawPoints, read_points

ROWS = ["1e3,1e5,3.1", "2e3,1e5,3.0", "4e3,2e5,2.9", "8e3,2e5,2.8", "1.6e4,4e5,2.7"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_points_are_read_with_their_lines(tmp_path):
    points = read_points(
        write(tmp_path / "p.csv", "\ufeffN, D, loss, note", *[f"{row}, x" for row in ROWS[:2]], "", *ROWS[2:])
    )
    np.testing.assert_allclose(points.N, [1e3, 2e3, 4e3, 8e3, 1.6e4])
    np.testing.assert_allclose(points.C, 6 * points.N * points.D)
    assert points.lines.tolist() == [2, 3, 5, 6, 7] and not points.has_c


def test_given_compute_says_what_a_parameter_costs(tmp_path):
    rows = [f"{row},{8 * float(row.split(',')[0]) * float(row.split(',')[1])}" for row in ROWS]
    points = read_points(write(tmp_path / "p.csv", "N,D,loss,C", *rows))
    assert points.has_c and points.flops_per_nd == pytest.approx(8)


def test_epochs_are_data_over_what_there_is(tmp_path):
    points = read_points(write(tmp_path / "p.csv", "N,D,loss,unique", *[f"{row},1e5" for row in ROWS]))
    np.testing.assert_allclose(points.epochs, [1, 1, 2, 2, 4])


@pytest.mark.parametrize("bad", ["nan", "0", "-1", "inf", "", "many"])
@pytest.mark.parametrize("place, column", enumerate(["N", "D", "loss"]))
def test_a_value_that_is_no_positive_number_is_named_by_line_and_column(tmp_path, bad, place, column):
    cells = ROWS[2].split(",")
    cells[place] = bad
    path = write(tmp_path / "p.csv", "N,D,loss", *ROWS[:2], ",".join(cells), *ROWS[3:])
    with pytest.raises(UserError, match=f"line 4, column {column}"):
        read_points(path)


@pytest.mark.parametrize(
    "lines, message",
    [
        (["N,loss", *ROWS], "no column D"),
        (["n,d,loss", *ROWS], "no column N"),
        (["N,D,loss,loss", *ROWS], "column loss is there 2 times"),
        ([], "no column N"),
        (["N,D,loss", *ROWS[:4]], "4 points"),
        (["N,D,loss", *ROWS[:4], "1,2"], "line 6, column loss"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_points(write(tmp_path / "p.csv", *lines))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv"):
        read_points(tmp_path / "none.csv")


def test_centred_logarithms_have_mean_zero():
    points = LawPoints.of([1e9, 2e9], [3.0, 4.0], [1.0, 2.0])
    for values in points.logs(points.centre()).values():
        assert values.mean() == pytest.approx(0)
