import torch

from ray_userrep.encoder.items.id import IdItems


def test_ids_pick_rows_and_none_is_the_catalogue():
    items = IdItems(7, 5)
    ids = torch.tensor([[3, 0], [6, 3]])
    assert torch.equal(items(ids), items(None)[ids])
    assert items(None).shape == (7, 5)
    assert items(torch.empty(0, dtype=torch.int64)).shape == (0, 5)
