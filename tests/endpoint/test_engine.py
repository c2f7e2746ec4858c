"""Many requests at once are answered as the encoder answers each."""

import json
from datetime import datetime

import numpy as np
import pytest

from ray_userrep.endpoint.engine import Engine
from ray_userrep.endpoint.forms import Nearest, Newer, NewerForm, RecommendForm, VectorsForm
from ray_userrep.endpoint.refusals import NotFound
from ray_userrep.endpoint.stored import StoredSums, check_stored
from ray_userrep.errors import UserError
from tests.endpoint.conftest import NAME, OLD, built, day, moments

HISTORIES = [["item-1", "item-2", "item-3"], [], ["strange", "item-9"], [f"item-{i}" for i in range(20)]]


def told(answer):
    assert isinstance(answer, bytes), answer
    return json.loads(answer)


def test_vectors_of_several_requests_are_those_of_encode_and_a_wrong_one_fails_alone(window):
    wrong = VectorsForm(histories=[[1]])
    asks = [VectorsForm(histories=HISTORIES[:1]), wrong, VectorsForm(histories=HISTORIES[1:])]
    first, refusal, last = Engine(window, NAME).answer(asks)
    assert isinstance(refusal, UserError) and "item ids are int64" in str(refusal)
    found = told(first)["vectors"] + told(last)["vectors"]
    with pytest.warns(UserWarning, match="took nothing"):
        expected = window.encode([*HISTORIES, ["strange"]])[:-1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert told(last)["interactions"] == [0, 1, 20] and told(last)["encoder"] == NAME


def test_what_breaks_on_one_request_breaks_on_it_alone(window):
    broken = VectorsForm.model_construct(histories=[["item-1"]], timestamps=None, side=None, until=None)
    found, error = Engine(window, NAME).answer([VectorsForm(histories=[["item-1"]]), broken])
    assert told(found)["interactions"] == [1] and isinstance(error, TypeError)


def test_vectors_as_of_different_moments_in_one_batch(bag):
    days = [3, 9, 3]
    asks = [VectorsForm(histories=[["item-4"]], timestamps=[[day(1)]], until=day(number)) for number in days]
    found = [told(answer)["vectors"][0] for answer in Engine(bag, NAME).answer(asks)]
    for vector, number in zip(found, days, strict=True):
        until = datetime(2024, 3, number, 12)
        np.testing.assert_allclose([vector], bag.encode([["item-4"]], [moments([1])], until), atol=1e-6)
    (refusal,) = Engine(bag, NAME).answer([VectorsForm(histories=[["item-4"]], timestamps=[[day(1)]])])
    assert "until: this encoder counts days up to a moment" in str(refusal)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_next_items_are_those_of_recommend_for_any_k_in_one_batch(window, exclude_seen):
    sizes = zip(HISTORIES, [3, 1, 30, 5], strict=True)
    asks = [RecommendForm(histories=[row], k=k, exclude_seen=exclude_seen) for row, k in sizes]
    other = RecommendForm(histories=[HISTORIES[0]], exclude_seen=not exclude_seen)
    for ask, answer in zip(asks, Engine(window, NAME).answer([*asks, other])[:-1], strict=True):
        expected = window.recommend(ask.histories, ask.k, exclude_seen=exclude_seen)
        assert told(answer)["items"] == expected["items"].to_pylist()
        np.testing.assert_allclose(told(answer)["scores"], expected["scores"].to_pylist(), atol=1e-5)


def test_nearest_items_are_those_of_the_encoder(window):
    expected = window.nearest_items(["item-7"], 4)
    found, absent, many = Engine(window, NAME).answer(
        [Nearest("item-7", 4), Nearest("item-x", 4), Nearest("item-7", 31)]
    )
    assert told(found)["items"] == expected["items"][0].as_py()
    np.testing.assert_allclose(told(found)["scores"], expected["scores"][0].as_py(), atol=1e-6)
    assert isinstance(absent, NotFound) and "k: takes 1 to 30" in str(many)


def test_newer_events_join_what_is_stored_to_the_vector_of_the_whole_history(bag, stored):
    items, days = OLD["ann"]
    newer = NewerForm(items=["item-5", "strange", "item-2"], timestamps=[day(4), day(5), day(6)], until=day(20))
    nothing = NewerForm(until=day(20))
    both, same = Engine(bag, NAME, stored).answer([Newer("ann", newer), Newer("ann", nothing)])
    until = datetime(2024, 3, 20, 12)
    whole = bag.encode([[*items, "item-5", "item-2"]], [moments([*days, 4, 6])], until)
    np.testing.assert_allclose([told(both)["vector"]], whole, atol=1e-6)
    np.testing.assert_allclose([told(same)["vector"]], bag.encode([items], [moments(days)], until), atol=1e-6)
    assert (told(both)["interactions"], told(same)["interactions"]) == (4, 2)


@pytest.mark.parametrize(
    ("user", "form", "message"),
    [
        ("ann", {"items": ["item-5"], "timestamps": [day(1)]}, "reaches back behind what is stored"),
        ("eve", {}, "user 'eve' is not among the 2"),
        ("ann", {"items": ["item-5"], "timestamps": ["1.3.2024"]}, "timestamps: takes times as 2024-03-01T12:00:00Z"),
        ("ann", {"items": ["item-5"]}, "reads when interactions were"),
    ],
)
def test_newer_events_that_do_not_fit_are_refused(bag, stored, user, form, message):
    (refusal,) = Engine(bag, NAME, stored).answer([Newer(user, NewerForm(until=day(20), **form))])
    assert message in str(refusal)


def test_a_folder_of_another_encoder_or_without_sums_is_refused(bag, stored, tmp_path):
    with pytest.raises(UserError, match="is of another encoder"):
        StoredSums(f"{tmp_path}/vectors", "another")
    with pytest.raises(UserError, match=r"no .*_vectors\.json: name the output folder of an embed that ended"):
        check_stored(str(tmp_path), NAME)


def test_an_encoder_says_what_it_reads(bag, stored):
    about = Engine(bag, NAME, stored).about()
    assert (about.items, about.users, about.reads_times, about.reads_until) == (30, 2, True, True)
    assert Engine(built(context=["price"]), NAME).about().reads_fields == ("price",)


def test_what_is_read_of_users_is_posted_as_a_list_of_one_each():
    encoder = built(profile=["town"])
    histories = [["item-1"], ["item-2", "item-4"]]
    posted = VectorsForm.model_validate({"histories": histories, "fields": {"town": [["Ulm"], []]}})
    engine = Engine(encoder, NAME)
    found, other, refusal = engine.answer([posted, posted, VectorsForm(histories=[["item-3"]])])
    expected = encoder.encode(histories, fields={"town": ["Ulm", None]})
    np.testing.assert_allclose(told(found)["vectors"], expected, atol=1e-6)
    assert told(other) == told(found) and engine.about().reads_fields == ("town",)
    assert "this encoder reads the town of users (encoder.profile)" in str(refusal)
