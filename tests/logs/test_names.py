"""Names of columns without blanks and case."""

import pytest

from ray_userrep.logs.damage import OtherSchema
from ray_userrep.logs.names import keys_among, respelled


def test_names_are_alike_without_blanks_and_case() -> None:
    assert respelled([" User_ID", "item_id", "Other"], ["user_id", "item_id"], "x") == ["user_id", "item_id", "Other"]
    assert respelled(["user_id", "USER_ID"], ["user_id"], "x") == ["user_id", "USER_ID"]  # its own name wins
    assert respelled(["a", "a", "user_id"], ["user_id"], "x") == ["a", "a", "user_id"]  # of those nobody asks


@pytest.mark.parametrize("names", [["user_id", "user_id"], ["User_ID", "USER_ID"], ["user_id ", " user_id"]])
def test_a_doubled_column_is_refused(names: list[str]) -> None:
    with pytest.raises(OtherSchema, match=r"log\.csv has column 'user_id' more than once"):
        respelled(names, ["user_id"], "log.csv")


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        (["Kunde", "user_id"], ["kunde"], ["Kunde"]),
        (["customer", " User_ID"], ["kunde"], [" User_ID"]),
        (["Kunden-Nr", "country"], [], ["Kunden-Nr"]),
        (["Customer ID", "member_id"], [], ["Customer ID", "member_id"]),
        (["id", "item_id"], [], []),
    ],
)
def test_a_key_is_the_asked_column_else_any_of_a_usual_name(
    names: list[str], asked: list[str], found: list[str]
) -> None:
    assert keys_among(names, "user_id", asked) == found
