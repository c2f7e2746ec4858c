"""The graph network against loops over single windows, tokens and heads; windows apart; what the policy is credited."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.backbones.gnn import GNN, MetaAggregator, Policy
from ray_userrep.encoder.graph import Around
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import GNNConfig

WIDTH, HEADS, SLOTS, LENGTHS = 8, 2, 3, [3, 1, 0, 4]


def make(**fields) -> GNN:
    """A network whose every parameter is drawn anew, so that no branch is silent."""
    config = GNNConfig.model_validate({"num_heads": HEADS, "num_neighbours": SLOTS, "dropout": 0.0} | fields)
    backbone = build_backbone(config, WIDTH, 4).eval()
    assert isinstance(backbone, GNN)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(std=0.5)
    return backbone


def given(number: int) -> tuple[Around, Tensor]:
    """Neighbours of so many items, of which some are missing, and the first item has none."""
    torch.manual_seed(1)
    is_user_TS = torch.rand(number, SLOTS) < 0.7
    is_user_TS[0] = False
    is_item_TSS = (torch.rand(number, SLOTS, SLOTS) < 0.7) & is_user_TS[..., None]
    around = Around(is_user_TS, torch.zeros(number, SLOTS, SLOTS).long(), is_item_TSS, torch.rand(number, SLOTS))
    return around, torch.randn(number, SLOTS, SLOTS, WIDTH)


def windows() -> tuple[Tensor, Batch, Around, Tensor]:
    batch = Batch.of([list(range(length)) for length in LENGTHS])
    around, x_TSSD = given(batch.num_tokens)
    return torch.randn(batch.num_tokens, WIDTH), batch, around, x_TSSD


def mean(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors).mean(0) if vectors else torch.zeros(WIDTH)


def hop(module, own: Tensor, near: list[Tensor]) -> Tensor:
    """One node, neighbour by neighbour."""
    if hasattr(module.layer, "near"):
        out = module.layer.own.weight @ own + module.layer.near.weight @ mean(near)
    else:
        weight, parts = module.layer.map.weight, []
        for head, rows in enumerate(torch.arange(WIDTH).chunk(HEADS)):
            mapped = [weight[rows] @ vector for vector in [own, *near]]
            a = torch.cat([module.layer.own[head], module.layer.other[head]])
            scores = torch.stack([F.leaky_relu(a @ torch.cat([mapped[0], one]), 0.2) for one in mapped]).softmax(0)
            parts.append(sum(score * one for score, one in zip(scores, mapped, strict=True)))
        out = torch.cat(parts)
    return out if module._is_last else F.elu(out)


def there(vectors: Tensor, is_there: Tensor) -> list[Tensor]:
    return [vector for vector, one in zip(vectors, is_there.tolist(), strict=True) if one]


@pytest.mark.parametrize("layer", ["sage", "gat"])
@torch.no_grad()
def test_users_are_those_of_a_loop_over_tokens(layer):
    backbone, (x, batch, around, near) = make(layer=layer, meta_aggregator=False), windows()
    first, second = backbone.hops
    expected, unknown = [], backbone.unknown.weight
    for low, high in zip(batch.offsets_B1[:-1].tolist(), batch.offsets_B1[1:].tolist(), strict=True):
        items = []
        for token in range(low, high):
            users = [mean(there(near[token, s], around.is_item_TSS[token, s])) for s in range(SLOTS)]
            items.append(hop(first, x[token], there(torch.stack(users), around.is_user_TS[token])))
            user = hop(first, unknown, list(x[low : token + 1]))
            expected.append(backbone.norm(hop(second, user, items)))
    torch.testing.assert_close(backbone(x, batch, around, near), torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", ["sage", "gat"])
@torch.no_grad()
def test_items_are_those_of_a_loop_over_their_users(layer):
    backbone, (around, near) = make(layer=layer, meta_aggregator=False), given(6)
    first, second = backbone.hops
    expected = []
    for item in range(6):
        known = [there(near[item, s], around.is_item_TSS[item, s]) for s in range(SLOTS)]
        leaves = torch.stack([mean(items) for items in known])
        users = torch.stack([hop(first, leaf, items) for leaf, items in zip(leaves, known, strict=True)])
        own = hop(first, backbone.unknown.weight, there(leaves, around.is_user_TS[item]))
        expected.append(backbone.norm(hop(second, own, there(users, around.is_user_TS[item]))))
    torch.testing.assert_close(backbone.items(around, near), torch.stack(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_meta_aggregator_sees_those_that_are_there_alone_and_changes_what_is_joined():
    backbone, (x, batch, around, near) = make(), windows()
    meta = backbone.hops[0].meta
    assert isinstance(meta, MetaAggregator)
    torch.manual_seed(2)
    near_NSD, is_there_NS = torch.randn(5, SLOTS, WIDTH), torch.rand(5, SLOTS) < 0.6
    is_there_NS[0] = False
    found = meta(near_NSD, is_there_NS)
    for node in range(5):
        kept = near_NSD[node, is_there_NS[node]]
        alone = meta(kept[None], torch.ones(1, len(kept), dtype=torch.bool)) if len(kept) else torch.zeros(1, WIDTH)
        torch.testing.assert_close(found[node], alone[0], rtol=1e-4, atol=1e-5)
    plain = make(meta_aggregator=False)
    plain.load_state_dict({name: value for name, value in backbone.state_dict().items() if ".meta." not in name})
    assert not torch.allclose(plain(x, batch, around, near), backbone(x, batch, around, near), atol=1e-2)


@pytest.mark.parametrize("fields", [{"layer": "sage"}, {"layer": "gat", "sampler": "learned"}])
@torch.no_grad()
def test_nothing_of_a_later_token_another_window_or_a_missing_neighbour_is_read(fields):
    backbone, (x, batch, around, near) = make(**fields), windows()
    expected = backbone(x, batch, around, near)
    poisoned_x, poisoned_near = x.clone(), near.clone()
    poisoned_x[[2, *range(4, 8)]] = float("nan")  # the last token of the first window, and all of the last window
    poisoned_near[4:] = float("nan")
    poisoned_near[~around.is_item_TSS] = float("nan")
    found = backbone(poisoned_x, batch, around, poisoned_near)
    torch.testing.assert_close(found[[0, 1, 3]], expected[[0, 1, 3]])
    assert found[4:].isnan().all()


def test_every_parameter_learns_and_the_policy_from_what_it_is_credited():
    backbone, (x, batch, around, near) = make(sampler="learned"), windows()
    loss_T = backbone(x, batch, around, near).square().sum(1)
    backbone.items(*given(4)).sum().backward(retain_graph=True)
    loss_B = loss_T.new_zeros(len(LENGTHS)).index_add(0, batch.per_token(torch.arange(len(LENGTHS))), loss_T)
    credited_B = backbone.credited(loss_B)
    assert torch.equal(credited_B, loss_B) and backbone.credited(loss_B) is loss_B  # a batch is credited once
    credited_B.sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_policy_comes_to_read_the_neighbours_after_which_losses_are_low():
    """Good neighbours point up: the loss is how much of what is read does not."""
    torch.manual_seed(0)
    policy = Policy(WIDTH)
    optimizer, rng = torch.optim.Adam(policy.parameters(), 0.02), np.random.default_rng(0)
    x_TD, owner_T, is_there_TS = torch.zeros(64, WIDTH), torch.arange(64), torch.ones(64, 4, dtype=torch.bool)

    def near():
        good_TS = torch.from_numpy(rng.random((64, 4)) < 0.5)
        return good_TS, torch.where(good_TS[..., None], 1.0, -1.0) + 0.1 * torch.randn(64, 4, WIDTH)

    for _ in range(300):
        good_TS, near_TSD = near()
        draw_TS = torch.from_numpy(rng.random((64, 4)))
        is_read_TS = policy(x_TD, near_TSD, is_there_TS, draw_TS, owner_T, x_TD)
        loss_B = (is_read_TS & ~good_TS).sum(1) / is_read_TS.sum(1)
        optimizer.zero_grad()
        policy.credited(loss_B).mean().backward()
        optimizer.step()
    good_TS, near_TSD = near()
    is_read_TS = policy(x_TD, near_TSD, is_there_TS, torch.full((64, 4), 0.5), owner_T, x_TD)
    mixed_T = good_TS.any(1)
    assert (is_read_TS & ~good_TS)[mixed_T].sum() < 0.1 * (~good_TS)[mixed_T].sum()
    assert is_read_TS[~mixed_T].all()  # where none is chosen all are read
