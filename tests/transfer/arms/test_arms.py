"""What holds for every arm: it starts where the encoder is, adds what it says, and keeps frozen weights bit for bit."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import read_known
from ray_userrep.evaluation.ranking import as_batch, newest
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.transfer import BRIDGES, AttributeTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.base import count_parameters, freeze
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.fit import FitSpec, adapted_model, build_transfer, fit_task
from ray_userrep.transfer.tasks.attribute import read_attribute_tasks

ARMS = [
    name
    for name in TransferConfig.model_fields["arms"].annotation.__args__[0].__args__
    if name not in ("unisrec_transductive", "unisrec_zero")  # want an encoder of texts: test_unisrec.py
    and name not in BRIDGES  # want two logs: test_bridges.py
]
BACKBONES = {
    "cnn": {"kind": "cnn", "num_blocks": 2},
    "noncausal": {"kind": "cnn", "num_blocks": 2, "causal": False, "readout": "mask"},
    "transformer": {"kind": "transformer", "num_heads": 2},
}
BATCH = Batch.of([[1, 2, 3, 4], [5, 6], [7]])
WIDTH, RANK, REDUCTION, HIDDEN = 16, 2, 4, 8
CONFIG = TransferConfig(lora_rank=RANK, patch_reduction=REDUCTION, hidden=HIDDEN)


@pytest.fixture
def task(corpus, split):
    config = TransferConfig(task=AttributeTaskConfig(attributes=("half",)), columns=())
    return read_attribute_tasks(corpus, split, read_known(corpus, split), config)[0]


def original_name(name):
    """The name of a parameter before an arm put a module around it."""
    for put_in in ("base_layer.", "base.", "tuned."):
        name = name.replace(f".{put_in}", ".")
    return name.removeprefix("backbone.frozen.")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", ARMS)
def test_it_starts_where_the_encoder_is_and_leaves_that_alone(name, backbone, make_encoder):
    encoder = make_encoder(**BACKBONES[backbone])
    before = {n: p.clone() for n, p in encoder.named_parameters()}
    adapted = build_arm(name, CONFIG).apply(encoder).eval()
    same = torch.allclose(adapted(BATCH), encoder(BATCH), atol=1e-6)
    assert same == (name not in ("scratch", "peter_zero"))
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(p, before[n]) for n, p in encoder.named_parameters())
    assert adapted.item_table is encoder.item_table


@pytest.mark.parametrize("name", ARMS)
def test_after_training_what_is_frozen_is_bit_identical_and_the_rest_has_moved(
    name, make_encoder, corpus, task, recipe, tmp_path
):
    encoder, arm, engines = make_encoder(**BACKBONES["cnn"]), build_arm(name, CONFIG), []
    before = encoder.state_dict()
    start = {}

    def make_engine(fitted):
        def made(model):
            start.update({n: p.detach().clone() for n, p in model.named_parameters()})
            engines.append(BareEngine(model, fitted.train, torch.device("cpu")))
            return engines[-1]

        return made

    fit_task(recipe, corpus, encoder, task, arm, FitSpec(1.0, 0, 0.01), str(tmp_path), make_engine)
    model = engines[0].model
    frozen = {n: p for n, p in model.encoder.named_parameters() if not arm.trainable(n)}
    for n, parameter in frozen.items():
        assert torch.equal(parameter, before[original_name(n)]), n
    # Items that no training user has seen have no gradient, and vectors are not decayed.
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, start[n])}
    assert moved == {n for n in start if n.startswith("objective.") or arm.trainable(n.removeprefix("encoder."))}
    kinds = {"scratch", "full", "peter_zero"}
    assert bool(frozen) == (name not in kinds)


def counted(name, encoder, backbone):
    """Parameters that an arm adds and trains, from the shapes of the maps alone."""
    linear = [m for m in encoder.backbone.modules() if isinstance(m, torch.nn.Linear)]
    everything = sum(p.numel() for p in encoder.parameters())
    if name in ("scratch", "full"):
        return 0, everything
    if name.startswith("uaf_"):
        blocks, mean = 1 + 2, 2 * 4 * WIDTH**2 + 4 * WIDTH  # a feed-forward and two norms
        policy = 0 if name == "uaf_random" else mean + blocks * (WIDTH + 1)
        return everything + policy, everything + policy
    if name == "lora":
        added = sum(RANK * (m.in_features + m.out_features) for m in linear)
        return added, added
    if name.endswith("patches"):
        added = 4 * 2 * WIDTH * (WIDTH // REDUCTION)  # two places in each of two blocks
        return added, added
    if name == "peter_zero":
        added = 4 * 2 * WIDTH * (WIDTH // REDUCTION)
        return added, everything + added
    if name == "unisrec_inductive":
        named = encoder.named_parameters()
        return 0, sum(p.numel() for n, p in named if "norm" in n or n == "items.weight")
    if name == "last_layers":
        last = sum(p.numel() for p in encoder.backbone.blocks[-1].parameters())
        return 0, last + sum(p.numel() for p in encoder.backbone.norm.parameters())
    return 0, 0


@pytest.mark.parametrize("name", ["scratch", "frozen_mlp", "lora", "parallel_patches", "uaf_hard"])
def test_it_learns_what_the_items_show(name, make_encoder, corpus, task, recipe, tmp_path):
    recipe = recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update={"epochs": 12.0})})
    encoder, arm = make_encoder(**BACKBONES["cnn"]), build_arm(name, CONFIG)
    with torch.no_grad():  # vectors that tell the halves of the catalogue apart, as pretraining would make them
        half, side = len(encoder.items.weight) // 2, WIDTH // 2
        encoder.items.weight[:half, :side] += 1
        encoder.items.weight[half:, side:] += 1

    def make_engine(fitted):
        return lambda model: BareEngine(model, fitted.train, torch.device("cpu"))

    outcome = fit_task(recipe, corpus, encoder, task, arm, FitSpec(1.0, 0, 0.01), str(tmp_path), make_engine)
    assert roc_auc_score(task.truth("test"), outcome.predicted_U[:, 1]) > 0.9


def test_labels_are_predicted_from_the_states_that_the_fit_reads(make_encoder, corpus, split, task, recipe, tmp_path):
    encoder, arm, outcomes, models = make_encoder(), build_arm("full", CONFIG), {}, {}

    def make_engine(fitted):
        return lambda model: models.setdefault(len(models), BareEngine(model, fitted.train, torch.device("cpu")))

    for readout in ("last", "mean"):
        fit = FitSpec(1.0, 0, 0.01, readout)
        outcomes[readout] = fit_task(recipe, corpus, encoder, task, arm, fit, f"{tmp_path}/{readout}", make_engine)
        assert outcomes[readout].readout == readout
    assert (outcomes["last"].predicted_U != outcomes["mean"].predicted_U).any() and encoder.readout == "last"
    model = models[1].model.eval()
    batch = as_batch(newest(read_known(corpus, split), encoder.max_len))
    windows = torch.tensor_split(model.encoder.states(batch), batch.offsets_B1[1:-1].long())
    means = torch.stack([states.mean(0) for states in windows])
    place = {user: row for row, user in enumerate(batch.users_B.tolist())}
    rows = [place[user] for user in task.known_until()[0].tolist()]
    np.testing.assert_allclose(model.objective.head.scores(means)[rows], outcomes["mean"].predicted_U, atol=1e-5)


@pytest.mark.parametrize("name", [*ARMS, "rows"])
def test_what_it_made_is_written_as_a_plain_encoder(name, make_encoder, corpus, task, recipe, tmp_path):
    items = {"items": "rows"} if name == "rows" else {}
    encoder, arm, models = make_encoder(**items), build_arm("full" if name == "rows" else name, CONFIG), []

    def make_engine(fitted):
        return lambda model: models.append(model) or BareEngine(model, fitted.train, torch.device("cpu"))

    fit = FitSpec(1.0, 0, 0.01, "mean")
    outcome = fit_task(recipe, corpus, encoder, task, arm, fit, f"{tmp_path}/fit", make_engine)
    if not arm.mergeable:
        assert name.endswith("patches") or name.startswith(("uaf_", "peter_zero"))
        return
    adapted, objective = adapted_model(recipe, encoder, task, arm, fit, f"{tmp_path}/fit")
    assert adapted.state_dict().keys() == encoder.state_dict().keys()
    adapted.save_pretrained(tmp_path / "encoder")
    loaded = UserEncoder.from_pretrained(tmp_path / "encoder")
    predicted = task.predict(loaded, objective, "test")
    np.testing.assert_allclose(predicted, outcome.predicted_U, atol=1e-5)
    untrained = [n for n, value in loaded.state_dict().items() if torch.equal(value, encoder.state_dict()[n])]
    assert (len(untrained) == len(encoder.state_dict())) == (name in ("frozen_mlp", "head_only"))


def test_arms_begin_with_the_same_head(make_encoder, task, recipe):
    encoder = make_encoder(**BACKBONES["cnn"])
    heads = [build_transfer(recipe, encoder, task, build_arm(n, CONFIG), 1.0)[0].objective for n in ("full", "lora")]
    assert all(torch.equal(a, b) for a, b in zip(*(head.parameters() for head in heads), strict=True))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", ARMS)
def test_it_says_how_much_it_adds_and_trains(name, backbone, make_encoder, task, recipe):
    encoder = make_encoder(**BACKBONES[backbone])
    model, told = build_transfer(recipe, encoder, task, build_arm(name, CONFIG), 1.0)
    added, trained = counted(name, encoder, backbone)
    head = WIDTH * HIDDEN + HIDDEN + HIDDEN * 2 + 2 if name == "frozen_mlp" else WIDTH * 2 + 2
    assert (told.added, told.head, told.trained) == (added, head, trained + head)
    assert told.total == sum(p.numel() for p in encoder.parameters()) + added + head
    assert told == count_parameters(encoder, model.encoder, model.objective)


def test_an_arm_that_has_no_place_is_refused(make_encoder, task):
    gru, mean = make_encoder(kind="gru"), make_encoder(kind="mean", num_layers=0)
    with pytest.raises(UserError, match=r"serial_patches: patches go into encoder\.backbone\.kind cnn or transformer"):
        build_arm("serial_patches", CONFIG).apply(gru)
    with pytest.raises(UserError, match="lora: this encoder's backbone has no linear maps"):
        build_arm("lora", CONFIG).apply(mean)
    with pytest.raises(UserError, match=r"has 0 blocks, transfer\.num_last is 1"):
        build_arm("last_layers", CONFIG).apply(mean)
    with pytest.raises(UserError, match=r"has 2 blocks, transfer\.num_last is 3"):
        build_arm("last_layers", TransferConfig(num_last=3)).apply(make_encoder(**BACKBONES["cnn"]))
    rows, arm = make_encoder(items="rows"), build_arm("head_only", CONFIG)
    with pytest.raises(UserError, match="head_only freezes the items"):
        freeze(arm.apply(rows), arm, task)
