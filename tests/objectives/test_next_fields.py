"""Fields of the next interaction: the plain loss of a head on the user vector after each one."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from ray_userrep.encoder.fields import FIELDS
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.objective import NextFieldsConfig

SEQUENCES = [[1, 2, 3, 0], [4], [5, 6], [7, 8, 9, 10, 3]]
RNG = Draws(0, 0, 0)
ASKED = ("event", "category", "price", "gap")
DAY = 86_400 * 10**6


def batch_of(low=0, high=None):
    """Some of the windows, each with its own times and events; event 0 is not known."""
    batch, first = Batch.of(SEQUENCES[low:high]), sum(map(len, SEQUENCES[:low]))
    place = first + torch.arange(batch.num_tokens)
    return replace(batch, side={TIMESTAMPS: place**2 * DAY, "event": place % 3})


@pytest.fixture(params=["last", "mean", "max", "attention"])
def encoder(table, request):
    torch.manual_seed(0)
    config = EncoderConfig(width=8, readout=request.param, context=("gap", "event"))
    built = build_encoder(config, table, 8).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def objective_of(encoder, table, fields=ASKED):
    config = EncoderConfig.model_validate(encoder.config.encoder)
    made = build_objective(NextFieldsConfig(fields=fields), config, ObjectiveData(table, ("event",), table.counts))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def losses(objective, encoder, batch):
    views = objective.views(batch, RNG)
    return objective(encoder, views).sums_P.detach(), objective.counts(views)


def codes_at(batch, place, table):
    """Codes of one interaction, from the definitions of the fields."""
    item = int(batch.values_T[place])
    seconds = int(batch.side[TIMESTAMPS][place] - batch.side[TIMESTAMPS][place - 1]) // 10**6
    price = table.prices()[item]
    return {
        "event": int(FIELDS["event"].codes(batch)[place]),
        "category": None if item == 3 else f"c{item % 4}",
        "price": 0 if item == 5 else 1 + int(2 * torch.log2(torch.tensor(1 + price)).item()),
        "gap": min(31, 1 + int(torch.log2(torch.tensor(1.0 + seconds, dtype=torch.float64)).item())),
    }


def test_each_field_is_the_cross_entropy_of_what_comes_next(encoder, table):
    objective = objective_of(encoder, table)
    assert objective.parts == ("next_event", "next_category", "next_price", "next_gap")
    found, counts = losses(objective, encoder, batch_of())
    batch, expected, known, categories = batch_of(), torch.zeros(4), torch.zeros(4), {}
    for low, high in pairwise(batch.offsets_B1.tolist()):
        for place in range(low + 1, high):
            side = {name: column[low:place] for name, column in batch.side.items()}
            vector = encoder(replace(Batch.of([batch.values_T[low:place].tolist()]), side=side))
            codes = codes_at(batch, place, table)
            if codes["category"] is not None:  # hashed: alike where the names are
                own = objective.heads[1].codes(batch, torch.tensor([place])).item()
                codes["category"] = categories.setdefault(codes["category"], own)
            for part, name in enumerate(ASKED):
                if codes[name]:
                    logits = vector @ objective.heads[part].map.weight.T
                    expected[part] += F.cross_entropy(logits, torch.tensor([codes[name]])).item()
                    known[part] += 1
    assert len(categories) == len({*categories.values()}) == 3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert counts.tolist() == known.tolist() and len({*counts.tolist()}) > 1  # each part has a count of its own


def test_parts_of_a_batch_add_up_and_a_filler_adds_nothing(encoder, table):
    objective = objective_of(encoder, table)
    whole, counts = losses(objective, encoder, batch_of())
    parts = [losses(objective, encoder, batch_of(low, high)) for low, high in ((0, 2), (2, 4))]
    torch.testing.assert_close(sum(sums for sums, _ in parts), whole, rtol=1e-4, atol=1e-4)
    assert sum(count for _, count in parts).tolist() == counts.tolist()
    filler, none = losses(objective, encoder, replace(batch_of(), weight=0.0))
    assert filler.tolist() == none.tolist() == [0.0] * 4


def test_a_field_that_the_log_lacks_is_refused_by_name(encoder, table):
    with pytest.raises(UserError, match=r"objective\.fields category_3"):
        objective_of(encoder, table, ("price", "category_3"))
