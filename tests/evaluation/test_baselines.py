"""Each baseline against dictionaries and loops."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from ray_userrep.evaluation.baselines import FAMILIES, ItemToItem, Popularity, RepeatLast, best_setting
from ray_userrep.evaluation.histories import Histories

NUM_ITEMS = 17


def lists(sequences):
    return [
        sequences.items_N[a:b].tolist() for a, b in zip(sequences.offsets_U1, sequences.offsets_U1[1:], strict=False)
    ]


def test_popularity_counts_all_or_the_last_days(random_histories):
    train = random_histories(40, NUM_ITEMS)
    counts = Counter(train.items_N.tolist())
    scores = Popularity().fit(train, NUM_ITEMS)(train)
    assert scores.shape == (40, NUM_ITEMS)
    assert scores[0].tolist() == [counts[i] for i in range(NUM_ITEMS)]
    days = 20
    recent = train.items_N[train.times_N > train.times_N.max() - days * 86_400_000_000]
    assert 0 < len(recent) < len(train.items_N)
    got = Popularity(days).fit(train, NUM_ITEMS)(train)[0].tolist()
    assert got == [Counter(recent.tolist())[i] for i in range(NUM_ITEMS)]


def test_repeat_last_ranks_the_history_newest_first_then_by_popularity(random_histories):
    train = random_histories(40, NUM_ITEMS)
    counts = Counter(train.items_N.tolist())
    scores = RepeatLast().fit(train, NUM_ITEMS)(train).numpy()
    for row, history in zip(scores, lists(train), strict=True):
        own = list(dict.fromkeys(reversed(history)))
        rest = sorted((i for i in range(NUM_ITEMS) if i not in own), key=lambda i: (-counts[i], i))
        assert np.argsort(-row, kind="stable").tolist() == own + rest


@pytest.mark.parametrize(
    "setting",
    [ItemToItem(1, False, 1, 1.0, 0.0), ItemToItem(3, False, 2, 0.5, 0.5), ItemToItem(4, True, 5, 0.8, 0.25)],
)
def test_item_to_item_is_the_obvious_double_loop(random_histories, setting):
    train = random_histories(60, NUM_ITEMS)
    pairs: dict[tuple[int, int], float] = defaultdict(float)
    for history in lists(train):
        for place, later in enumerate(history):
            for distance in range(1, min(setting.window, place) + 1):
                pairs[history[place - distance], later] += 1 / distance
                if setting.symmetric:
                    pairs[later, history[place - distance]] += 1 / distance
    counts = Counter(train.items_N.tolist())
    expected = np.zeros((60, NUM_ITEMS))
    for user, history in enumerate(lists(train)):
        for age, item in enumerate(reversed(history[-setting.last :])):
            for other in range(NUM_ITEMS):
                expected[user, other] += (
                    setting.decay**age * pairs[item, other] / max(counts[other], 1) ** setting.damping
                )
    got = setting.fit(train, NUM_ITEMS)(train).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_the_setting_that_is_best_on_validation_is_taken(random_histories):
    """Users alternate between an item and the next: only the newest item tells what follows."""
    items = np.concatenate([(start + np.arange(6)) % NUM_ITEMS for start in range(NUM_ITEMS)])
    offsets = np.arange(0, len(items) + 1, 6)
    targets = (items[offsets[1:] - 1] + 1) % NUM_ITEMS
    train = Histories(items, np.arange(len(items)), offsets, np.arange(NUM_ITEMS), targets_U=targets)
    settings = (Popularity(), ItemToItem(1, False, 1, 1.0, 0.0))
    assert best_setting(settings, train, train, NUM_ITEMS, False) == settings[1]


def test_every_family_has_settings():
    assert set(FAMILIES) == {"popularity", "recent popularity", "repeat last", "Markov", "co-occurrence"}
    assert all(len(set(settings)) == len(settings) > 0 for settings in FAMILIES.values())
