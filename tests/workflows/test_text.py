"""A model of text from a log to its page: trained on a worker, measured beside what needs no model."""

import pytest

from ray_userrep import storage
from ray_userrep.command import parse
from ray_userrep.errors import UserError
from ray_userrep.workflows.plan import run_plan
from ray_userrep.workflows.pretrain import run_pretrain

SMALL = [
    "--recipe", "p5", "--stream.max_len", "64", "--stream.batch_tokens", "2048", "--corpus.num_buckets", "3",
    "--train.max_steps", "4", "--train.cpus_per_worker", "1", "--evaluation.num_bootstrap", "100",
    "--evaluation.max_users", "20", "--generative.width", "16", "--generative.layers", "1", "--generative.heads", "2",
    "--generative.max_target", "12", "--generative.vocabulary", "300", "--generative.unconstrained", "10",
]  # fmt: skip


def places(folder):
    return ["--logs", f"{folder}/log", "--corpus", f"{folder}/corpus", "--run", f"{folder}/run"]


def test_pretrain_trains_measures_and_draws(ray_session, write_log, tmp_path, capsys, same_page_again):
    write_log(f"{tmp_path}/log")
    recipe = parse([*SMALL, *places(tmp_path)])
    result = run_pretrain(recipe)
    printed = capsys.readouterr().out
    assert result == storage.read_json(f"{tmp_path}/run/result.json") and result["job"] == "pretrain text"
    assert {"sequential-1", "sequential-4", "direct-1", "direct-3", "direct-4", "direct-6"} == set(result["prompts"])
    simple = result["baselines"]["item"]
    assert {"counting on, numbers own", "counting on, numbers first seen", "popularity", "co-occurrence"} <= set(simple)
    assert 0 <= result["prompts"]["sequential-4"]["metrics"]["ndcg@10"]["mean"] <= 1
    assert result["counts"]["test_users"] == 20 and result["invalid"]["sequential"]["with the trie"] == 0
    assert "NDCG@10 of the best prompt" in printed and f"{tmp_path}/run/model" in printed
    assert storage.exists(f"{tmp_path}/run/model/config.json")
    same_page_again(f"{tmp_path}/run")
    with pytest.raises(UserError, match="holds a finished run"):
        run_pretrain(recipe)


def test_what_the_log_lacks_is_refused_before_any_work(ray_session, write_log, tmp_path):
    write_log(f"{tmp_path}/log")
    lacking = parse([*SMALL, *places(tmp_path), "--generative.families", '["rating"]'])
    with pytest.raises(UserError, match=r"rating-1 has a field 'rating', told from the column 'rating'"):
        run_pretrain(lacking)
    assert not storage.exists(f"{tmp_path}/run")
    with pytest.raises(UserError, match="plan needs an encoder"):
        run_plan(lacking, None)
