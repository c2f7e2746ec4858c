"""Next items in a new domain: who is trained on, what the encoder knows of the items, what is refused."""

import numpy as np
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.errors import UserError
from ray_userrep.transfer.config import NextItemTaskConfig
from ray_userrep.transfer.tasks.next_item import NextItemTask, over_items


def make_task(corpus, encoder, recipe, users, **fields):
    config = NextItemTaskConfig(users=users, **fields)
    return NextItemTask(corpus, encoder, config, recipe.objective, recipe.evaluation, "tile")


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
    objective = task.objective(encoder, 1.0, 0)
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
