"""What a transfer's config refuses, in a recipe's own words."""

import pytest

from ray_userrep.command import parse
from ray_userrep.errors import UserError


def test_arms_and_tasks_are_set_on_the_command_line():
    line = ["--transfer.task.kind", "next_item", "--transfer.task.users", "cold", "--transfer.arms", '["full", "lora"]']
    config = parse(line).transfer
    assert config.task.kind == "next_item" and config.arms == ("full", "lora")
    back = parse(["--transfer.task.kind", "return", "--transfer.task.days", "7"]).transfer.task
    assert back.days == 7 and back.active_days is None
    assert parse(["--transfer.task.attributes", '["age"]']).transfer.task.attributes == ("age",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--transfer.task.kind", "next_item"], "frozen_mlp is a head over labels"),
        (
            ["--transfer.task.kind", "next_item", "--transfer.arms", '["full"]', "--transfer.columns", '["age"]'],
            "columns and transfer.beside_columns are for labels of users",
        ),
        (
            ["--transfer.task.kind", "next_item", "--transfer.arms", '["full"]', "--transfer.beside_columns", "true"],
            "columns and transfer.beside_columns are for labels of users",
        ),
        (["--transfer.pretrain_seeds", "2", "--transfer.encoder", "runs/x"], "leave one of them out"),
        (["--transfer.pretrain_seeds", "4"], r"only transfer\.num_seeds 3 fits start from them"),
        (["--transfer.columns", '["age", "age"]'], "transfer.columns names one of them twice"),
        (
            ["--transfer.task.kind", "next_item", "--transfer.arms", '["full", "uaf_rewards"]'],
            "uaf_rewards learns from each user's loss over a label",
        ),
        (["--transfer.arms", '["full", "full"]'], r"transfer\.arms names one of them twice"),
        (["--transfer.arms", '["adapters"]'], r"transfer\.arms"),
        (["--transfer.readouts", '["mean", "mean"]'], r"transfer\.readouts names one of them twice"),
        (["--transfer.keep", "serial_patches"], r"transfer\.keep serial_patches is not among transfer\.arms scratch, "),
        (["--transfer.label_shares", "[0.1, 0]"], r"transfer\.label_shares"),
        (
            ["--transfer.task.kind", "next_item", "--transfer.task.users", "cold", "--transfer.task.items", "cold"],
            "users cold and items cold do not go together",
        ),
        (["--transfer.task.users", "cold"], r"transfer\.task\.users does not go with kind attribute"),
    ],
)
def test_what_does_not_go_together_is_refused(line, message):
    with pytest.raises(UserError, match=message):
        parse(line)
