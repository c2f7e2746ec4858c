"""The routes: what they answer, and that nothing posted to them is more than a 4xx."""

import json
import re
import subprocess
import sys
from importlib.resources import files
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from ray_userrep.endpoint.engine import Engine
from ray_userrep.objectives.head import Head
from ray_userrep.transfer.model import LabelModel
from tests.endpoint.conftest import NAME, day


def test_vectors_next_items_neighbours_and_a_stored_user(client, window, bag, stored):
    app = client()
    found = app.post("/v1/vectors", json={"histories": [["item-1", "item-2"]]})
    assert found.status_code == 200
    np.testing.assert_allclose(found.json()["vectors"], window.encode([["item-1", "item-2"]]), atol=1e-6)
    next_items = app.post("/v1/recommend", json={"histories": [["item-1"], []], "k": 3}).json()
    assert [len(row) for row in next_items["items"]] == [3, 0] and "item-1" not in next_items["items"][0]
    assert len(app.get("/v1/items/item-3/nearest", params={"k": 5}).json()["items"]) == 5
    user = client(Engine(bag, NAME, stored)).post("/v1/users/bob%2F2/vector", json={"until": day(9)})
    assert user.json()["user"] == "bob/2" and user.json()["interactions"] == 1


def test_a_label_is_predicted_where_there_is_a_model(client, window):
    asked = {"histories": [["item-1"], []]}
    refused = client().post("/v1/predict", json=asked)
    assert refused.status_code == 404 and "serve.model" in refused.json()["error"]
    model = LabelModel(Head("classes", 8, 0, 2), ["no", "yes"], np.array([2.0]))
    app = client(Engine(window, NAME, model=model))
    found = app.post("/v1/predict", json=asked).json()
    assert 0 < found["scores"][0] < 1 and found["scores"][1] is None and found["classes"] == ["no", "yes"]
    assert app.get("/readyz").json()["predicts"] == ["no", "yes"]
    assert "/v1/predict" in app.get("/openapi.json").json()["paths"]


def test_health_metrics_page_and_a_valid_description(client):
    app = client()
    assert app.get("/healthz").json() == {"status": "alive"}
    assert app.get("/readyz").json()["items"] == 30
    app.post("/v1/vectors", json={"histories": [["item-1", "item-2"], []]})
    counted = app.get("/metrics").text
    assert 'userrep_requests_total{route="/v1/vectors",status="200"} 1.0' in counted
    assert "userrep_histories_total 2.0" in counted and "userrep_interactions_total 2.0" in counted
    described = app.get("/openapi.json").json()
    validate(described)
    posted = described["paths"]["/v1/vectors"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(posted["properties"]) == {"histories", "timestamps", "fields", "until"} and "$defs" not in posted


def test_the_page_needs_no_other_host_and_writes_no_markup(client):
    answer = client().get("/")
    assert answer.text == files("ray_userrep.endpoint").joinpath("page.html").read_text()
    assert not re.search(
        r"https?://|//\w|innerHTML|insertAdjacent|document\.write", answer.text.replace("http://127", "")
    )
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"histories": [["item-1"]] * 5}, 413, "histories: 5, more than 4 (serve.max_histories)"),
        ({"histories": [["item-1"] * 21]}, 413, "histories: 21 items, more than 20 (serve.max_items)"),
        ({"histories": [["x" * 1000]]}, 413, "the body is larger than 800 bytes"),
        ({"histories": [["item-1"]], "k": 21}, 422, "k: takes 1 to 20 (serve.max_k; given 21)"),
        ({"histories": [["item-1"]], "k": 0}, 422, "k: Input should be greater than or equal to 1 (given 0)"),
        ({"histories": [["item-1", 2.5]]}, 422, "histories.0.1: Input should be a valid integer or a valid string"),
        ({"histories": ["item-1"]}, 422, "histories.0: Input should be a valid array (given 'item-1')"),
        ({"histories": [["item-1", 2]]}, 422, "item ids cannot be read"),
        ({"history": [["item-1"]]}, 422, "histories: Field required"),
        ({"histories": [["item-1"]], "fields": {"price": [[1.0]]}}, 422, "fields: 'price' is none of those"),
        ({"histories": [["item-1"]], "timestamps": [["yesterday"]]}, 422, "timestamps: takes times as"),
        ({"histories": [["item-1"]], "timestamps": [[]]}, 422, "as many times as it has items"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_status(client, body, status, message):
    answer = client(max_histories=4, max_items=20, max_body=800, max_k=20).post("/v1/recommend", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"] and "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/items/nothing/nearest", 404),
        ("GET", "/v1/items/item-1/nearest?k=many", 422),
        ("GET", "/v1/items/item-1/nearest?k=30000000000", 422),
        ("POST", "/v1/users/ann/vector", 404),
        ("GET", "/v1/vectors", 405),
        ("GET", "/nothing", 404),
    ],
)
def test_addresses_that_are_not_there(client, method, path, status):
    answer = client().request(method, path, content=b"{}" if method == "POST" else None)
    assert answer.status_code == status and list(answer.json()) == ["error"]


