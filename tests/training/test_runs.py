"""Who may use a run folder: one process, one recipe, until it is finished."""

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training import runs


def test_a_run_is_started_once_and_resumed_by_the_same_recipe_only(recipe, tmp_path):
    uri = str(tmp_path / "run")
    assert runs.open_run(recipe(), uri) is False
    assert runs.open_run(recipe(), uri) is True
    with pytest.raises(UserError, match=r"another recipe \(it differs in seed, train\.epochs\)"):
        runs.open_run(recipe(seed=3, **{"train.epochs": 7.0}), uri)
    storage.write_json(f"{uri}/{runs.RESULT}", {})
    with pytest.raises(UserError, match="holds a finished run: name another"):
        runs.open_run(recipe(), uri)
    with pytest.raises(UserError, match=r"holds a finished run of another recipe \(it differs in seed\): name another"):
        runs.open_run(recipe(seed=3), uri)


def test_a_folder_of_something_else_is_not_written_into(recipe, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds files but no run"):
        runs.refuse_other(recipe(), str(tmp_path))


def test_hidden_files_are_something_else_too(recipe, tmp_path):
    (tmp_path / ".thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds files but no run"):
        runs.refuse_other(recipe(), str(tmp_path))


def test_a_run_that_was_moved_goes_on_where_it_is(recipe, tmp_path):
    runs.open_run(recipe(run=f"{tmp_path}/run"), f"{tmp_path}/run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert runs.open_run(recipe(run=f"{tmp_path}/moved"), f"{tmp_path}/moved") is True
    assert str(tmp_path) not in storage.read_text(f"{tmp_path}/moved/recipe.json")


def test_a_submitted_job_writes_nothing_where_ray_deletes_it(recipe, tmp_path, monkeypatch):
    package = tmp_path / "working_dir_files" / "_ray_pkg_0123"
    package.mkdir(parents=True)
    monkeypatch.chdir(package)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("USERREP_HOME", raising=False)
    assert runs.default_run_uri(recipe()).startswith(f"{tmp_path}/home/userrep/runs/small-")
    assert storage.kept("runs/a") == f"{tmp_path}/home/userrep/runs/a" and storage.kept("s3://b/a/") == "s3://b/a"
    monkeypatch.setenv("USERREP_HOME", "s3://bucket/kept/")
    assert runs.default_run_uri(recipe()).startswith("s3://bucket/kept/runs/small-")
    monkeypatch.chdir(tmp_path)
    assert storage.kept("runs/a") == f"{tmp_path}/runs/a"


def test_the_environment_says_what_a_reader_needs():
    environment = runs.environment()
    assert environment["versions"]["torch"] and environment["processor"] and environment["cores"]


def test_a_run_may_be_resumed_on_other_workers_and_at_another_stage(recipe, tmp_path):
    uri = str(tmp_path / "run")
    runs.open_run(recipe(), uri)
    elsewhere = recipe(**{"train.num_workers": 8, "train.min_workers": 2, "train.zero.stage": 3})
    assert runs.open_run(elsewhere, uri) is True
    assert storage.read_json(f"{uri}/recipe.json")["train"]["num_workers"] == 8


def test_more_workers_at_least_than_at_most_are_refused(recipe):
    with pytest.raises(ValueError, match=r"train\.min_workers 3 is more than train\.num_workers, 2"):
        recipe(**{"train.num_workers": 2, "train.min_workers": 3})
