import pyarrow as pa
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import EncoderConfig


def test_vectors_point_where_they_did_and_have_length_one(tmp_path):
    torch.manual_seed(0)
    items = ItemTable(pa.table({"item_id": range(6), "count": [1] * 6}))
    encoder = build_encoder(EncoderConfig(width=8, unit_items=True), items, 5).eval()
    with torch.no_grad():
        encoder.items.inner.weight.mul_(torch.arange(6.0)[:, None] + 2)
    plain = encoder.items.inner(None)
    torch.testing.assert_close(encoder.items(None), plain / plain.norm(dim=1, keepdim=True))
    other = encoder.with_items(ItemTable(pa.table({"item_id": [4, 9], "count": [1, 1]})))
    torch.testing.assert_close(other.items(torch.tensor([0])), encoder.items(torch.tensor([4])))
    encoder.save_pretrained(tmp_path / "encoder")
    loaded, batch = UserEncoder.from_pretrained(tmp_path / "encoder"), Batch.of([[1, 2], [5]])
    torch.testing.assert_close(loaded(batch), encoder(batch))
