"""What pretraining may have seen of a task's test users."""

import numpy as np
import pytest

from ray_userrep.corpus.splits import NONE
from ray_userrep.errors import UserError
from ray_userrep.transfer.tasks.overlap import Pretrained, read_pretrained, refuse_overlap

SEEN = Pretrained(np.array([2, 5, 9]), np.array([100, 200, 300]), np.array([150, 250, 350]), "log")


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
def test_overlap_is_refused_and_nothing_else_is(users, until, content, message):
    check = lambda: refuse_overlap("gender", np.array(users), np.array(until), content, SEEN)  # noqa: E731
    if message is None:
        check()
        return
    with pytest.raises(UserError, match=message):
        check()
