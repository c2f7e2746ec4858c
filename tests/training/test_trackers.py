"""What a tracking service is told of a run: its recipe and figures, how it ended, and that it is the same one resumed.

The services' packages are stood in for by ones that keep what they are given: the real ones are large extras.
"""

import shutil
import sys
from types import SimpleNamespace

import pytest

from ray_userrep.errors import UserError
from ray_userrep.training.runs import read_records
from ray_userrep.training.trackers import refuse_uninstalled
from tests.ranks import fit_bare

NUM_EPOCHS = 2


class Kept:
    """Takes what `wandb.init` and its run take; `fails_at` is the call at which the service is gone."""

    def __init__(self, fails_at=None):
        self.begun, self.logged, self.codes, self.fails_at = [], [], [], fails_at

    def init(self, **given):
        self.begun.append(given)
        return self

    def define_metric(self, name, step_metric):
        self.by = {name: step_metric}

    def log(self, values):
        if len(self.logged) == self.fails_at:
            raise ConnectionError("the service is gone")
        self.logged.append(values)

    def finish(self, exit_code):
        self.codes.append(exit_code)


@pytest.fixture
def service(monkeypatch):
    def placed(fails_at=None):
        kept = Kept(fails_at)
        monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=kept.init))
        return kept

    return placed


@pytest.fixture
def tracked(recipe):
    return recipe(**{"train.trackers": ("wandb",), "train.epochs": float(NUM_EPOCHS)})


def test_figures_are_those_of_the_run_folder(service, corpus, tracked, tmp_path):
    kept = service()
    fit_bare(tracked, corpus, tmp_path / "first")
    (begun,) = kept.begun
    assert begun["name"] == "first" and begun["config"] == tracked.model_dump(mode="json")
    told = [values["validation/ndcg@10"] for values in kept.logged if "validation/ndcg@10" in values]
    records = [one for one in read_records(str(tmp_path / "first")) if one["kind"] == "validation"]
    assert told == [one["ndcg@10"] for one in records] and len(told) == NUM_EPOCHS
    assert kept.logged[-1]["step"] == records[-1]["step"] and kept.by == {"*": "step"} and kept.codes == [0]


def test_a_resumed_run_is_the_same_one_there(service, corpus, tracked, tmp_path):
    kept = service()
    fit_bare(tracked, corpus, tmp_path / "run")
    shutil.rmtree(sorted((tmp_path / "run" / "checkpoints").iterdir())[-1])
    fit_bare(tracked, corpus, tmp_path / "run")
    first, second = kept.begun
    assert first["id"] == second["id"] and first["resume"] == "allow"


def test_a_service_that_goes_away_is_told_of_once_and_left(service, corpus, tracked, tmp_path, capsys):
    kept = service(fails_at=2)
    fit_bare(tracked, corpus, tmp_path / "run")
    assert capsys.readouterr().out.count("wandb takes no more figures") == 1 and len(kept.logged) == 2
    assert len([one for one in read_records(str(tmp_path / "run")) if one["kind"] == "validation"]) == NUM_EPOCHS


def test_a_run_that_fails_is_told_as_failed(service, corpus, recipe, tmp_path):
    kept = service()
    with pytest.raises(UserError, match="training stopped"):
        fit_bare(recipe(**{"train.trackers": ("wandb",), "train.learning_rate": 1e30}), corpus, tmp_path / "run")
    assert kept.codes == [1]


def test_a_package_that_is_not_there_and_a_service_that_refuses_are_one_line(monkeypatch, corpus, tracked, tmp_path):
    monkeypatch.setattr("ray_userrep.training.trackers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ray_userrep\[wandb\]'"):
        refuse_uninstalled(tracked.train.trackers)

    def refused(**_):
        raise PermissionError("no API key\nlog in first")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refused))
    with pytest.raises(UserError, match=r"train\.trackers wandb cannot begin a run: no API key log in first"):
        fit_bare(tracked, corpus, tmp_path / "run")


class Client:
    """What MLflow's client does, of one experiment."""

    def __init__(self):
        self.runs, self.logged, self.ended, self.recipe = {}, [], [], None

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"experiment {name}"

    def search_runs(self, experiments, wanted, max_results):
        found = [
            run for run, tags in self.runs.items() if f"tags.`ray_userrep.run` = '{tags['ray_userrep.run']}'" == wanted
        ]
        return [SimpleNamespace(info=SimpleNamespace(run_id=run)) for run in found]

    def create_run(self, experiment, tags):
        self.runs[f"run {len(self.runs)}"] = tags
        return SimpleNamespace(info=SimpleNamespace(run_id=f"run {len(self.runs) - 1}"))

    def update_run(self, run, status):
        self.ended.append((run, status))

    def log_dict(self, run, values, file):
        self.recipe = values

    def log_batch(self, run, metrics):
        self.logged += [(run, *metric) for metric in metrics]

    def set_terminated(self, run, status):
        self.ended.append((run, status))


def test_mlflow_is_told_the_same_under_names_that_it_takes(monkeypatch, corpus, recipe, tmp_path):
    client = Client()
    entities = SimpleNamespace(Metric=lambda name, value, time, step: (name, value, step))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=lambda: client, entities=entities))
    chosen = recipe(**{"train.trackers": ("mlflow",), "train.epochs": float(NUM_EPOCHS)})
    fit_bare(chosen, corpus, tmp_path / "run")
    records = [one for one in read_records(str(tmp_path / "run")) if one["kind"] == "validation"]
    told = [tuple(rest) for _, name, *rest in client.logged if name == "validation/ndcg_at_10"]
    assert told == [(one["ndcg@10"], one["step"]) for one in records] and len(told) == NUM_EPOCHS
    assert client.recipe == chosen.model_dump(mode="json")
    shutil.rmtree(sorted((tmp_path / "run" / "checkpoints").iterdir())[-1])
    fit_bare(chosen, corpus, tmp_path / "run")
    assert [tags["mlflow.runName"] for tags in client.runs.values()] == ["run"]
    assert client.ended == [("run 0", "FINISHED"), ("run 0", "RUNNING"), ("run 0", "FINISHED")]
