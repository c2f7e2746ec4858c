"""Masked bundles: the plain loss of what hidden rows hold, and that nothing of it can be seen."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.encoder.bundles import bundling_of
from ray_userrep.encoder.fields import FIELDS
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import MASK, TIMESTAMPS, Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.objective import MaskedBundlesConfig

HOUR, RNG = 3600 * 10**6, Draws(0, 0, 0)
LENGTHS = [14, 1, 2, 9, 30, 30]
ENCODER = EncoderConfig(
    width=8,
    context=("hour", "event"),
    bundle="day",
    singles=4,
    backbone={"kind": "transformer", "causal": False, "num_heads": 2},
    readout="mean",
)
BUNDLING = bundling_of(ENCODER)


def batch_of(low=0, high=None, lengths=LENGTHS):
    """Some of the windows, about four interactions a day; event 0 is not known."""
    rng = np.random.default_rng(3)
    items = [rng.integers(0, 20, length) for length in lengths]
    times = [torch.from_numpy(np.cumsum(rng.integers(0, 12, length)) * HOUR) for length in lengths]
    events = [torch.from_numpy(rng.integers(0, 4, length)) for length in lengths]
    batch = Batch.of(items[low:high], np.arange(len(lengths))[low:high])
    return replace(batch, side={TIMESTAMPS: torch.cat(times[low:high]), "event": torch.cat(events[low:high])})


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    built = build_encoder(ENCODER, table, 30, hides_items=True).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def objective_of(table, columns=("category",), fields=("price", "event", "hour")):
    config = MaskedBundlesConfig(columns=columns, fields=fields)
    made = build_objective(config, ENCODER, ObjectiveData(table, ("event",), table.counts))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def losses(objective, encoder, batch):
    views = objective.views(batch, RNG)
    return objective(encoder, views).sums_P.detach(), objective.counts(views)


def rows_of(batch):
    bounds = [*BUNDLING.begins(batch).nonzero()[:, 0].tolist(), batch.num_tokens]
    return [range(low, high) for low, high in pairwise(bounds)]


def test_each_part_is_the_likelihood_of_what_hidden_rows_hold(encoder, table):
    objective, batch = objective_of(table), batch_of()
    assert objective.parts == ("hidden_category", "hidden_price", "hidden_event", "hidden_hour")
    assert objective.side_columns == ("event",)
    found, counts = losses(objective, encoder, batch)
    (view,) = objective.views(batch, RNG)
    states_TD, category = encoder.states(view), objective.heads[0]
    expected, known, of_value = torch.zeros(4), torch.zeros(4), {}
    for row in rows_of(batch):
        if view.values_T[row[0]] != MASK:
            continue
        items = [int(batch.values_T[place]) for place in row]
        names = {name for item in items if item != 3 for name in f"c{item % 4}|d{item % 3}".split("|")}
        codes = [{of_value.setdefault(name, code_of(category, table, name)) for name in names}]
        codes += [{0 if item == 5 else 1 + int(2 * np.log2(1 + item)) for item in items} - {0}]
        codes += [{int(FIELDS[name].codes(batch)[place]) for place in row} - {0} for name in ("event", "hour")]
        for part, (head, held) in enumerate(zip(objective.heads, codes, strict=True)):
            if held:
                logits = head.map(states_TD[row[0]]) + head.bias
                truth = torch.tensor([float(code in held) for code in range(len(logits))])
                expected[part] += F.binary_cross_entropy_with_logits(logits, truth, reduction="sum").item()
                known[part] += 1
    assert len(of_value) == len({*of_value.values()}) == 7 and max(map(len, rows_of(batch))) > 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert counts.tolist() == known.tolist()


def code_of(head, table, name):
    """The code of a category, by what items that differ in it alone do not share."""
    with_it = [item for item in range(20) if item != 3 and name in (f"c{item % 4}", f"d{item % 3}")]
    place = torch.arange(len(with_it))
    codes = [{*row.nonzero()[:, 0].tolist()} for row in head.sets(Batch.of([with_it]), place, place, len(place))]
    (code,) = set.intersection(*codes)
    return code


def test_nothing_but_the_slot_of_a_hidden_row_can_be_seen(encoder, table):
    objective, batch = objective_of(table), batch_of()
    (view,) = objective.views(batch, RNG)
    is_hidden_T = view.values_T == MASK
    assert 0.05 < is_hidden_T.float().mean() < 0.5
    rng = torch.Generator().manual_seed(0)
    others_T = torch.randint(20, (batch.num_tokens,), generator=rng)
    late_T = BUNDLING.floor(batch.side[TIMESTAMPS]) + 24 * HOUR - 1
    side = {"event": others_T % 4, TIMESTAMPS: late_T}
    changed = replace(
        batch,
        values_T=torch.where(is_hidden_T, others_T, batch.values_T),
        side={name: torch.where(is_hidden_T, side[name], column) for name, column in batch.side.items()},
    )
    (other,) = objective.views(changed, RNG)
    assert torch.equal(encoder.states(other), encoder.states(view))
    assert any(not torch.equal(other.labels[part], view.labels[part]) for part in objective.parts)


def test_a_share_of_the_attributes_is_hidden_and_told_at_its_own_row(table):
    batch = batch_of()
    told = {"user.town": torch.tensor([5, 0, 7, 5, 7, 6]), "user.age": torch.tensor([1, 2, 3, 4, 5, 0])}
    batch = replace(batch, side=batch.side | {name: batch.per_token(hash_B) for name, hash_B in told.items()})
    config = ENCODER.model_copy(update={"profile": ("town", "age")})
    objective = build_objective(MaskedBundlesConfig(fields=()), config, ObjectiveData(table, (), table.counts))
    assert objective.parts == ("hidden_category", "profile_town", "profile_age")
    torch.manual_seed(0)
    encoder = build_encoder(config, table, 30, hides_items=True).eval()
    for parameter in [*encoder.parameters(), *objective.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    shares = []
    for epoch in range(20):
        (view,) = objective.views(batch, Draws(0, epoch, 0))
        sums_P, (_, *counts) = objective(encoder, [view]).sums_P, objective.counts([view]).tolist()
        _, states_BAD = encoder.states_apart(view)
        for place, (name, hash_B) in enumerate(told.items()):
            hidden, loss = view.labels[objective.parts[1 + place]] > 0, 0.0
            for user in hidden.nonzero()[:, 0].tolist():
                low, high = batch.offsets_B1[user : user + 2].tolist()
                assert (view.side[name][low:high] == 0).all()  # not told anywhere
                logits = states_BAD[user, place] @ objective.profile_heads[place].map.weight.T
                loss += F.cross_entropy(logits, 1 + hash_B[user]).item()
            shown = (view.side[name] > 0) | (view.values_T == MASK)
            assert torch.equal(shown, (batch.side[name] > 0) & ~batch.per_token(hidden) | (view.values_T == MASK))
            assert sums_P[1 + place].item() == pytest.approx(loss, rel=1e-4) and counts[place] == hidden.sum()
            shares.append(float(hidden.sum()) / 5)  # one of six is not known
    assert np.mean(shares) == pytest.approx(0.15, abs=0.06)


def test_of_bundles_and_of_single_interactions_some_are_hidden_and_never_all(table):
    objective, batch = objective_of(table), batch_of()
    is_single_T, shares = BUNDLING.is_single(batch), []
    for epoch in range(40):
        (view,) = objective.views(batch, Draws(0, epoch, 0))
        for low, high in pairwise(batch.offsets_B1.tolist()):
            for kind in (False, True):
                firsts = [row[0] for row in rows_of(batch) if low <= row[0] < high and is_single_T[row[0]] == kind]
                hidden = sum(view.values_T[place] == MASK for place in firsts)
                assert (0 < hidden < len(firsts)) if len(firsts) > 1 else hidden == 0
                shares += [float(hidden) / len(firsts)] if len(firsts) > 5 else []
        for row in rows_of(batch):  # whole rows are hidden
            assert len({bool(view.values_T[place] == MASK) for place in row}) == 1
    assert np.mean(shares) == pytest.approx(0.2, abs=0.05)  # a share of .15, at least one


def test_parts_of_a_batch_add_up_and_a_filler_adds_nothing(encoder, table):
    objective = objective_of(table)
    whole, counts = losses(objective, encoder, batch_of())
    parts = [losses(objective, encoder, batch_of(low, high)) for low, high in ((0, 3), (3, 6))]
    torch.testing.assert_close(sum(sums for sums, _ in parts), whole, rtol=1e-4, atol=1e-3)
    assert sum(count for _, count in parts).tolist() == counts.tolist()
    filler, none = losses(objective, encoder, replace(batch_of(), weight=0.0))
    assert filler.tolist() == none.tolist() == [0.0] * 4


def test_a_batch_of_which_nothing_can_be_hidden_trains_on_nothing(encoder, table):
    sums, counts = losses(objective_of(table), encoder, batch_of(1, 2))
    assert sums.tolist() == counts.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("columns", "fields", "told"),
    [
        (
            ("brand",),
            (),
            r"objective\.columns: the items of this log have no column 'brand'; they have item_id, count",
        ),
        (("category",), ("category_3",), r"objective\.fields category_3"),
    ],
)
def test_what_the_log_lacks_is_refused_by_name(table, columns, fields, told):
    with pytest.raises(UserError, match=told):
        objective_of(table, columns, fields)
