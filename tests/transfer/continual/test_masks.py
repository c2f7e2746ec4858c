"""Masks: claims are disjoint, on schedule and the largest weights, and what is not active does not move."""

import pytest
import torch

from ray_userrep.errors import UserError
from ray_userrep.transfer.continual.masks import claim, free_owners, mask, owned_until, unmask, used

PRUNE = 0.7
BACKBONES = {
    "cnn": ({"kind": "cnn", "num_blocks": 2}, 4),
    "transformer": ({"kind": "transformer", "num_layers": 2, "num_heads": 2, "gated": True}, 12),
    "gru": ({"kind": "gru"}, 1),
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_claims_are_disjoint_on_schedule_and_the_largest(backbone, make_encoder):
    fields, num_maps = BACKBONES[backbone]
    encoder = make_encoder(**fields)
    weights, owners = encoder.state_dict(), free_owners(encoder)
    assert len(owners) == num_maps and set(owners) <= set(weights)
    for task in range(1, 5):
        before, owners = owners, claim(weights, owners, PRUNE, task)
        for name, owner in owners.items():
            was_owned, size = before[name] > 0, owner.numel()
            assert torch.equal(owner[was_owned], before[name][was_owned])
            mine, free = owner == task, owner == 0
            assert mine.sum() / size == pytest.approx(0.3 * PRUNE ** (task - 1), abs=2 / size)
            assert weights[name][mine].abs().min() >= weights[name][free].abs().max()
    for name, share in used(owners).items():
        assert share == pytest.approx(1 - PRUNE**4, abs=4 / owners[name].numel())


def test_a_task_has_zeros_where_it_and_those_before_it_own_nothing():
    weight, owner = torch.tensor([1.0, -2.0, 3.0, 4.0]), torch.tensor([1, 2, 3, 0], dtype=torch.uint8)
    assert owned_until(weight, owner, 2).tolist() == [1.0, -2.0, 0.0, 0.0]


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_weights_that_are_not_active_never_move(decay, make_encoder):
    """Neither by decay, nor by moments of a time when they were active."""
    encoder = make_encoder(**BACKBONES["cnn"][0])
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    active = {name: torch.rand(owner.shape) < 0.5 for name, owner in free_owners(encoder).items()}
    mask(encoder, active)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=decay)
    for parameter in encoder.parameters():  # as if all of them had been trained before
        state = optimizer.state[parameter]
        state["step"], state["exp_avg"] = torch.ones(()), torch.ones_like(parameter)
        state["exp_avg_sq"] = torch.ones_like(parameter)
    for _ in range(3):
        sum((m.weight**2).sum() for m in encoder.backbone.modules() if isinstance(m, torch.nn.Linear)).backward()
        optimizer.step()
        optimizer.zero_grad()
    unmask(encoder)
    after = encoder.state_dict()
    assert set(after) == set(before)
    for name, is_active in active.items():
        assert torch.equal(after[name][~is_active], before[name][~is_active])
        assert (after[name][is_active] != before[name][is_active]).all()


def test_an_encoder_without_linear_maps_is_refused(make_encoder):
    with pytest.raises(UserError, match="conure masks linear maps, which this encoder's backbone has none of"):
        free_owners(make_encoder(kind="mean", num_layers=0))
