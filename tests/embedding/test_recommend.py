"""Next items of a whole corpus: those that `recommend` gives for the same histories."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.store import Bucket
from ray_userrep.embedding.recommend import export_next_items, share_of_repeats
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig, RecommendConfig


@pytest.fixture
def encoder(corpus, recipe, tmp_path):
    """An untrained encoder of the corpus's items, saved."""
    made = build_encoder(recipe(**{"encoder.width": 16}).encoder, corpus.items(), 8).eval()
    made.save_pretrained(tmp_path / "encoder")
    return made


def test_files_hold_what_recommend_gives(ray_session, corpus, encoder, tmp_path):
    output, asked = f"{tmp_path}/lists", RecommendConfig(k=5)
    users = pa.table({"user_id": np.arange(40)})
    storage.write_parquet(f"{tmp_path}/users.parquet", users)
    config = EmbeddingConfig(batch_tokens=64, users=f"{tmp_path}/users.parquet")
    told = export_next_items(f"{tmp_path}/encoder", corpus, output, config, asked, TextConfig())
    assert told["rows"] == told["users"] == 40 and told["k"] == 5
    rows = [
        row for file in storage.list_files(output, ".parquet") for row in storage.read_parquet(file.uri).to_pylist()
    ]
    written = {row["user_id"]: row for row in rows}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        ends = zip(bucket.user_ids.to_pylist(), bucket.offsets_U1[:-1], bucket.offsets_U1[1:], strict=True)
        histories = {user: bucket.items_N[low:high] for user, low, high in ends if user < 40}
        wanted = encoder.recommend([[f"item-{item}" for item in items] for items in histories.values()], 5)
        for user, row in zip(histories, wanted.to_pylist(), strict=True):
            assert written[user]["items"] == row["items"]
            np.testing.assert_allclose(written[user]["scores"], row["scores"], atol=1e-5)


def test_what_cannot_be_written_is_refused_before_anything_is_read(corpus, encoder, tmp_path):
    place = f"{tmp_path}/encoder", corpus, f"{tmp_path}/lists"
    with pytest.raises(UserError, match="k: takes 1 to 60, as many as there are"):
        export_next_items(*place, EmbeddingConfig(), RecommendConfig(k=61), TextConfig())
    with pytest.raises(UserError, match="are of vectors: embed writes them"):
        export_next_items(*place, EmbeddingConfig(items=True), RecommendConfig(), TextConfig())


def test_the_share_of_repeats_is_of_users_with_two_interactions():
    items, offsets = np.array([1, 2, 1, 5, 3, 3, 7, 8]), np.array([0, 3, 4, 6, 8, 8])
    bucket = Bucket(pa.array(range(5)), np.arange(5), offsets, items, np.zeros(8, np.int64), {})
    assert share_of_repeats(bucket) == 2 / 3
    assert share_of_repeats(bucket.heads(np.array([1]), np.array([1]))) == 0
