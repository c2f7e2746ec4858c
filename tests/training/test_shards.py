"""Stretches of tensors: any way of cutting is put together again by any other."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.training.shards import (
    Shard,
    adam_parts,
    named_state,
    replicated_shards,
    replicated_weights,
    restore,
    share,
    write,
)


def cut(key, whole, bounds):
    """A tensor as parts between bounds, as so many ranks would own it."""
    edges = [0, *sorted(bounds), len(whole)]
    return [[Shard(key, low, whole[low:high], slice(0, high - low))] for low, high in pairwise(edges)]


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 40),
    saved=st.lists(st.integers(0, 40), max_size=4),
    read=st.lists(st.integers(0, 40), max_size=4),
)
def test_any_cut_is_restored_by_any_other(tmp_path_factory, length, saved, read):
    folder = tmp_path_factory.mktemp("shards")
    whole, target = torch.arange(length) * 1.5, torch.zeros(length)
    files = []
    for rank, parts in enumerate(cut("weight/a", whole, [min(b, length) for b in saved])):
        write(parts, folder / str(rank))
        files.append(folder / str(rank))
    for parts in cut("weight/a", target, [min(b, length) for b in read]):
        assert restore(parts, files) == []
    assert torch.equal(target, whole)


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 40), saved=st.integers(1, 7), read=st.integers(1, 7))
def test_any_deal_of_rows_is_restored_by_any_other(tmp_path_factory, length, saved, read):
    folder = tmp_path_factory.mktemp("rows")
    whole = torch.rand(length, 2)
    for rank in range(saved):
        rows = whole[rank::saved].clone()
        write([Shard("a", rank, rows, slice(0, len(rows)), saved)], folder / str(rank))
    for rank in range(read):
        rows = torch.zeros_like(whole[rank::read])
        part = Shard("a", rank, rows, slice(0, len(rows)), read)
        assert restore([part], [folder / str(other) for other in range(saved)]) == []
        assert torch.equal(rows, whole[rank::read])
    short = [folder / str(other) for other in range(saved) if other != (length - 1) % saved]
    assert restore([Shard("a", 0, torch.zeros_like(whole), slice(0, length))], short) == ["a"]


@given(length=st.integers(0, 50), world=st.integers(1, 9))
def test_shares_cover_everything_once(length, world):
    assert [i for rank in range(world) for i in range(length)[share(length, rank, world)]] == list(range(length))


def test_what_no_file_holds_is_named(tmp_path):
    whole = torch.arange(6.0)
    write([Shard("weight/a", 0, whole[:4], slice(0, 4))], tmp_path / "file")
    parts = [Shard("weight/a", 2, torch.zeros(2), slice(0, 0)), Shard("weight/a", 3, torch.zeros(3), slice(0, 0))]
    assert restore([*parts, Shard("weight/b", 0, torch.zeros(1), slice(0, 0))], [tmp_path / "file"]) == [
        "weight/a",
        "weight/b",
    ]
    assert parts[0].values_N.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("world", [1, 3])
def test_an_optimiser_is_restored_whole_and_a_shared_tensor_counts_once(tmp_path, world):
    def made(seed):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.LayerNorm(5), torch.nn.Linear(5, 3))
        model.add_module("again", model[0])
        return model, torch.optim.AdamW(model.parameters(), 0.1)

    def parts(model, optimizer, rank):
        weights = replicated_weights(named_state(model), rank, world)
        return weights + adam_parts(optimizer, replicated_shards(model.named_parameters(), rank, world))

    def step(model, optimizer):
        model[:3](torch.arange(6.0).reshape(2, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    saved, other = made(0), made(1)
    step(*saved)
    for rank in range(world):
        write(parts(*saved, rank), tmp_path / str(rank))
    assert restore(parts(*other, 0), [tmp_path / str(rank) for rank in range(world)]) == []
    for model in (saved, other):
        step(*model)
    for a, b in zip(saved[0].parameters(), other[0].parameters(), strict=True):
        assert torch.equal(a, b)
