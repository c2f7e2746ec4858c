import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from ray_userrep import storage
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.folder import write_checksums
from ray_userrep.encoder.user_encoder import UserEncoder, UserEncoderConfig, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import EncoderConfig

HISTORIES = [["item-3", "item-1"], [], ["item-29"], [f"item-{i}" for i in range(25)]]


def indices(histories: list[list[str]]) -> list[list[int]]:
    return [[int(item.removeprefix("item-")) for item in history] for history in histories]


@pytest.fixture
def folder(make_encoder, tmp_path):
    make_encoder().save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("kind", [{}, {"positions": "learned", "norm": "layer", "ffn": "gelu", "causal": False}])
@pytest.mark.parametrize("readout", ["last", "mean"])
def test_round_trip(make_encoder, tmp_path, kind, readout):
    encoder = make_encoder(readout=readout, **kind)
    encoder.save_pretrained(tmp_path / "e")
    loaded = UserEncoder.from_pretrained(tmp_path / "e")
    assert not loaded.training and loaded.item_table.ids == encoder.item_table.ids
    assert {p.device.type for p in loaded.parameters()} == {"cpu"}
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    np.testing.assert_array_equal(loaded.encode(HISTORIES), encoder.encode(HISTORIES))
    card = (tmp_path / "e" / "README.md").read_text()
    assert "30 items" in card and "16 numbers" in card and f"the newest {encoder.max_len} interactions" in card


def test_users_are_read_out_elsewhere_and_stay_so(make_encoder, tmp_path):
    encoder = make_encoder(readout="cls", causal=False)
    batch = Batch.of([[1, 2, 3], [4]])
    encoder.read_at("mean")
    states = encoder.states(batch)
    assert torch.allclose(encoder(batch), torch.stack([states[:3].mean(0), states[3]]), atol=1e-6)
    encoder.save_pretrained(tmp_path / "e")
    for other in (UserEncoder.from_pretrained(tmp_path / "e"), encoder.with_items(encoder.item_table)):
        np.testing.assert_array_equal(other.encode(HISTORIES), encoder.encode(HISTORIES))
    encoder.read_at("cls")
    assert not np.allclose(encoder.encode(HISTORIES), other.encode(HISTORIES))
    with pytest.raises(UserError, match="not built to be read out at mask"):
        encoder.read_at("mask")
    with pytest.raises(UserError, match="built without attention"):
        encoder.read_at("attention")


def test_weights_gathered_elsewhere_are_what_is_saved(make_encoder, tmp_path):
    encoder = make_encoder()
    gathered = {name: value + 1 for name, value in encoder.state_dict().items()}
    encoder.save_pretrained(tmp_path / "e", state_dict=dict(gathered))
    loaded = UserEncoder.from_pretrained(tmp_path / "e").state_dict()
    assert loaded.keys() == gathered.keys()
    assert all(torch.equal(value, loaded[name]) for name, value in gathered.items())


def test_saved_onto_itself(make_encoder, tmp_path):
    make_encoder().save_pretrained(tmp_path, max_shard_size="2KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    (tmp_path / "mine.txt").write_text("kept")
    encoder = UserEncoder.from_pretrained(tmp_path)
    expected = encoder.encode(HISTORIES)
    encoder.save_pretrained(tmp_path)
    np.testing.assert_array_equal(encoder.encode(HISTORIES), expected)
    np.testing.assert_array_equal(UserEncoder.from_pretrained(tmp_path).encode(HISTORIES), expected)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"README.md", "checksums.json", "config.json", "items", "mine.txt", "model.safetensors"}


def test_an_encoder_that_cannot_be_saved_leaves_the_one_that_is_there(make_encoder, folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(AttributeError):
        make_encoder().save_pretrained(folder, state_dict={"items.weight": None})
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_places_that_are_no_local_folder_are_refused(make_encoder, tmp_path):
    (tmp_path / "file").touch()
    for place, named in (("s3://bucket/encoder", "local folders"), (tmp_path / "file", "is a file")):
        with pytest.raises(UserError, match=named):
            make_encoder().save_pretrained(place)


def test_the_folder_of_a_run_is_enough(make_encoder, tmp_path):
    make_encoder().save_pretrained(tmp_path / "encoder")
    loaded = UserEncoder.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.encode(HISTORIES), make_encoder().encode(HISTORIES))


def test_it_loads_as_other_models_of_transformers_do(make_encoder, tmp_path, monkeypatch):
    make_encoder().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, UserEncoder) and isinstance(AutoConfig.from_pretrained(tmp_path), UserEncoderConfig)
    np.testing.assert_array_equal(loaded.encode(HISTORIES), make_encoder().encode(HISTORIES))
    half = UserEncoder.from_pretrained(tmp_path, dtype=torch.bfloat16, device_map="cpu")
    assert {(p.dtype, p.device.type) for p in half.parameters()} == {(torch.bfloat16, "cpu")}
    np.testing.assert_allclose(half.encode(HISTORIES), make_encoder().encode(HISTORIES), atol=0.2)
    with pytest.raises(UserError, match="takes folder, dtype, device_map and revision, not load_in_8bit"):
        UserEncoder.from_pretrained(tmp_path, load_in_8bit=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="no encoder at nobody/nothing: there is no such folder, and the hub gave none"):
        UserEncoder.from_pretrained("nobody/nothing")


