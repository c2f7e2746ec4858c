"""Runs compared user by user, beside scipy's test and a loop over seeds."""

import numpy as np
import pytest
from scipy import stats

import ray_userrep as ur
from ray_userrep import storage
from ray_userrep.cli import main
from ray_userrep.errors import UserError
from ray_userrep.evaluation.kept import Ranks, read_ranks, write_ranks
from ray_userrep.evaluation.metrics import ndcg
from ray_userrep.workflows.compare import compare_table

NUM_USERS = 400
USERS, TARGETS = np.arange(NUM_USERS) * 7 - 900, np.arange(NUM_USERS) % 13
HARD = np.random.default_rng(0).integers(1, 60, NUM_USERS)


def store(place: str, recipe: str, seed: int, better: float, split: str = "s", **fields: object) -> np.ndarray:
    """A run whose ranks are those of all users, moved; returns them."""
    rng = np.random.default_rng([seed, len(recipe)])
    ranks = np.maximum(1, HARD - rng.binomial(8, better, NUM_USERS))
    stored = ur.recipe(recipe, run=place, **{"seed": seed} | fields).model_dump(mode="json")
    storage.write_json(f"{place}/result.json", {"job": "pretrain", "recipe": stored, "split_fingerprint": split})
    shuffled = rng.permutation(NUM_USERS)
    systems = {"encoder": ranks[shuffled], "markov": HARD[shuffled]}
    write_ranks(place, Ranks(USERS[shuffled], TARGETS[shuffled], TARGETS[shuffled] % 2, systems))
    return ranks


def test_ranks_come_back_in_one_order(tmp_path):
    ranks = store(f"{tmp_path}/a", "sasrec", 0, 0.5)
    found = read_ranks(f"{tmp_path}/a")
    np.testing.assert_array_equal(found.users_W, USERS)
    np.testing.assert_array_equal(found.by_system["encoder"], ranks)
    np.testing.assert_array_equal(found.by_system["markov"], HARD)


def test_a_pair_has_the_difference_of_its_means_and_the_p_of_the_permutation_test(tmp_path):
    a, b = store(f"{tmp_path}/a", "sasrec", 0, 0.30), store(f"{tmp_path}/b", "hstu", 0, 0.45)
    table = compare_table([f"{tmp_path}/a", f"{tmp_path}/b"])
    assert table["system"].tolist() == ["sasrec", "hstu", "markov"] and table["seeds"].tolist() == [1, 1, 1]
    difference = ndcg(b, 10) - ndcg(a, 10)
    told = table["over the first"][1]
    assert told.startswith(f"{difference.mean():+.4f} [")
    exact = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=4000, rng=np.random.default_rng(0)
    )
    assert abs(float(table["p"][1]) - exact.pvalue) < 0.03
    assert table["verdict"].tolist()[0] == "the first" and table["verdict"][2] == "worse"


def test_slices_are_compared_over_the_users_with_a_target_there(tmp_path):
    a, b = store(f"{tmp_path}/a", "sasrec", 0, 0.30), store(f"{tmp_path}/b", "hstu", 0, 0.45)
    table = compare_table([f"{tmp_path}/a", f"{tmp_path}/b"])
    assert "tail" not in table.columns, "no target is in it"
    for name, here in (("head", TARGETS % 2 == 0), ("torso", TARGETS % 2 == 1)):
        assert table[name][0] == f"{ndcg(a[here], 10).mean():.4f}"
        difference = ndcg(b[here], 10).mean() - ndcg(a[here], 10).mean()
        assert table[name][1].startswith(f"{ndcg(b[here], 10).mean():.4f} ({difference:+.4f} [")


def test_seeds_of_one_recipe_are_one_system_and_folders_are_taken_apart(tmp_path):
    for seed in range(3):
        store(f"{tmp_path}/runs/a{seed}", "sasrec", seed, 0.3, **{"encoder.width": 64})
        store(f"{tmp_path}/runs/b{seed}", "sasrec", seed, 0.9, **{"encoder.width": 128})
    table = compare_table([f"{tmp_path}/runs"])
    assert table["system"].tolist() == ["sasrec (width 64)", "sasrec (width 128)", "markov"]
    assert table["seeds"].tolist() == [3, 3, 1] and table["verdict"][1] == "better"
    again = compare_table([f"{tmp_path}/runs/a0", f"{tmp_path}/runs/a1", f"{tmp_path}/runs/b2"])
    assert again["seeds"].tolist() == [2, 1, 1]


def test_the_same_run_twice_differs_in_nothing(tmp_path):
    for place in ("a", "b"):
        store(f"{tmp_path}/{place}", "sasrec", 0, 0.5, **{"encoder.width": 64 if place == "a" else 32})
        ranks = read_ranks(f"{tmp_path}/a")
        write_ranks(f"{tmp_path}/{place}", ranks)
    table = compare_table([f"{tmp_path}/a", f"{tmp_path}/b"])
    assert table["verdict"][1] == "no difference shown" and table["p"][1] == "1.000"


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    store(f"{tmp_path}/a", "sasrec", 0, 0.5)
    store(f"{tmp_path}/b", "sasrec", 0, 0.5, split="t")
    with pytest.raises(UserError, match=r"/b was measured on other users or items than .*/a"):
        compare_table([f"{tmp_path}/a", f"{tmp_path}/b"])
    store(f"{tmp_path}/d", "sasrec", 0, 0.5)
    stored = storage.read_parquet(f"{tmp_path}/d/ranks.parquet").drop_columns("slice")
    storage.write_parquet(f"{tmp_path}/d/ranks.parquet", stored)
    with pytest.raises(UserError, match="was not written by this version"):
        compare_table([f"{tmp_path}/d"])
    storage.write_json(f"{tmp_path}/c/result.json", {"job": "transfer", "recipe": {}})
    with pytest.raises(UserError, match=r"has no ranks.parquet: runs of pretrain and evaluate have one"):
        compare_table([f"{tmp_path}/a", f"{tmp_path}/c"])
    with pytest.raises(UserError, match="holds no run that has ended"):
        compare_table([f"{tmp_path}/nowhere"])
    with pytest.raises(SystemExit):
        main(["compare"])
    assert "compare needs RUN" in capsys.readouterr().err


def test_from_the_command_line(tmp_path, capsys):
    store(f"{tmp_path}/a", "sasrec", 0, 0.30), store(f"{tmp_path}/b", "hstu", 0, 0.9)
    main(["compare", f"{tmp_path}/a", f"{tmp_path}/b"])
    assert "better" in capsys.readouterr().out