def test_a_long_body_is_refused_without_its_length_too(client):
    pieces = (b"[" * 100 for _ in range(20))
    assert client(max_body=800).post("/v1/vectors", content=pieces).status_code == 413


def test_a_token_is_asked_for_where_there_is_one(client):
    app = client(token="a token of some length")
    assert [app.get(path).status_code for path in ("/healthz", "/readyz", "/", "/openapi.json")] == [200] * 4
    missing = app.post("/v1/vectors", json={"histories": [["item-1"]]})
    assert missing.status_code == 401 and missing.headers["www-authenticate"] == "Bearer"
    assert app.get("/metrics", headers={"Authorization": "Bearer another"}).status_code == 401
    assert app.get("/metrics", headers={"Authorization": b"Bearer \xff\xfe"}).status_code == 401
    assert app.get("/metrics", headers={"Authorization": "bearer a token of some length"}).status_code == 200


def test_too_many_requests_of_a_client_are_told_when_to_come_again(client):
    app = client(rate=0.001)
    first, second = (app.post("/v1/vectors", json={"histories": [["item-1"]]}) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 429)
    assert 990 < int(second.headers["retry-after"]) <= 1000
    assert app.get("/healthz").status_code == 200


def test_the_process_at_the_door_loads_no_model_library():
    loaded = "import sys; import ray_userrep.endpoint.app; print({'torch', 'transformers', 'pyarrow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["item-1", day(1)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ids = st.one_of(st.sampled_from(["item-1", "item-2", "strange", ""]), st.integers(), st.text(max_size=3), json_values)
forms = st.fixed_dictionaries(
    {},
    optional={
        "histories": st.lists(st.lists(ids, max_size=4), max_size=3) | json_values,
        "items": st.lists(ids, max_size=4),
        "timestamps": st.lists(st.lists(st.sampled_from([day(1), "2024-03-02", "9999-12-31", "x"]) | ids, max_size=4)),
        "fields": st.dictionaries(st.sampled_from(["price", "event", "x"]), st.lists(st.lists(ids))) | json_values,
        "until": st.sampled_from([day(9), "0001-01-01", "294247-01-11"]) | json_values,
        "k": st.integers(-2, 40) | json_values,
        "exclude_seen": st.booleans() | json_values,
        "x": json_values,
    },
)
bodies = st.one_of(forms.map(lambda form: json.dumps(form).encode()), json_values.map(lambda v: json.dumps(v).encode()),
                   st.binary(max_size=40))  # fmt: skip
paths = st.sampled_from(
    ["/v1/vectors", "/v1/predict", "/v1/recommend", "/v1/users/ann/vector", "/v1/users/%00%ff/vector"]
)


@pytest.fixture
def both(client, window, bag, stored):
    with client() as one, client(Engine(bag, NAME, stored)) as other:
        yield [one, other]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, paths, st.text(max_size=6))
def test_nothing_that_is_posted_is_more_than_a_4xx(both, body, path, item):
    for app in both:
        posted = app.post(path, content=body)
        assert posted.status_code in (200, 404, 413, 422), (posted.status_code, body)
        assert posted.status_code == 200 or list(posted.json()) == ["error"]
    assert both[0].get(f"/v1/items/{quote(item, safe='')}/nearest").status_code in (200, 400, 404, 422)