def test_any_uri(folder):
    storage.upload_dir(str(folder), "memory://models/encoder")
    there, here = UserEncoder.from_pretrained("memory://models/encoder"), UserEncoder.from_pretrained(folder)
    np.testing.assert_array_equal(there.encode(HISTORIES), here.encode(HISTORIES))


def _without(name):
    return lambda folder: (folder / name).unlink()


def _truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _drop_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("backbone.norm.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def _shorten_the_table(folder):
    table = ItemTable.load(folder / "items").table.slice(1)
    (folder / "items" / "items.arrow").unlink()
    ItemTable(table).save(folder / "items")


@pytest.mark.parametrize("spoil, named", [
    (_without("config.json"), "config.json is missing"),
    (_without("model.safetensors"), "model.safetensors is missing"),
    (_without("items/items.arrow"), "items"),
    (_truncate, "cannot be read"),
    (_drop_a_weight, "backbone.norm.weight"),
    (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
    (_config(model_type="bert"), "'bert'"),
    (_config(num_items=31), "items.weight"),
    (_shorten_the_table, "items/ and config.json"),
    (lambda folder: (folder / "items" / "items.arrow").write_bytes(b"ARROW1"), "item table at .* cannot be read"),
    (_config(encoder={"width": 16, "depth": 3}), "depth"),
    (_config(encoder={"width": 16, "backbone": {"kind": "transformer", "num_layers": 3}}), "backbone.blocks.2"),
])  # fmt: skip
def test_a_folder_that_is_no_whole_encoder_is_one_clear_line(folder, spoil, named):
    spoil(folder)
    write_checksums(folder)  # as something else would that writes encoders
    with pytest.raises(UserError, match=named) as caught:
        UserEncoder.from_pretrained(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "items/items.arrow"])
def test_a_flipped_bit_in_any_file_is_refused(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[data.rindex(b"3" if name == "config.json" else bytes(1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"not whole: {name} is missing or was changed after it was written"):
        UserEncoder.from_pretrained(folder)


@pytest.mark.parametrize("sums", [None, "{}", "[]", "nothing", '{"config.json": 3}', '{"../x": "a"}'])
def test_checksums_that_say_something_else_are_refused(folder, sums):
    (folder / "checksums.json").unlink()
    if sums is not None:
        (folder / "checksums.json").write_text(sums)
    with pytest.raises(UserError, match=r"checksums|not whole"):
        UserEncoder.from_pretrained(folder)


def test_a_card_that_is_told_more_later_is_no_damage(folder):
    (folder / "README.md").write_text("# mine")
    UserEncoder.from_pretrained(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no encoder at"):
        UserEncoder.from_pretrained(tmp_path / "nowhere")


def test_an_error_names_the_uri_that_was_given(folder):
    (folder / "config.json").unlink()
    storage.upload_dir(str(folder), "memory://models/spoilt")
    with pytest.raises(UserError, match="memory://models/spoilt"):
        UserEncoder.from_pretrained("memory://models/spoilt")


def test_encode_is_forward_of_the_newest_known_items(make_encoder):
    encoder = make_encoder()
    windows = [history[-encoder.max_len :] for history in indices(HISTORIES)]
    expected = encoder(Batch.of(windows)).detach().numpy()
    np.testing.assert_allclose(encoder.encode(HISTORIES), expected, rtol=1e-5, atol=1e-6)
    assert encoder.encode(HISTORIES)[1].tolist() == [0.0] * 16
    for batch_tokens in (1, 5, 13):
        few = encoder.encode(HISTORIES, batch_tokens=batch_tokens)
        np.testing.assert_allclose(few, expected, rtol=1e-5, atol=1e-6)


def test_encode_takes_arrow_lists_and_nothing_at_all(make_encoder):
    encoder = make_encoder()
    lists = pa.array([["gone"], None, *HISTORIES], pa.list_(pa.string()))[2:]
    np.testing.assert_array_equal(encoder.encode(lists), encoder.encode(HISTORIES))
    assert encoder.encode([]).shape == (0, 16)
    assert encoder.encode([[], []]).tolist() == [[0.0] * 16] * 2


def test_encode_has_no_dropout_in_training(make_encoder):
    encoder = make_encoder(dropout=0.5)
    expected = encoder.encode(HISTORIES)
    np.testing.assert_array_equal(encoder.train().encode(HISTORIES), expected)
    assert encoder.training


def test_encode_leaves_the_mode_of_every_part_alone(make_encoder):
    encoder = make_encoder(dropout=0.5).train()
    encoder.items.eval()
    before = [module.training for module in encoder.modules()]
    encoder.encode(HISTORIES)
    assert [module.training for module in encoder.modules()] == before


def test_threads_that_ask_while_others_train_get_the_same_vectors(make_encoder):
    encoder = make_encoder(dropout=0.5).eval()
    expected, batch = encoder.encode(HISTORIES), Batch.of([[1, 2, 3]])
    encoder.train()

    def ask() -> list[np.ndarray]:
        return [encoder.encode(HISTORIES, batch_tokens=5) for _ in range(10)]

    def train() -> int:
        return sum(torch.equal(encoder(batch), encoder(batch)) for _ in range(50))

    with ThreadPoolExecutor(5) as pool:
        silent, asked = pool.submit(train), [pool.submit(ask) for _ in range(4)]
        answers = [one.result() for one in asked]
    for found in answers:
        np.testing.assert_allclose(found, [expected] * len(found), atol=1e-5)
    assert silent.result() == 0, "the encoder that trains lost its dropout"
    assert encoder.training


def test_unknown_items_are_left_out_or_refused(make_encoder):
    encoder = make_encoder()
    mixed = [["item-3", "new", "item-1"], ["new"]]
    np.testing.assert_array_equal(encoder.encode(mixed), encoder.encode([["item-3", "item-1"], []]))
    with pytest.raises(UserError, match="'new'"):
        encoder.encode(mixed, unknown="error")


def test_ids_of_another_type_are_refused(make_encoder):
    with pytest.raises(UserError, match="string"):
        make_encoder().encode([[3, 1]])
    with pytest.raises(UserError, match="int64"):
        make_encoder().encode(pa.array([[3, 1]]))


def test_large_integer_ids_are_exact():
    ids = [2**53 + 1, 2**53, 7]
    encoder = build_encoder(EncoderConfig(width=8), ItemTable(pa.table({"item_id": ids, "count": [3, 2, 1]})), 4).eval()
    expected = encoder(Batch.of([[0, 2], [1]])).detach().numpy()
    np.testing.assert_allclose(encoder.encode([[2**53 + 1, 7], [2**53]], unknown="error"), expected, rtol=1e-5)


def test_an_encoder_without_items_says_so():
    encoder = UserEncoder(UserEncoderConfig(encoder={"width": 8}, num_items=3))
    with pytest.raises(UserError, match="item table"):
        encoder.encode([["a"]])


def test_another_catalogue_keeps_shared_items(make_encoder):
    encoder = make_encoder()
    other = encoder.with_items(ItemTable(pa.table({"item_id": ["new", "item-4", "item-0"], "count": [1, 1, 1]})))
    weights = encoder.items.weight
    torch.testing.assert_close(other.items.weight, torch.stack([weights.mean(0), weights[4], weights[0]]))
    shared = [["item-4", "item-0"]]
    np.testing.assert_array_equal(other.encode(shared), encoder.encode(shared))
    assert other.config.num_items == 3 and encoder.config.num_items == 30


def test_fresh_encoders_repeat_the_last_item_and_follow_the_seed(table):
    def build(seed):
        torch.manual_seed(seed)
        return build_encoder(EncoderConfig(width=64), table, 12).eval()

    encoder = build(0)
    scores = encoder(Batch.of([[1, 2], [5]])) @ encoder.items(None).T
    assert scores.argmax(1).tolist() == [2, 5]
    others = scores.scatter(1, torch.tensor([[2], [5]]), 0.0)
    assert others.abs().mean() < 1.0  # products of random vectors of length one and √D
    for name, value in build(0).state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name])
    assert not torch.equal(build(1).items.weight, encoder.items.weight)


def test_a_billion_parameters_on_the_meta_device():
    table = ItemTable(pa.table({"item_id": np.arange(100_000), "count": np.ones(100_000, np.int64)}))
    config = EncoderConfig.model_validate(
        {"width": 2048, "backbone": {"kind": "transformer", "num_layers": 24, "num_heads": 16}}
    )
    with torch.device("meta"):
        encoder = build_encoder(config, table, 512)
    counts = encoder.parameters_by_kind()
    assert counts["embedding"] == 100_000 * 2048
    assert counts["backbone"] > 1_000_000_000
    assert sum(counts.values()) == sum(p.numel() for p in encoder.parameters())


WITHOUT_RAY = """
import json, sys
sys.modules.update(ray=None, deepspeed=None)
import ray_userrep.objectives.build
from ray_userrep.encoder.user_encoder import UserEncoder
print(json.dumps(UserEncoder.from_pretrained(sys.argv[1]).encode(json.loads(sys.argv[2])).tolist()))
"""


def test_where_there_is_neither_ray_nor_deepspeed(folder):
    command = [sys.executable, "-c", WITHOUT_RAY, str(folder), json.dumps(HISTORIES)]
    vectors = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    np.testing.assert_allclose(vectors, UserEncoder.from_pretrained(folder).encode(HISTORIES), rtol=1e-5, atol=1e-6)
