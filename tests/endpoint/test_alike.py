"""The nearest users of an index, asked for over the endpoint, beside a sort of all cosines."""

import json

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.embedding.indexing import build_index
from ray_userrep.embedding.outputs import SUMMARY
from ray_userrep.embedding.tables import lists
from ray_userrep.encoder.folder import fingerprint
from ray_userrep.endpoint.alike import UsersAlike, check_index
from ray_userrep.endpoint.engine import Engine
from ray_userrep.endpoint.forms import AlikeForm, NearestUsers
from ray_userrep.endpoint.refusals import NotFound
from ray_userrep.errors import UserError
from ray_userrep.recipe.embedding import IndexConfig
from tests.endpoint.conftest import NAME, built

USERS = {f"u/{user}": [f"item-{(3 * user + step) % 30}" for step in range(user % 6 + 1)] for user in range(40)}


@pytest.fixture
def folder(window, tmp_path):
    """An encoder, the vectors that it makes of the users, and their index."""
    window.save_pretrained(f"{tmp_path}/encoder")
    table = pa.table({"user_id": list(USERS), "vector": lists(window.encode(list(USERS.values())))})
    storage.write_parquet(f"{tmp_path}/vectors/bucket-00000.parquet", table)
    about = {"encoder": "e", "encoder_fingerprint": fingerprint(f"{tmp_path}/encoder"), "corpus": "c"}
    summary = about | {"corpus_version": 1, "rows": len(USERS), "until": None}
    storage.write_json(f"{tmp_path}/vectors/{SUMMARY}", summary)
    build_index(f"{tmp_path}/vectors", f"{tmp_path}/index", IndexConfig())
    return str(tmp_path)


@pytest.fixture
def engine(window, folder):
    return Engine(window, NAME, alike=UsersAlike(f"{folder}/index", f"{folder}/encoder"))


def sorted_by_cosine(window, asked, left_out=None):
    """Cosines of all users to a history, the greatest first."""
    vectors_UF = window.encode([asked, *USERS.values()])
    units_UF = vectors_UF / np.linalg.norm(vectors_UF, axis=1, keepdims=True)
    cosines = dict(zip(USERS, units_UF[1:] @ units_UF[0], strict=True))
    cosines.pop(left_out, None)
    return sorted(cosines.items(), key=lambda pair: -pair[1])


def test_users_most_alike_to_histories_are_those_of_a_sort(window, engine):
    asked = [["item-4", "item-9"], ["item-2"]]
    asks = [AlikeForm(histories=[asked[0], []], k=5), AlikeForm(histories=asked[1:], k=40)]
    first, second = (json.loads(answer) for answer in engine.answer(asks))
    for found, history, k in ((first, asked[0], 5), (second, asked[1], 40)):
        expected = sorted_by_cosine(window, history)[:k]
        np.testing.assert_allclose(found["scores"][0], [cosine for _, cosine in expected], atol=1e-5)
    assert first["users"][0] == [user for user, _ in sorted_by_cosine(window, asked[0])[:5]]
    assert first["users"][1] == [] and first["interactions"] == [2, 0] and set(second["users"][0]) == set(USERS)


def test_users_most_alike_to_a_user_leave_that_one_out(window, engine):
    found, absent, many = engine.answer([NearestUsers("u/7", 6), NearestUsers("eve", 6), NearestUsers("u/7", 40)])
    expected = sorted_by_cosine(window, USERS["u/7"], "u/7")[:6]
    np.testing.assert_allclose(json.loads(found)["scores"], [cosine for _, cosine in expected], atol=1e-5)
    assert "u/7" not in json.loads(found)["users"] and json.loads(found)["user"] == "u/7"
    assert isinstance(absent, NotFound) and "user 'eve' is not among the 40 of the index" in str(absent)
    assert "k: takes 1 to 39" in str(many)


def test_the_routes_and_what_is_not_there(client, engine):
    app = client(engine)
    assert app.get("/v1/users/u%2F3/nearest", params={"k": 2}).json()["user"] == "u/3"
    assert len(app.post("/v1/users/nearest", json={"histories": [["item-1"]], "k": 3}).json()["users"][0]) == 3
    assert app.post("/v1/users/nearest", json={"histories": [["item-1"]], "k": 41}).status_code == 422
    assert app.get("/readyz").json()["indexed_users"] == 40
    for refused in (client().post("/v1/users/nearest", json={"histories": [[]]}), client().get("/v1/users/a/nearest")):
        assert refused.status_code == 404 and "start the endpoint with serve.index" in refused.json()["error"]


def test_an_index_of_another_encoder_or_of_items_is_refused(folder):
    built(1).save_pretrained(f"{folder}/other")
    with pytest.raises(UserError, match="is of vectors of another encoder"):
        check_index(f"{folder}/index", f"{folder}/other")
    about = storage.read_object(f"{folder}/index/index.json")
    storage.write_json(f"{folder}/index/index.json", about | {"of": "items"})
    with pytest.raises(UserError, match=r"serve\.index: .* is an index of items: build one with --of users"):
        check_index(f"{folder}/index", f"{folder}/encoder")
