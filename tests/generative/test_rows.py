"""Rows of text: prompts filled as by hand, laid out for the plan, the same in every pass."""

import numpy as np
import pytest

from ray_userrep.corpus.splits import resolve
from ray_userrep.generative.prompts import PROMPTS, of_families
from ray_userrep.generative.rows import ANSWER, WORD, TextCorpus, Writer
from ray_userrep.generative.subjects import learned
from tests.generative.conftest import FAMILIES, PARTS, learn, review, small_text


@pytest.fixture(scope="module")
def world(reviews, tmp_path_factory):
    recipe = small_text()
    lexicon = learn(recipe, reviews, tmp_path_factory.mktemp("run"))
    split = resolve(recipe.split, reviews)
    return recipe, lexicon, split, Writer(lexicon, recipe.generative, recipe.stream, 0)


def test_prompts_are_filled_and_answered_from_the_log(reviews, world):
    _, lexicon, split, writer = world
    subjects, names = learned(reviews, split, 1, 5), lexicon.names().to_pylist()
    histories = np.split(subjects.history_H, subjects.offsets_R1[1:-1])
    for prompt in PROMPTS:
        if prompt.family == "direct" and prompt.answer == "verdict":
            continue
        for row, source, answer in zip(*writer.written(prompt, subjects), strict=True):
            item, user = int(subjects.item_R[row]), int(subjects.user_R[row])
            told = {
                "user": f"user_{user}", "item": names[item], "rating": str(1 + item % 5), "feature": PARTS[item % 4],
                "history": " ".join(names[one] for one in histories[row]),
                "review": review(int(subjects.hash_R[row]) // 7919, item),
                "summary": "a poor one" if item % 2 else "a lovely one",
            }  # fmt: skip
            told["explanation"] = told["review"].split("! ")[1].rstrip(".")
            if prompt.family == "explanation" and told["feature"] not in source.as_py():
                continue  # another word of the same sentence is more frequent
            assert source.as_py() == prompt.source.format(**told) and answer.as_py() == told[prompt.answer]


def test_verdicts_are_of_the_item_or_of_another_that_is_not_held_out(reviews, world):
    _, lexicon, split, writer = world
    subjects, names = learned(reviews, split, 0, 5), lexicon.names().to_pylist()
    prompt = next(one for one in PROMPTS if one.name == "direct-4")
    rows, sources, answers = writer.written(prompt, subjects)
    said = []
    for row, source, answer in zip(rows, sources.to_pylist(), answers.to_pylist(), strict=True):
        item = names.index(source.split()[3])
        assert (item == subjects.item_R[row]) == (answer == "yes") and item not in subjects.held_R2[row]
        said.append(answer)
    assert 0.4 < np.mean([one == "yes" for one in said]) < 0.6


def test_a_row_is_a_prompt_that_is_seen_and_its_answer_behind_it(reviews, world):
    recipe, lexicon, split, writer = world
    texts, again = (TextCorpus(reviews, split, writer, recipe.generative, 3) for _ in range(2))
    vocabulary, asked = lexicon.vocabulary, set()
    for number in reviews.buckets():
        bucket, subjects = texts.bucket(number), learned(reviews, split, number, 5)
        assert len(np.unique(bucket.user_hash_U)) == bucket.num_users
        assert bucket.num_users >= 4 * len(subjects.item_R)  # a first interaction has no history to ask about
        assert bucket.lengths_U.max() <= recipe.stream.max_len
        for tokens, words in zip(
            np.split(bucket.items_N, bucket.offsets_U1[1:-1]),
            np.split(bucket.side_N[WORD], bucket.offsets_U1[1:-1]),
            strict=True,
        ):
            source = tokens[words != ANSWER]
            assert source[-1] == tokens[-1] == vocabulary.end and np.all(words[len(source) :] == ANSWER)
            (text,) = vocabulary.decode([source.tolist()])
            asked |= {one.name for one in PROMPTS if text.startswith(one.source.split("{")[0]) and one.source[0] != "{"}
        for name, column in bucket._asdict().items():
            if isinstance(column, np.ndarray):
                assert np.array_equal(column, getattr(again.bucket(number), name))
    seen = {one.name for one in of_families(FAMILIES) if one.is_seen and one.source[0] != "{"}
    assert asked == seen
