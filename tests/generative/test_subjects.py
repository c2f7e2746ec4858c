"""What is trained on and what is predicted, against plain loops over every user."""

import numpy as np

from ray_userrep.corpus.splits import resolve
from ray_userrep.generative.prompts import PROMPTS
from ray_userrep.generative.rows import Writer
from ray_userrep.generative.subjects import held_out, joined, learned
from tests.generative.conftest import learn, small_text


def by_hand(corpus):
    """Each user's items by hash, oldest first."""
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        for user, items in zip(bucket.user_hash_U, np.split(bucket.items_N, bucket.offsets_U1[1:-1]), strict=True):
            yield int(user), items.tolist()


def all_of(read, corpus):
    return joined([read(number) for number in corpus.buckets()])


def test_no_pair_that_is_held_out_is_trained_on_and_histories_are_what_came_before(reviews):
    split = resolve(small_text().split, reviews)
    rows = all_of(lambda number: learned(reviews, split, number, 5), reviews)
    expected = set()
    for user, items in by_hand(reviews):
        held = items[-2:] if len(items) >= 3 else []
        kept = [(place, item) for place, item in enumerate(items[: len(items) - len(held)]) if item not in held]
        for before, (place, item) in enumerate(kept):
            history = tuple(one for _, one in kept[max(0, before - 5) : before])
            expected.add((user, place, item, history, 1.0 + item % 5))
    histories = np.split(rows.history_H, rows.offsets_R1[1:-1])
    found = zip(rows.hash_R, rows.place_R, rows.item_R, histories, rows.rating_R, strict=True)
    assert {(int(u), int(p), int(i), tuple(h.tolist()), float(r)) for u, p, i, h, r in found} == expected
    assert len(np.unique(rows.user_R)) == len(np.unique(rows.hash_R))


def test_what_is_predicted_comes_after_all_that_is_known(reviews):
    split = resolve(small_text().split, reviews)
    for part, back in (("valid", 2), ("test", 1)):
        rows = all_of(lambda number, part=part: held_out(reviews, split, part, number, 4), reviews)
        expected = [(u, items[-back], items[:-back][-4:]) for u, items in by_hand(reviews) if len(items) >= 3]
        histories = np.split(rows.history_H, rows.offsets_R1[1:-1])
        found = [(int(u), int(i), h.tolist()) for u, i, h in zip(rows.hash_R, rows.item_R, histories, strict=True)]
        assert found == expected


def test_no_text_of_any_family_names_a_user_with_a_held_out_item(reviews, tmp_path):
    recipe = small_text()
    lexicon, split = learn(recipe, reviews, tmp_path), resolve(recipe.split, reviews)
    writer = Writer(lexicon, recipe.generative, recipe.stream, 0)
    names = lexicon.names().to_pylist()
    held = {}
    for part in ("valid", "test"):
        rows = all_of(lambda number, part=part: held_out(reviews, split, part, number, 4), reviews)
        for user, item in zip(rows.user_R, rows.item_R, strict=True):
            held.setdefault(int(user), set()).add(names[item])
    subjects = all_of(lambda number: learned(reviews, split, number, 5), reviews)
    for prompt in PROMPTS:
        rows, sources, answers = writer.written(prompt, subjects)
        assert len(rows), prompt.name
        for row, source, answer in zip(rows, sources.to_pylist(), answers.to_pylist(), strict=True):
            assert not held.get(int(subjects.user_R[row]), set()) & {*source.split(), *answer.split()}, prompt.name
