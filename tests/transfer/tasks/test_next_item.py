"""Next items in a new domain: who is trained on, what the encoder knows of the items, what is refused."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, InBatchSoftmaxConfig
from ray_userrep.recipe.transfer import NextItemTaskConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.plain import Full
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.base import HeadShape
from ray_userrep.transfer.tasks.next_item import NextItemTask, over_items

NUM_ITEMS, HALF = 40, 20


def make_task(corpus, encoder, recipe, users, **fields):
    config = NextItemTaskConfig(users=users, **fields)
    return NextItemTask(corpus, encoder.side_columns, config, recipe.objective, recipe.evaluation, "tile")


def trained_on(corpus, task, share=1.0):
    """How much of each user is trained on."""
    cut, found = task.cut(share), {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        found |= dict(zip(bucket.user_hash_U.tolist(), cut.training(bucket)[1].tolist(), strict=True))
    return {user: length for user, length in found.items() if length}


def test_cold_users_are_never_trained_on_and_warm_ones_are(corpus, make_encoder, recipe):
    encoder = make_encoder()
    cold, warm = (make_task(corpus, encoder, recipe, users) for users in ("cold", "warm"))
    for task, overlap in ((cold, False), (warm, True)):
        tested = set(task.known_until()[0].tolist())
        assert bool(set(trained_on(corpus, task)) & tested) == overlap
        few, most = trained_on(corpus, task, 0.2), trained_on(corpus, task)
        assert set(few) < set(most) and all(few[user] == most[user] for user in few)
        assert len(few) == pytest.approx(0.2 * len(most), abs=1)


def test_of_cold_users_so_many_first_interactions_are_known(corpus, make_encoder, recipe):
    whole, few = (make_task(corpus, make_encoder(), recipe, "cold", max_known=known) for known in (None, 3))
    for part in ("valid", "test"):
        all_known, known = whole._histories[part], few._histories[part]
        assert known.users_U.tolist() == all_known.users_U.tolist()
        assert known.lengths_U.tolist() == np.minimum(all_known.lengths_U, 3).tolist() and known.lengths_U.max() == 3
    assert trained_on(corpus, few) == trained_on(corpus, whole) and few.data(1.0) != whole.data(1.0)
    with pytest.raises(ValidationError, match=r"transfer.task.max_known 3 is for users who are new"):
        NextItemTaskConfig(max_known=3)


def circles():
    """Texts that say where on its half's circle an item lies."""
    angle = 2 * np.pi * (np.arange(NUM_ITEMS) % HALF) / HALF
    side = np.where(np.arange(NUM_ITEMS) < HALF, 1.0, -1.0)
    return np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle), side], axis=1)


def with_texts(corpus, recipe, items):
    """An encoder whose items are made from those texts, or are ids."""
    flat = pa.array(circles().astype(np.float32).ravel())
    table = corpus.items().table.append_column("text_vector", pa.FixedSizeListArray.from_arrays(flat, 5))
    torch.manual_seed(0)
    fields = {"width": 16, "items": {"kind": items}, "backbone": {"kind": "transformer", "dropout": 0.0}}
    return build_encoder(EncoderConfig.model_validate(fields), ItemTable(table), recipe.stream.max_len).eval()


def test_cold_items_are_never_trained_on_and_found_by_their_texts(corpus, recipe, tmp_path):
    objective = AutoregressiveConfig(softmax=InBatchSoftmaxConfig())  # cold items are no negatives either
    transfer = recipe.transfer.model_copy(update={"epochs": 12.0})
    recipe = recipe.model_copy(update={"objective": objective, "transfer": transfer})
    found = {}
    for items in ("text", "id"):
        encoder = with_texts(corpus, recipe, items)
        task = make_task(corpus, encoder, recipe, "warm", items="cold")
        held_out = set(corpus.items().index_of(task.held_out()).tolist())
        assert task.name == "next item, cold items" and 4 < len(held_out) < 30
        assert set(task.truth("test").tolist()) | set(task.truth("valid").tolist()) <= held_out
        assert not set(task.truth("test").tolist()) & set(task.truth("valid").tolist())
        for number in corpus.buckets():
            bucket, lengths = task.cut(1.0).training(corpus.bucket(number))
            kept = [bucket.items_N[low : low + n] for low, n in zip(bucket.offsets_U1, lengths, strict=False)]
            assert not held_out & set(np.concatenate(kept).tolist())

        def engine(fitted):
            return lambda model: BareEngine(model, fitted.train, torch.device("cpu"))

        fit = FitSpec(1.0, 0, 0.01)
        outcome = fit_task(recipe, corpus, encoder, task, Full(), fit, f"{tmp_path}/{items}", engine)
        found[items] = task.measures["hr@10"](None, outcome.predicted_U)
    assert found["text"] > found["id"] + 0.2


def test_predictions_are_ranks_of_the_targets(corpus, make_encoder, recipe):
    encoder = make_encoder()
    task = make_task(corpus, encoder, recipe, "warm")
    histories = task._histories["test"]
    expected = []
    with torch.no_grad():
        for row in range(histories.num_users):
            low, high = histories.offsets_U1[row : row + 2]
            ids = corpus.items().ids.take(histories.items_N[low:high].tolist()).to_pylist()
            scores = encoder.encode([ids])[0] @ encoder.items(None).numpy().T
            expected.append(1 + int((scores > scores[histories.targets_U[row]] + 1e-6).sum()))
    objective = task.objective(encoder, 1.0, HeadShape())
    assert np.mean(np.array(expected) == task.predict(encoder, objective, "test")) > 0.99
    assert task.measures["hr@10"](None, np.array([1, 10, 11, 40])) == 0.5
    assert task.trains("items.weight") and not task.trains("backbone.norm.weight")


def test_known_items_keep_their_vectors_and_new_ones_are_apart(corpus, make_encoder, write_corpus, tmp_path):
    encoder = make_encoder()
    shifted = write_corpus(str(tmp_path / "other"), first_item=30).items()  # ten of forty are known
    other, num_known = over_items(encoder, shifted, 0)
    vectors, before = other.items(None).detach(), encoder.items(None).detach()
    assert num_known == 10 and torch.equal(vectors[:10], before[30:])
    assert len(torch.unique(vectors, dim=0)) == 40
    assert vectors[10:].norm(dim=1).mean() == pytest.approx(1, abs=0.2)
    assert torch.equal(over_items(encoder, shifted, 0)[0].items(None), vectors)
    rest = {n: p for n, p in other.state_dict().items() if not n.startswith("items.")}
    assert all(torch.equal(p, encoder.state_dict()[n]) for n, p in rest.items())


def test_items_made_from_texts_need_texts(corpus, make_encoder):
    encoder = make_encoder()
    encoder.config.text_width = 6
    with pytest.raises(UserError, match="made from texts"):
        over_items(encoder, ItemTable(corpus.items().table), 0)


def test_too_few_users_are_refused(corpus, make_encoder, recipe):
    with pytest.raises(UserError, match=r"next item, cold users: \d+ users in valid, fewer than"):
        make_task(corpus, make_encoder(), recipe, "cold", min_examples=200)
