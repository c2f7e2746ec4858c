"""A task that was held out, by the frozen vector, end to end and from scratch, over an LSTM with property gates."""

import torch

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.transfer import AttributeTaskConfig
from ray_userrep.recipes.dupn import dupn
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.build import read_label_tasks
from tests.transfer.conftest import MAX_LEN


def test_what_trains_and_what_is_learned(corpus, recipe, tmp_path):
    changes = {"task": AttributeTaskConfig(attributes=("half",)), "columns": (), "epochs": 8.0}
    recipe = recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update=changes)})
    (task,) = read_label_tasks(recipe.transfer, corpus, LeaveOneOutConfig(), ())
    config = dupn().encoder.model_copy(update={"width": 16, "context": ("gap", "hour")})
    torch.manual_seed(1)
    encoder = build_encoder(config, corpus.items(), MAX_LEN).eval()

    def engine(fitted):
        return lambda model: BareEngine(model, fitted.train, torch.device("cpu"))

    found = {
        name: fit_task(
            recipe, corpus, encoder, task, build_arm(name, recipe.transfer), FitSpec(1.0, 0, 0.01),
            str(tmp_path / name), engine,
        )
        for name in dupn().transfer.arms
    }  # fmt: skip
    assert found["frozen_mlp"].size.trained == found["frozen_mlp"].size.head
    assert found["full"].size == found["scratch"].size and found["full"].size.trained_share == 1
    auc = {name: task.measures["auc"](task.truth("test"), one.predicted_U) for name, one in found.items()}
    assert min(auc["full"], auc["scratch"]) > 0.9
