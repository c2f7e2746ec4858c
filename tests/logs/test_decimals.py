"""Numbers with a decimal comma."""

import pyarrow as pa
import pytest

from ray_userrep.logs.decimals import has_comma, pointed, with_points


@pytest.mark.parametrize(
    ("values", "comma"),
    [
        (["12,50", "7", None], True),
        (["1.234,5"], True),
        (["1,234"], False),
        (["12,50", "0.5"], False),
        (["12.50"], False),
        ([1.5], False),
    ],
)
def test_what_shows_a_decimal_comma(values: list, comma: bool) -> None:
    assert has_comma(pa.chunked_array([values])) is comma


def test_numbers_get_points_and_text_stays() -> None:
    values = ["12,50", "-1.234.567,8", " ,5", "1.234", "7", "a,5", "2024-01-01 10:00:00,5", None]
    found = with_points(pa.table({"price": values, "other": values}), ["price", "absent"])
    assert found["price"].to_pylist() == ["12.50", "-1234567.8", " .5", "1234", "7", *values[5:]]
    assert found["other"].to_pylist() == values


@pytest.mark.parametrize(("decimal", "price"), [("auto", "12.50"), ("comma", "12.50"), ("point", "12,50")])
def test_a_table_is_read_by_what_is_said_of_it(decimal: str, price: str) -> None:
    assert pointed(pa.table({"price": ["12,50"]}), "price", decimal)["price"].to_pylist() == [price]
    assert pointed(pa.table({"x": ["12,50"]}), "price", decimal)["x"].to_pylist() == ["12,50"]
