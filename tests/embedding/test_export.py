"""Vectors of a whole corpus: those that `encode` gives for the same histories, at every readout."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_userrep import storage
from ray_userrep.embedding.export import export_vectors
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig


@pytest.mark.parametrize("readout", ["last", "bag"])
def test_files_hold_what_encode_gives(ray_session, corpus, recipe, tmp_path, readout):
    encoder_config = recipe(**{"encoder.width": 16}).encoder.model_copy(
        update={"readout": readout, "bag_width": 8, "bag_kept": 4}
    )
    encoder = build_encoder(encoder_config, corpus.items(), 8).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    output = str(tmp_path / "vectors")
    told = export_vectors(str(tmp_path / "encoder"), corpus, output, EmbeddingConfig(batch_tokens=64), TextConfig())
    assert told["width"] == encoder.vector_width and told["users"] == corpus.manifest.num_users
    rows = [row for entry in storage.list_files(output, ".parquet") for row in pq.read_table(entry.uri).to_pylist()]
    written = {row["user_id"]: row for row in rows}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        histories = [
            [f"item-{item}" for item in bucket.items_N[low:high]]
            for low, high in zip(bucket.offsets_U1[:-1], bucket.offsets_U1[1:], strict=True)
        ]
        mine = [written.pop(user) for user in bucket.user_ids.to_pylist()]
        assert [row["interactions"] for row in mine] == bucket.lengths_U.tolist()
        np.testing.assert_allclose([row["vector"] for row in mine], encoder.encode(histories), atol=1e-5)
    assert not written
    with pytest.raises(UserError, match=r"is not empty: name another with --output"):
        export_vectors(str(tmp_path / "encoder"), corpus, output, EmbeddingConfig(), TextConfig())
