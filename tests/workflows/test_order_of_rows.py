"""Every job that needs no times, over a log that has none: its interactions are in the order of the rows."""

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.corpus.manifest import NO_TIMES
from ray_userrep.recipe.embedding import RecommendConfig
from ray_userrep.workflows.continual import run_continual
from ray_userrep.workflows.embed import run_embed
from ray_userrep.workflows.evaluate import run_evaluate
from ray_userrep.workflows.prepare import run_prepare
from ray_userrep.workflows.pretrain import run_pretrain
from ray_userrep.workflows.recommend import run_recommend
from ray_userrep.workflows.transfer import run_transfer
from tests.workflows.test_empty_buckets import FEW, ids_of

NUM_USERS, NUM_ITEMS = 130, 40


@pytest.fixture
def asked(small, tmp_path):
    log, rng = tmp_path / "log", np.random.default_rng(0)
    log.mkdir()
    items = [(user, item) for user in range(NUM_USERS) for item in rng.integers(0, NUM_ITEMS, rng.integers(5, 25))]
    (log / "log.csv").write_text("user_id,item_id\n" + "".join(f"{user},i{item}\n" for user, item in items))
    (log / "users.csv").write_text("user_id,country\n" + "".join(f"{u},{'AB'[u % 2]}\n" for u in range(NUM_USERS)))
    return lambda *words: small(str(tmp_path), *FEW, "--logs.order", "row", *words)


def test_a_pretraining_is_measured_and_says_that_there_are_no_times(ray_session, asked, tmp_path):
    result = run_pretrain(asked("--corpus.num_buckets", "4"))
    assert result["counts"]["order"] == "row" and result["metrics"]["ndcg@10"]["mean"] > 0
    for file in ("report.html", "encoder/README.md"):
        assert NO_TIMES in storage.read_text(f"{tmp_path}/run/{file}")


@pytest.mark.slow
def test_every_other_job_does_without_times(ray_session, asked, tmp_path):
    run_prepare(asked())
    run_pretrain(asked())
    encoder = f"{tmp_path}/run/encoder"
    run_evaluate(asked(), encoder, f"{tmp_path}/evaluated")
    run_embed(asked(), encoder, f"{tmp_path}/vectors")
    run_recommend(asked(), RecommendConfig(), encoder, f"{tmp_path}/lists")
    for folder in ("vectors", "lists"):
        assert ids_of(f"{tmp_path}/{folder}") == set(range(NUM_USERS))
    for kind in ("attribute", "next_item"):
        run_transfer(asked("--transfer.task.kind", kind, "--run", f"{tmp_path}/{kind}"))
    run_continual(asked("--run", f"{tmp_path}/continual"))
