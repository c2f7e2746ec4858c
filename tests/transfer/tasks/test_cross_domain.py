"""Ratings in a second log: who is trained on, what is predicted, how it is measured, what is refused."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import CrossDomainTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.base import HeadShape
from ray_userrep.transfer.tasks.cross_domain import read_cross_domain
from ray_userrep.transfer.tasks.overlap import refuse_other_log
from ray_userrep.workflows.transfer import run_transfer
from tests.transfer.conftest import FIRST_TARGET_USER, taste, two_logs

CONFIG = CrossDomainTaskConfig(width=4)
BASELINES = ["global mean, popular items first", "item mean", "item mean + source bias"]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return two_logs(tmp_path_factory.mktemp("domains"), taste)


def make_task(source, target, split, config=CONFIG):
    return read_cross_domain(source, target, split, config, ())


def rows_of(target):
    """`(user hash, item, rating)` of all that a log has."""
    for number in target.buckets():
        bucket = target.bucket(number, ("rating",))
        users = np.repeat(bucket.user_hash_U, bucket.lengths_U).tolist()
        yield from zip(users, bucket.items_N.tolist(), bucket.side_N["rating"].tolist(), strict=True)


def test_users_of_both_logs_are_dealt_out_whole(logs, split):
    source, target = logs
    task = make_task(source, target, split)
    both = set(hash_ids(pa.array(np.arange(FIRST_TARGET_USER, 260))).tolist())
    tested = set(task.known_until()[0].tolist())
    trained, fewer = (trained_on(source, task, share) for share in (1.0, 0.5))
    assert tested < both and set(trained) < both and not tested & set(trained) and set(fewer) < set(trained)
    counts = [task.num_users(part) for part in ("train", "valid", "test")]
    assert sum(counts) == len(both) and counts[0] == len(trained) and counts[2] == len(tested)
    wide = make_task(source, target, split, CONFIG.model_copy(update={"test_share": 0.8}))
    assert wide.num_users("test") == pytest.approx(0.8 * len(both), abs=20)
    assert tested <= set(wide.known_until()[0].tolist()), "a larger share tests the same users and more"


def trained_on(source, task, share):
    """Users with windows to train on, and the items in them: those of the source log, as far as the split lets."""
    found = {}
    for number in source.buckets():
        bucket, lengths = task.cut(share).training(source.bucket(number))
        found |= {user: length for user, length in zip(bucket.user_hash_U.tolist(), lengths, strict=True) if length}
    return found


def test_what_test_users_rate_in_the_target_log_reaches_nothing_that_is_trained(logs, split, make_encoder, tmp_path):
    task = make_task(*logs, split)
    tested = set(task.known_until()[0].tolist())
    numbers = {int(h): user for user, h in enumerate(hash_ids(pa.array(np.arange(290))))}
    planted = {numbers[user] for user in tested}
    other = make_task(*two_logs(tmp_path, lambda u, i: taste(u, i) + 1000.0 * (u in planted)), split)
    assert set(other.known_until()[0].tolist()) == tested
    heads = [one.objective(make_encoder(), 1.0, HeadShape()) for one in (task, other)]
    known, again = (head._known for head in heads)
    assert not tested & set(known.users_U.tolist())
    for one, two in zip(known, again, strict=True):
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (one, two)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert other.baselines(1.0)["item mean"][:, 0].min() > 900  # and they are what is asked about


def test_figures_are_those_of_all_ratings_and_of_each_user_s_liked_items(logs, split):
    task = make_task(*logs, split)
    tested = task.known_until()[0].tolist()
    found, truth = task.baselines(1.0), task.truth("test")
    assert list(found) == BASELINES
    rows = [row for row in rows_of(logs[1]) if row[0] in tested]
    assert truth.sum() == len(rows) and truth.tolist() == [sum(u == user for u, *_ in rows) for user in tested]
    item_V, user_U = task._biases.item_V, dict(zip(tested, task._shift_U[task._parts.test], strict=True))
    told = [task._biases.mean + item_V[item] + user_U[user] for user, item, _ in rows]
    given = [rating for *_, rating in rows]
    best = found["item mean + source bias"]
    assert task.measures["mae"](truth, best) == pytest.approx(mean_absolute_error(given, told))
    assert task.measures["rmse"](truth, best) == pytest.approx(root_mean_squared_error(given, told))
    order = np.argsort(-item_V, kind="stable").tolist()
    gains = {user: [] for user in tested}
    for user, item, rating in rows:
        place = order.index(item) + 1
        gains[user] += [1 / np.log2(place + 1) if place <= 10 else 0.0] if rating > 3 else []
    expected = np.mean([np.mean(of_user) for of_user in gains.values() if of_user])
    assert task.measures["ndcg@10"](truth, best) == pytest.approx(expected)


def test_who_rates_higher_in_one_log_is_expected_to_in_the_other(logs, split):
    task = make_task(*logs, split)
    found, truth = task.baselines(1.0), task.truth("test")
    errors = [task.measures["mae"](truth, found[name]) for name in BASELINES]
    assert errors[2] < errors[1] - 0.1 and task.measures["mae"].sign == -1


def fitted(recipe, source, encoder, task, name, place):
    engines, arm = [], build_arm(name, recipe.transfer)

    def make(one):
        return lambda model: engines.append(BareEngine(model, one.train, torch.device("cpu"))) or engines[-1]

    outcome = fit_task(recipe, source, encoder, task, arm, FitSpec(1.0, 0, 0.03), str(place), make)
    return outcome, engines[0].model


@pytest.fixture
def telling(logs, make_encoder):
    """An encoder whose vectors tell users of the two tastes apart, since they keep to the two halves of the items."""
    encoder = make_encoder(kind="mean", num_layers=0)
    with torch.no_grad():
        encoder.items.weight[: len(encoder.items.weight) // 2, :8] += 1
        encoder.items.weight[len(encoder.items.weight) // 2 :, 8:] += 1
    return encoder


@pytest.mark.parametrize("name", ["head_only", "frozen_mlp", "full"])
def test_arms_start_from_the_best_simple_prediction_and_learn_what_vectors_tell(
    logs, split, telling, recipe, tmp_path, name
):
    source, target = logs
    task, recipe = make_task(source, target, split), longer(recipe)
    untrained = task.objective(telling, 1.0, HeadShape(8))
    plain = task.baselines(1.0)["item mean + source bias"]
    np.testing.assert_allclose(task.predict(telling, untrained, "test"), plain)
    tables = task._items_VD.copy(), task._towards_UD.copy()
    outcome, model = fitted(recipe, source, telling, task, name, tmp_path)
    mae, truth = task.measures["mae"], task.truth("test")
    assert mae(truth, outcome.predicted_U) < 0.5 < mae(truth, plain)
    assert outcome.validation < 0.5
    assert (task._items_VD == tables[0]).all() and (task._towards_UD == tables[1]).all()
    assert (model.objective.items_VD.numpy() == tables[0].astype(np.float32)).all()


def longer(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update={"epochs": 20.0})})


def test_a_batch_cut_in_two_has_the_same_losses(logs, split, make_encoder, recipe):
    task, encoder = make_task(*logs, split), make_encoder()
    objective = task.objective(encoder, 1.0, HeadShape(4))
    with torch.no_grad():
        objective.head[-1].weight.normal_()
    users = hash_ids(pa.array(np.arange(40, 120)))  # some in one log only, some who test
    rng = np.random.default_rng(0)
    windows = [rng.integers(0, 40, 5) for _ in users]

    def losses(rows):
        batch = Batch.of([windows[row] for row in rows], users[rows])
        views = objective.views(batch, Draws(0, 0, 0))
        return objective(encoder, views).sums_P.item(), objective.counts(views).item()

    whole, parts = losses(np.arange(80)), [losses(np.arange(*bounds)) for bounds in ((0, 33), (33, 80))]
    assert whole == pytest.approx(tuple(map(sum, zip(*parts, strict=True))), rel=1e-5) and whole[1] > 100


@pytest.mark.parametrize(
    ("rate", "fields", "named"),
    [
        (None, {}, "the log .* has no ratings: name their column"),
        (lambda user, items: items * np.nan, {}, "has no ratings"),
        (lambda user, items: items * 0 + 4.0, {}, "all ratings of the log .* are 4: there is nothing to tell"),
        (taste, {"first_user": 1000}, "no user of .* is in .*: are user ids written in the same way"),
        (taste, {"seed": 0, "first_item": 0}, r"transfer\.corpus .* is the log that users come from"),
    ],
)
def test_logs_that_do_not_go_together_are_refused(logs, split, write_corpus, tmp_path, rate, fields, named):
    target = write_corpus(f"{tmp_path}/target", **({"seed": 1, "first_item": 100, "rate": rate} | fields))
    with pytest.raises(UserError, match=named):
        make_task(logs[0], target, split)


def test_a_recipe_of_one_domain_is_refused_before_its_log_is_read(tmp_path):
    raw = Recipe(name="one").model_dump()
    raw["transfer"] |= {"task": {"kind": "cross_domain"}, "keep": None}
    with pytest.raises(UserError, match=r"name it with --transfer\.corpus"):
        run_transfer(Recipe.model_validate(raw))


def test_an_encoder_of_another_log_is_refused(logs):
    source, target = logs
    refuse_other_log("ratings", source, source)
    with pytest.raises(UserError, match="may have seen what test users did in the other domain"):
        refuse_other_log("ratings", target, source)


def test_shares_that_leave_nobody_to_train_on_and_arms_over_labels_are_refused():
    with pytest.raises(ValueError, match=r"valid_share 0.3 and test_share 0.7 leave no users"):
        CrossDomainTaskConfig(valid_share=0.3, test_share=0.7)
    for fields in ({"arms": ("uaf_rewards",)}, {"beside_columns": True}):
        with pytest.raises(ValueError, match="cross_domain has none of"):
            TransferConfig(task=CrossDomainTaskConfig(), **fields)
