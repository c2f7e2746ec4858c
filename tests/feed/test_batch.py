from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ray_userrep.feed.batch import Batch, WorksAhead


class Doubles(WorksAhead):
    def ahead(self, batch: Batch) -> Batch:
        return replace(batch, values_T=2 * batch.values_T)


def full() -> Batch:
    batch = Batch.of([[1, 2, 3], [4]])
    batch = replace(batch, side={"price": torch.arange(4.0)})
    return replace(batch, ahead={(doubles := Doubles()): doubles.ahead(batch)})


def tensors(batch: Batch) -> list[Tensor]:
    own = [batch.values_T, batch.offsets_B1, batch.users_B, *batch.side.values(), *batch.labels.values()]
    return own + [x for made in batch.ahead.values() for x in tensors(made)]


def test_all_of_a_batch_is_pinned_and_nothing_changes(monkeypatch):
    monkeypatch.setattr(Tensor, "pin_memory", Tensor.clone)
    batch = full()
    pinned = batch.pinned()
    assert len(tensors(pinned)) == len(tensors(batch)) == 10
    for before, after in zip(tensors(batch), tensors(pinned), strict=True):
        assert torch.equal(before, after) and before.data_ptr() != after.data_ptr()
    np.testing.assert_array_equal(pinned.bounds(), [0, 3, 4])
    assert (pinned.max_len, pinned.weight) == (3, 1.0)


def test_bounds_stay_on_the_host_when_a_batch_goes_to_a_device():
    away = full().to("meta")  # where nothing can be asked for
    for one in (away, away.to("meta"), *away.ahead.values()):
        np.testing.assert_array_equal(one.bounds(), [0, 3, 4])
