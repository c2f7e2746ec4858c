"""Bridges: a taste is that of its user alone, EMCDR is a special case, and both find what was planted."""

import numpy as np
import pytest
import torch

from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.recipe.transfer import BRIDGES, CrossDomainTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.bridges import LinearBridge, PersonalBridge
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.cross_domain import read_cross_domain
from tests.transfer.conftest import taste, two_logs

FACTORS, ITEMS, USERS = 4, 6, 5
CONFIG = CrossDomainTaskConfig(width=FACTORS)
LIKED = [[0, 1, 2], [], [3], [4, 5, 0, 1], [2, 2]]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return two_logs(tmp_path_factory.mktemp("bridges"), taste)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Users of either taste rate all items of both logs: what they rate says nothing of it, how they do says all."""
    return two_logs(tmp_path_factory.mktemp("mixed"), taste, has_halves=False)


@pytest.fixture
def bridge():
    torch.manual_seed(0)
    made = PersonalBridge(FACTORS, ITEMS, 8, FACTORS)
    with torch.no_grad():
        made.outer.weight.normal_()
    return made


def laid(lists, vectors):
    """Liked items of users end to end, and whose each is."""
    flat = [item for one in lists for item in one]
    of = [user for user, one in enumerate(lists) for _ in one]
    return vectors[torch.tensor(flat, dtype=torch.long)], torch.tensor(of, dtype=torch.long)


def test_a_taste_is_the_softmax_over_the_user_s_own_items_whoever_is_beside(bridge):
    vectors = torch.randn(ITEMS, ITEMS)
    found = bridge.taste(*laid(LIKED, vectors), USERS)
    for user, liked in enumerate(LIKED):
        if not liked:
            assert not found[user].any()
            continue
        own = vectors[liked]
        shares = torch.softmax(torch.relu(own @ bridge.keys.weight.T + bridge.keys.bias) @ bridge.query.weight[0], 0)
        torch.testing.assert_close(found[user], shares @ own)
        torch.testing.assert_close(bridge.taste(*laid([liked], vectors), 1)[0], found[user])


def test_large_scores_and_users_without_likes_have_finite_gradients(bridge):
    vectors = (1000 * torch.randn(ITEMS, ITEMS)).requires_grad_()
    bridge(torch.randn(USERS, FACTORS), *laid(LIKED, vectors)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (vectors, *bridge.parameters()))


def test_without_its_network_and_with_an_identity_it_is_a_linear_bridge_that_is_one(bridge):
    linear, vectors = LinearBridge(FACTORS, FACTORS), torch.randn(USERS, FACTORS)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(FACTORS))
        bridge.outer.weight.zero_()
        bridge.outer.bias.copy_(torch.eye(FACTORS).flatten())
    torch.testing.assert_close(bridge(vectors, *laid(LIKED, torch.randn(ITEMS, ITEMS))), linear(vectors))
    torch.testing.assert_close(linear(vectors), vectors)


def test_new_bridges_lead_everybody_to_zero():
    personal, vectors = PersonalBridge(FACTORS, ITEMS, 8, FACTORS), torch.randn(USERS, FACTORS)
    assert not personal(vectors, *laid(LIKED, torch.randn(ITEMS, ITEMS))).any()
    assert not LinearBridge(FACTORS, FACTORS)(vectors).any()


def fitted(logs, split, encoder, recipe, name, place):
    task, engines = read_cross_domain(*logs, split, CONFIG, ()), []
    transfer = recipe.transfer.model_copy(update={"epochs": 25.0})
    recipe, arm = recipe.model_copy(update={"transfer": transfer}), build_arm(name, TransferConfig(bridge_hidden=8))

    def make(one):
        return lambda model: engines.append(BareEngine(model, one.train, torch.device("cpu"))) or engines[-1]

    outcome = fit_task(recipe, logs[0], encoder, task, arm, FitSpec(1.0, 0, 0.03), str(place), make)
    return task, outcome, engines[0].model


@pytest.mark.parametrize("name", BRIDGES)
def test_bridges_find_the_taste_and_change_neither_the_encoder_nor_the_factors(
    logs, mixed, split, make_encoder, recipe, tmp_path, name
):
    logs = logs if name.endswith("_bridge") else mixed  # item vectors tell the halves, factors the ratings
    encoder = make_encoder(kind="mean", num_layers=0)
    with torch.no_grad():  # vectors that tell the halves apart, to which users of the two tastes keep
        encoder.items.weight[: len(encoder.items.weight) // 2, :8] += 1
        encoder.items.weight[len(encoder.items.weight) // 2 :, 8:] += 1
    before = {n: p.clone() for n, p in encoder.state_dict().items()}
    untouched = read_cross_domain(*logs, split, CONFIG, ())
    task, outcome, model = fitted(logs, split, encoder, recipe, name, tmp_path)
    for known in (encoder, model.encoder):
        assert all(torch.equal(p, before[n]) for n, p in known.state_dict().items())
    for table in ("_items_VD", "_towards_UD", "_source_VD", "_from_UD"):
        np.testing.assert_array_equal(getattr(untouched, table), getattr(task, table))
    np.testing.assert_array_equal(model.objective.items_VD.numpy(), task._items_VD.astype(np.float32))
    mae, truth = task.measures["mae"], task.truth("test")
    plain = task.baselines(1.0)["item mean + source bias"]
    assert mae(truth, outcome.predicted_U) < 0.6 * mae(truth, plain)
    assert outcome.size.head == sum(p.numel() for p in model.objective.parameters()) and not outcome.size.added


def test_emcdr_learns_to_hit_the_factors_of_each_training_user(logs, split, make_encoder):
    task, encoder = read_cross_domain(*logs, split, CONFIG, ()), make_encoder().requires_grad_(False)
    objective = task.objective(encoder, 1.0, build_arm("emcdr", TransferConfig()).head)
    torch.nn.init.normal_(objective.head.weight)
    users = objective._known.users_U[[3, 0, 7]]
    stranger = task.known_until()[0][:1]
    batch = Batch.of([[1, 2], [3], [4, 5, 6], [7]], np.concatenate([users, stranger]))
    views = objective.views(batch, Draws(0, 0, 0))
    places = [task._histories.users_U.tolist().index(user) for user in users]
    weight = objective.head.weight.detach().double().numpy()
    expected = ((task._from_UD[places] @ weight.T - task._towards_UD[places]) ** 2).sum()
    assert objective(encoder, views).sums_P.item() == pytest.approx(expected, rel=1e-4)
    assert objective.counts(views).tolist() == [3]
    filler = Batch(**{**batch.__dict__, "weight": 0.0})
    assert objective.counts(objective.views(filler, Draws(0, 0, 0))).tolist() == [0]


def test_a_taste_reads_the_newest_items_that_were_liked(logs, split):
    config = CrossDomainTaskConfig(width=FACTORS, num_liked=2, liked_above=5.0)
    task = read_cross_domain(*logs, split, config, ())
    histories, liked = task._histories, task._liked
    for row in range(histories.num_users):
        own = slice(*histories.offsets_U1[row : row + 2])
        expected = histories.items_N[own][histories.side_N["rating"][own] > 5][-2:]
        np.testing.assert_array_equal(liked.values_N[slice(*liked.offsets_U1[row : row + 2])], expected)


def test_bridges_need_another_domain():
    with pytest.raises(ValueError, match=r"ptupcdr brings users to another domain, .* take cross_domain"):
        TransferConfig(arms=("ptupcdr",))
