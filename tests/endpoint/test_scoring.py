"""Scores of posted histories are those that the job `predict` writes, by the model that belongs to the encoder."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.store import Bucket
from ray_userrep.endpoint.deployment import build
from ray_userrep.endpoint.engine import Engine
from ray_userrep.endpoint.forms import PredictForm
from ray_userrep.endpoint.refusals import NotFound
from ray_userrep.endpoint.scoring import served_model
from ray_userrep.errors import UserError
from ray_userrep.objectives.head import Head
from ray_userrep.transfer.model import LabelModel, save_model
from ray_userrep.workflows.predict import scores_table
from tests.endpoint.conftest import NAME, built, day, moments

WALKS = [[1, 2, 3], [9], list(range(20))]
CLASSES = {"classes": ["a", "b", "c"], "several": ["x", "y"], "value": []}
TEMPERATURES = {"classes": [2.0], "several": [0.5, 3.0], "value": []}


def model_of(kind, width, classes=None):
    torch.manual_seed(1)
    classes = CLASSES[kind] if classes is None else classes
    head = Head(kind, width, 4, len(classes) or 1, 30.0, 10.0)
    return LabelModel(head.eval(), classes, np.array(TEMPERATURES[kind]))


def of_the_job(model, encoder, moment=0, until=None):
    """What `predict` writes of users with these histories, all at one moment (us)."""
    ids, offsets = np.arange(len(WALKS)), np.cumsum([0, *map(len, WALKS)])
    items = np.concatenate(WALKS)
    bucket = Bucket(pa.array(ids), ids, offsets, items, np.full(len(items), moment), {})
    return scores_table(model, 4096, encoder, bucket, until)["score"].to_pylist()


def posted(**more):
    return PredictForm(histories=[[f"item-{i}" for i in walk] for walk in WALKS], **more)


@pytest.mark.parametrize(("kind", "classes"), [("classes", None), ("classes", ["no", "yes"]), ("several", None),
                                               ("value", None)])  # fmt: skip
def test_scores_are_those_that_the_job_writes(window, kind, classes):
    model = model_of(kind, 8, classes)
    asks = [PredictForm(histories=[["strange"], []]), posted()]
    with pytest.warns(UserWarning, match="took nothing"):
        nobody, all_of_them = (json.loads(one) for one in Engine(window, NAME, model=model).answer(asks))
    assert nobody["scores"] == [None, None] and nobody["interactions"] == [0, 0]
    np.testing.assert_allclose(all_of_them["scores"], of_the_job(model, window), rtol=1e-6)
    assert all_of_them["classes"] == model.classes and all_of_them["encoder"] == NAME


def test_scores_as_of_different_moments_in_one_batch(bag):
    model, times = model_of("classes", bag.vector_width), [[day(1)] * len(walk) for walk in WALKS]
    first, *later = moments([1, 3, 20])
    answers = Engine(bag, NAME, model=model).answer([posted(timestamps=times, until=day(n)) for n in (3, 20)])
    for answer, until in zip(answers, later, strict=True):
        expected = of_the_job(model, bag, *(int(one.astype("M8[us]").astype(int)) for one in (first, until)))
        np.testing.assert_allclose(json.loads(answer)["scores"], expected, rtol=1e-6)


def test_without_a_model_there_is_none_to_ask(window):
    (refusal,) = Engine(window, NAME).answer([posted()])
    assert isinstance(refusal, NotFound) and "start the endpoint with serve.model" in str(refusal)
    assert Engine(window, NAME).about().predicts is None
    assert Engine(window, NAME, model=model_of("several", 8)).about().predicts == ("x", "y")


def test_a_model_is_served_beside_its_own_encoder_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_USERREP_TOKEN", "0123456789abcdef")
    own, model = built(), f"{tmp_path}/models/churn"
    own.save_pretrained(f"{tmp_path}/pretrained")
    own.read_at("last")  # as a transfer does, which writes it down
    own.save_pretrained(f"{model}/encoder")
    save_model(model_of("classes", 8), {}, model)
    assert served_model(model, f"{tmp_path}/pretrained").classes == ["a", "b", "c"]
    own.read_at("mean")
    own.save_pretrained(f"{tmp_path}/elsewhere")
    built(1).save_pretrained(f"{tmp_path}/other")
    for other in ("elsewhere", "other"):
        with pytest.raises(UserError, match=r"serve\.model: .* was made for another encoder .* --encoder .*churn"):
            build({"encoder": f"{tmp_path}/{other}", "model": model})
