"""PTUPCDR's recipe: every bridge, over the encoder and over factors, beside no pretraining."""

from ray_userrep import recipes
from ray_userrep.recipe.transfer import BRIDGES, CrossDomainTaskConfig, TransferConfig


def test_all_bridges_stand_beside_a_plain_head_and_no_pretraining():
    transfer = recipes.recipe("ptupcdr").transfer
    assert isinstance(transfer.task, CrossDomainTaskConfig)
    assert {*BRIDGES, "scratch", "head_only"} == {*transfer.arms}
    assert transfer.task.width == 10 and transfer.bridge_hidden == 50 and transfer.task.num_liked == 20


def test_any_share_of_the_users_may_test():
    for share in (0.2, 0.5, 0.8):
        assert TransferConfig(task=CrossDomainTaskConfig(test_share=share)).task.test_share == share
