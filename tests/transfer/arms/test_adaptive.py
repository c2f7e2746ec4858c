"""A policy that chooses between two copies: its ends are the frozen and the fine-tuned encoder, and it learns."""

import numpy as np
import pytest
import torch
from torch import nn

from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import read_known
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.transfer import AttributeTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms import adaptive
from ray_userrep.transfer.arms.adaptive import Policy, RandomPolicy, UserAdaptive
from ray_userrep.transfer.arms.plain import Full
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.attribute import read_attribute_tasks

BATCH = Batch.of([[1, 2, 3, 4, 9], [5, 6], [7]])
BACKBONES = {
    "cnn": {"kind": "cnn", "num_blocks": 2},
    "noncausal": {"kind": "cnn", "num_blocks": 2, "causal": False, "readout": "cls"},
    "transformer": {"kind": "transformer", "positions": "learned"},
    "hstu": {"kind": "hstu"},
}


class Given(nn.Module):
    """A policy that says what it was given of each user."""

    def __init__(self, share_B):
        super().__init__()
        self.share_B = torch.tensor(share_B)

    def forward(self, x_TD, batch):
        share_B = self.share_B.expand(batch.num_users)
        return share_B.repeat_interleave(batch.lengths())[:, None].expand(-1, 9)


def moved(encoder, seed=1):
    """The encoder with other weights, as if trained."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if not name.startswith(("backbone.frozen.", "backbone.policy.")):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return encoder.eval()


def adapted(encoder, policy=None, kind="soft"):
    other = moved(UserAdaptive(kind).apply(encoder))
    if policy is not None:
        other.backbone.policy = policy
    return other


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_user_has_the_frozen_encoder_or_the_trained_one(make_encoder, backbone):
    encoder = make_encoder(**BACKBONES[backbone])
    frozen, trained = encoder(BATCH), moved(Full().apply(encoder))(BATCH)
    assert not torch.allclose(frozen, trained, atol=1e-2)
    none, all_ = (adapted(encoder, Given([share]))(BATCH) for share in (0.0, 1.0))
    assert torch.equal(none, frozen)
    assert torch.allclose(all_, trained, atol=1e-6)
    by_user = adapted(encoder, Given([1.0, 0.0, 1.0]))(BATCH)
    assert torch.allclose(by_user, torch.stack([trained[0], frozen[1], trained[2]]), atol=1e-6)


def test_shares_between_mix_each_block_by_the_formula(make_encoder):
    encoder = make_encoder(kind="cnn", num_blocks=1)
    trained = moved(Full().apply(encoder))
    share = 0.3
    x = share * trained.inputs(BATCH) + (1 - share) * encoder.inputs(BATCH)
    place = torch.cat([torch.arange(n) for n in BATCH.lengths()])
    length = BATCH.lengths().repeat_interleave(BATCH.lengths())
    for own, other in (
        (trained.backbone.blocks[0], encoder.backbone.blocks[0]),
        (trained.backbone.norm, encoder.backbone.norm),
    ):
        rest = (place, length) if own is trained.backbone.blocks[0] else ()
        x = share * own(x, *rest) + (1 - share) * other(x, *rest)
    assert torch.allclose(adapted(encoder, Given([share])).states(BATCH), x, atol=1e-5)


def fit(recipe, corpus, encoder, task, arm, uri, engines=None):
    def make_engine(fitted):
        def made(model):
            engine = BareEngine(model, fitted.train, torch.device("cpu"))
            if engines is not None:
                engines.append(engine)
            return engine

        return made

    return fit_task(recipe, corpus, encoder, task, arm, FitSpec(1.0, 0, 0.01), str(uri), make_engine)


@pytest.fixture
def task(corpus, split):
    config = TransferConfig(task=AttributeTaskConfig(attributes=("half",)), columns=())
    return read_attribute_tasks(corpus, split, read_known(corpus, split), config)[0]


def test_all_trained_copies_are_trained_as_full_fine_tuning_trains(
    make_encoder, corpus, task, recipe, tmp_path, monkeypatch
):
    encoder = make_encoder(**BACKBONES["cnn"])
    full = fit(recipe, corpus, encoder, task, Full(), tmp_path / "full")
    monkeypatch.setattr(adaptive, "RandomPolicy", lambda num_blocks: Given([1.0]))
    ones = fit(recipe, corpus, encoder, task, UserAdaptive("random"), tmp_path / "ones")
    np.testing.assert_allclose(ones.predicted_U, full.predicted_U, atol=1e-4)
    assert ones.steps == full.steps and ones.usage["block 2"] == [1.0, 0.0]
    monkeypatch.setattr(adaptive, "RandomPolicy", lambda num_blocks: Given([0.0]))
    none = fit(recipe, corpus, encoder, task, UserAdaptive("random"), tmp_path / "none")
    assert abs(none.predicted_U - full.predicted_U).max() > 0.01


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_gradients_reach_the_policy(make_encoder, kind):
    encoder = adapted(make_encoder(**BACKBONES["cnn"]), kind=kind).train()
    policy = encoder.backbone.policy
    nn.init.normal_(policy.head.weight)
    nn.init.normal_(policy.reads.layers[0].down.weight)
    encoder(BATCH).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in policy.parameters())


def test_a_hard_choice_is_the_gumbel_softmax_of_temperature_ten():
    policy, num_users = Policy(4, 2, causal=True, kind="hard"), 4000
    with torch.no_grad():
        policy.head.bias.copy_(torch.tensor([1.0, -2.0]))
    batch = Batch.of([[1, 2]] * num_users)
    torch.manual_seed(0)
    share = policy.train()(torch.zeros(2 * num_users, 4), batch)
    assert set(share.unique().tolist()) == {0.0, 1.0} and torch.equal(share[::2], share[1::2])
    chosen = share[::2].mean(0)
    assert torch.allclose(chosen, policy.head.bias.sigmoid(), atol=0.03)
    share[:, 0].mean().backward()
    # The gradient is that of the softmax of two logits with Gumbel noise each.
    torch.manual_seed(1)
    logits = torch.tensor([0.0, 1.0]).expand(200_000, 2).clone().requires_grad_()
    nn.functional.gumbel_softmax(logits, tau=10.0)[:, 1].mean().backward()
    assert policy.head.bias.grad[0] == pytest.approx(logits.grad[:, 1].sum().item(), rel=0.02)
    assert policy.eval()(torch.zeros(4, 4), Batch.of([[1, 2]] * 2)).tolist() == [[1.0, 0.0]] * 4


def test_rewards_make_choices_likelier_as_the_expected_loss_says():
    """A user's loss is a block's price where its trained copy is taken: the expected loss has a known slope."""
    policy, num_users, price = Policy(4, 2, causal=True, kind="rewards"), 20_000, torch.tensor([1.0, -0.5])
    with torch.no_grad():
        policy.head.bias.copy_(torch.tensor([0.5, -1.0]))
    batch = Batch.of([[1, 2]] * num_users)
    torch.manual_seed(0)
    chosen_BK = policy.train()(torch.zeros(2 * num_users, 4), batch)[::2]
    assert not chosen_BK.requires_grad and set(chosen_BK.unique().tolist()) == {0.0, 1.0}
    loss_B = chosen_BK @ price
    credited_B = policy.credited(loss_B)
    assert torch.equal(credited_B, loss_B)
    credited_B.mean().backward()
    p = policy.head.bias.detach().sigmoid()
    assert torch.allclose(policy.head.bias.grad, price * p * (1 - p), atol=0.01)
    assert policy.credited(loss_B) is loss_B  # a batch is credited once


@pytest.mark.parametrize("kind", ["hard", "soft", "rewards", "random"])
def test_what_comes_later_changes_no_earlier_state(make_encoder, kind):
    encoder = adapted(make_encoder(**BACKBONES["transformer"]), kind=kind)
    if kind != "random":
        nn.init.normal_(encoder.backbone.policy.head.weight)
    states = encoder.states(BATCH)
    later = encoder.states(Batch.of([[1, 2, 3, 8, 7], [5, 6], [7]]))
    assert torch.allclose(states[:3], later[:3], atol=1e-6) and torch.allclose(states[5:], later[5:], atol=1e-6)
    assert not torch.allclose(states[3:5], later[3:5], atol=1e-3)


@pytest.mark.parametrize("kind", ["hard", "soft", "rewards", "random"])
def test_usage_differs_by_user_and_is_told(make_encoder, corpus, task, recipe, tmp_path, kind):
    recipe = recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update={"epochs": 6.0})})
    arm, engines = UserAdaptive(kind), []
    outcome = fit(recipe, corpus, make_encoder(**BACKBONES["cnn"]), task, arm, tmp_path, engines)
    assert list(outcome.usage) == ["input", "block 1", "block 2"]
    assert all(0 <= mean <= 1 for mean, _ in outcome.usage.values())
    assert max(spread for _, spread in outcome.usage.values()) > 0.001
    again = fit(recipe, corpus, make_encoder(**BACKBONES["cnn"]), task, arm, tmp_path)
    assert again.usage == outcome.usage


def test_a_drawn_policy_takes_half_and_always_the_same():
    torch.manual_seed(0)
    policy, users = RandomPolicy(4), np.arange(500) * 7919
    batch = Batch.of([[1, 2]] * 500, users)
    share = policy(torch.zeros(1000, 4), batch)
    assert torch.equal(share[::2], share[1::2]) and abs(share.mean(0) - 0.5).max() < 0.08
    order = np.arange(500)[::-1].copy()
    assert torch.equal(policy(torch.zeros(1000, 4), Batch.of([[3, 4]] * 500, users[order]))[::2], share[::2].flip(0))


def test_what_it_cannot_adapt_is_refused(make_encoder):
    with pytest.raises(UserError, match=r"uaf_soft takes encoder\.backbone\.kind cnn, transformer or hstu"):
        UserAdaptive("soft").apply(make_encoder(kind="gru"))
    with pytest.raises(UserError, match="uaf_hard keeps frozen items"):
        UserAdaptive("hard").apply(make_encoder(items="rows"))
