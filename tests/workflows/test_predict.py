"""Tomorrow's scores: a stored head on the vectors of a corpus, as of a day and of some users."""

import numpy as np
import pandas as pd
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import open_corpus
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.objectives.head import Head
from ray_userrep.transfer.model import LabelModel, save_model
from ray_userrep.workflows.embed import run_embed
from ray_userrep.workflows.predict import run_predict
from ray_userrep.workflows.prepare import run_prepare


@pytest.mark.system
def test_scores_are_the_head_on_the_vectors_that_embed_writes(ray_session, write_log, small, tmp_path):
    write_log(f"{tmp_path}/log")
    run_prepare(small(str(tmp_path)))
    corpus, place = open_corpus(f"{tmp_path}/corpus"), f"{tmp_path}/models/churn"
    torch.manual_seed(0)
    encoder = build_encoder(small(str(tmp_path)).encoder, corpus.items(), 8).eval()
    encoder.save_pretrained(f"{place}/encoder")
    model = LabelModel(Head("classes", 16, 0, 2), ["no", "yes"], np.array([2.0]))
    save_model(model, {"task": "churn"}, place)
    storage.write_text(f"{tmp_path}/some.csv", "user_id\nu3\nu8\nnobody\n")
    recipe = small(str(tmp_path), "--embedding.until", "2020-09-14", "--embedding.users", f"{tmp_path}/some.csv")
    told = run_predict(recipe, place, f"{tmp_path}/scores")
    run_embed(recipe, f"{place}/encoder", f"{tmp_path}/vectors")
    scores, vectors = (pd.read_parquet(f"{tmp_path}/{name}").set_index("user_id") for name in ("scores", "vectors"))
    assert set(scores.index) == {"u3", "u8"} and told["rows"] == 2 and told["classes"] == ["no", "yes"]
    assert list(scores.columns) == ["until", "score", "interactions", "newest"]
    expected = model.scores(np.stack(vectors["vector"].to_list()))[:, 1]
    np.testing.assert_allclose(scores.loc[vectors.index, "score"], expected, rtol=1e-6)
    with pytest.raises(UserError, match=r"no model at .*nowhere"):
        run_predict(recipe, f"{tmp_path}/nowhere", f"{tmp_path}/other")
    with pytest.raises(UserError, match="are of vectors: embed"):
        run_predict(small(str(tmp_path), "--embedding.items", "true"), place, f"{tmp_path}/other")
