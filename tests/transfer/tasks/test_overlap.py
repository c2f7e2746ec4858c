"""What pretraining may have seen of a task's test users."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.splits import NONE, TRAIN, resolve
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import ColdItemConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import AttributeTaskConfig
from ray_userrep.transfer.tasks.overlap import (
    Pretrained,
    read_pretrained,
    refuse_nodes,
    refuse_overlap,
    refuse_read,
    refuse_seen_items,
    refuse_taught,
)

SEEN = Pretrained(np.array([2, 5, 9]), np.array([100, 200, 300]), np.array([150, 250, 350]), "log", "time")


def test_what_was_seen_is_read_user_by_user(corpus, split):
    seen = read_pretrained(corpus, split)
    told = {user: (until, after) for user, until, after in zip(*seen[:3], strict=True)}
    assert len(told) == corpus.manifest.num_users
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        cut = split.positions(bucket)
        for row, user in enumerate(bucket.user_hash_U):
            times = bucket.timestamps_N[bucket.offsets_U1[row] : bucket.offsets_U1[row + 1]]
            assert cut.test_U[row] != NONE
            assert told[user] == (times[cut.train_end_U[row] - 1], times[cut.test_U[row]])


def test_items_that_pretraining_was_trained_on_are_not_cold(corpus, split):
    cold = resolve(ColdItemConfig(valid_share=0.2, test_share=0.2), corpus)
    is_held_out = cold.part_V != TRAIN
    held_out = corpus.items().ids.filter(pa.array(is_held_out))
    refuse_seen_items("next item, cold items", held_out, corpus, cold)
    refuse_seen_items("next item, cold items", pa.array(["unheard of"]), corpus, split)
    refuse_seen_items("next item, cold items", pa.array([1, 2]), corpus, split)
    with pytest.raises(UserError, match=rf"trained on {is_held_out.sum()} of the {is_held_out.sum()} items"):
        refuse_seen_items("next item, cold items", held_out, corpus, split)


@pytest.mark.parametrize(
    ("users", "until", "content", "message"),
    [
        ([2, 9], [100, 299], "other", r"trained on what 1 of the 2 test users did after"),
        ([2, 5, 7], [151, 251, 9], "log", r"histories of 2 of the 3 test users reach into the test period"),
        ([2, 5, 7], [151, 251, 9], "other", None),
        ([2, 9], [100, 350], "log", None),
        ([3], [0], "log", None),
    ],
)
def test_overlap_is_refused_and_nothing_else_is(corpus, users, until, content, message):
    log = corpus.manifest.model_copy(update={"content_fingerprint": content})
    check = lambda: refuse_overlap("gender", np.array(users), np.array(until), log, SEEN)  # noqa: E731
    if message is None:
        check()
        return
    with pytest.raises(UserError, match=message):
        check()


def test_without_times_only_one_log_can_be_told_by_its_order(corpus):
    def check(content, user=2):
        log = corpus.manifest.model_copy(update={"content_fingerprint": content, "order": "row"})
        refuse_overlap("gender", np.array([user]), np.array([100]), log, SEEN)

    check("log")
    check("other", user=3)
    with pytest.raises(UserError, match=r"1 of the 1 test users are in pretraining's log, .* no times to tell"):
        check("other")


def test_labels_that_pretraining_read_are_asked_about_by_its_own_deal_of_users_only():
    objective = {"kind": "labels", "attributes": ["half", "age"]}
    own = {"task": {"kind": "attribute", "seed": 3}}
    trained = Recipe.model_validate({"name": "taught", "objective": objective, "transfer": own})
    refuse_taught(AttributeTaskConfig(seed=3), ["half"], trained)
    refuse_taught(AttributeTaskConfig(seed=4), ["country"], trained)
    for other in (AttributeTaskConfig(seed=4), AttributeTaskConfig(seed=3, test_share=0.3)):
        with pytest.raises(UserError, match=r"task age: pretraining read labels of it.*transfer\.task\.seed 3"):
            refuse_taught(other, ["age"], trained)


def test_what_the_encoder_reads_of_users_is_no_task():
    refuse_read(["gender", "age"], ("country",))
    with pytest.raises(UserError, match=r"transfer\.task age: the encoder reads it of each user \(encoder\.profile\)"):
        refuse_read(["gender", "age"], ("country", "age"))


def test_cold_users_are_no_nodes_of_the_graph_that_an_encoder_looks_into():
    graph = UserItemGraph.of(np.array([3, 5, 5]), np.array([0, 0, 1]), 2)
    refuse_nodes("next item", np.array([4, 6]), graph)
    with pytest.raises(UserError, match=r"transfer.task next item: 1 of the 2 cold users are nodes of .*cold_user"):
        refuse_nodes("next item", np.array([4, 5]), graph)
