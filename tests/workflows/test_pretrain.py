"""The jobs end to end on a small log: on local folders and on a real object store."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.report import figures
from ray_userrep.report.pages import pretrain as pretrain_page
from ray_userrep.workflows.compare import compare_table
from ray_userrep.workflows.embed import run_embed
from ray_userrep.workflows.evaluate import run_evaluate
from ray_userrep.workflows.prepare import open_or_prepare
from ray_userrep.workflows.pretrain import run_pretrain
from tests.workflows.conftest import small_recipe, write_small_log


def check_result(result, num_interactions):
    assert result["counts"]["interactions"] == num_interactions
    assert set(result["baselines"]) == {"popularity", "recent popularity", "repeat last", "Markov", "co-occurrence"}
    for row in (result["metrics"], *result["baselines"].values()):
        metric = row["ndcg@10"]
        assert 0 <= metric["low"] <= metric["mean"] <= metric["high"] <= 1
    assert len(result["split_fingerprint"]) == 16


def test_everything_on_an_object_store(ray_session, s3_uri, write_log, small, tmp_path, capsys, same_page_again):
    num_interactions = write_log(f"{s3_uri}/log")
    recipe = small(s3_uri)
    returned = run_pretrain(recipe)
    printed = capsys.readouterr().out
    assert "NDCG@10" in printed and f"{s3_uri}/run/report.html" in printed
    result = storage.read_json(f"{s3_uri}/run/result.json")
    check_result(result, num_interactions)
    assert returned == result and result["run"] == f"{s3_uri}/run"
    same_page_again(f"{s3_uri}/run")
    assert result["metrics"]["ndcg@10"]["mean"] > 0.3
    assert "<svg" in storage.read_text(f"{s3_uri}/run/report.html")
    assert storage.read_json(f"{s3_uri}/run/recipe.json")["run"] is None
    assert storage.list_files(f"{s3_uri}/run/tensorboard") and storage.exists(f"{s3_uri}/run/metrics.jsonl")

    card = storage.read_text(f"{s3_uri}/run/encoder/README.md")
    assert f"{num_interactions:,} interactions of" in card
    assert f"NDCG@10 {result['metrics']['ndcg@10']['mean']:.4f}" in card
    run_embed(recipe, f"{s3_uri}/run", f"{s3_uri}/vectors")
    run_evaluate(recipe, f"{s3_uri}/run/encoder", f"{s3_uri}/evaluation")
    same_page_again(f"{s3_uri}/evaluation")
    again = storage.read_json(f"{s3_uri}/evaluation/result.json")
    assert again["metrics"] == result["metrics"]
    assert again["split_fingerprint"] == result["split_fingerprint"]
    compared = compare_table([f"{s3_uri}/run", f"{s3_uri}/evaluation"])
    assert compared["seeds"].tolist() == [2, 1]  # measured twice: one system, and the best simple method
    check_vectors(s3_uri, tmp_path)


def check_vectors(place, tmp_path):
    """An encoder loaded where there is neither Ray nor DeepSpeed maps raw ids to the vectors that embed wrote."""
    files = [e.uri for e in storage.list_files(f"{place}/vectors", ".parquet")]
    written = {row["user_id"]: row["vector"] for file in files for row in storage.read_parquet(file).to_pylist()}
    log = storage.read_text(f"{place}/log/interactions.csv").split()[1:]
    histories: dict[str, list[str]] = {}
    for user, item, _ in sorted((line.split(",") for line in log), key=lambda row: int(row[2])):
        histories.setdefault(user, []).append(item)
    assert set(written) == set(histories)
    (tmp_path / "histories.json").write_text(json.dumps(histories))
    code = f"""
import json, sys
sys.modules["ray"] = sys.modules["deepspeed"] = None
import numpy as np
from ray_userrep.encoder.user_encoder import UserEncoder
histories = json.load(open({str(tmp_path / "histories.json")!r}))
vectors = UserEncoder.from_pretrained({place + "/run/encoder"!r}).encode(list(histories.values()))
np.save({str(tmp_path / "vectors.npy")!r}, vectors)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    loaded = np.load(tmp_path / "vectors.npy")
    np.testing.assert_allclose(loaded, [written[user] for user in histories], atol=1e-5)


@pytest.fixture(scope="module")
def pretrained(ray_session, tmp_path_factory):
    """A place with a log, its corpus and a finished run whose encoder reads times."""
    place = tmp_path_factory.mktemp("pretrained")
    write_small_log(f"{place}/log")
    run_pretrain(of_three_steps(place))
    return place


def of_three_steps(place, *more):
    return small_recipe(str(place), "--train.max_steps", "3", "--encoder.context", '["hour"]', *more)


def test_an_encoder_that_reads_times_is_measured_mapped_and_embedded(pretrained, tmp_path):
    assert "A t-SNE map of" in storage.read_text(f"{pretrained}/run/report.html")
    run_embed(of_three_steps(pretrained), f"{pretrained}/run/encoder", f"{tmp_path}/vectors")
    assert storage.list_files(f"{tmp_path}/vectors", ".parquet")


def test_a_sample_of_the_users_is_told_with_its_figures(pretrained, tmp_path, capsys):
    recipe = of_three_steps(pretrained, "--evaluation.max_users", "20", "--evaluation.fitted_users", "30")
    result = run_evaluate(recipe, f"{pretrained}/run/encoder", str(tmp_path))
    users, tested = result["counts"]["users"], result["samples"]["ranked"]["of"]
    assert 20 < tested <= users and result["counts"]["test_users"] == 20
    assert result["samples"]["fitted"] == {"users": 30, "of": users}
    told = f"20 of {tested} users, a random sample by hashed id"
    assert f"paired over {told}" in capsys.readouterr().out
    page = storage.read_text(f"{tmp_path}/report.html")
    assert told in page and f"count 30 of {users} users, a random sample by hashed id" in page


def test_a_finished_run_is_refused(pretrained):
    with pytest.raises(UserError, match="holds a finished run"):
        run_pretrain(of_three_steps(pretrained))


@pytest.mark.system
def test_another_run_uses_the_corpus_again_and_keeps_it_whatever_is_published_later(pretrained, capsys):
    recipe = of_three_steps(pretrained, "--run", f"{pretrained}/other")
    first = run_pretrain(recipe)
    assert "is up to date (version 1)" in capsys.readouterr().out
    assert pq.read_table(f"{pretrained}/corpus/{corpus_items(pretrained)}").num_rows == 40
    storage.delete(f"{pretrained}/other/result.json")  # as if it had died while it was evaluated
    write_small_log(f"{pretrained}/log", seed=1)
    assert open_or_prepare(recipe).manifest.version == 2
    again = run_pretrain(recipe)
    assert [again[key] for key in ("metrics", "counts")] == [first[key] for key in ("metrics", "counts")]


def corpus_items(place):
    return storage.read_json(f"{place}/corpus/manifests/000001.json")["items"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "/log: there is nothing here"),
        ("user_id,item_id,timestamp\n", "the log is empty"),
        ("user_id,item,timestamp\na,b,1\n", "no column 'item_id'"),
        ("user_id,item_id,timestamp\na,b,yesterday\nb,c,today\n", "no timestamp can be read"),
        ("user_id,item_id,timestamp\na,b,1\nb,c,2\n", "no user in .* has two interactions"),
    ],
)
def test_a_bad_log_is_one_clear_line_and_nothing_is_left(ray_session, small, tmp_path, text, message):
    if text is not None:
        storage.write_text(f"{tmp_path}/log/interactions.csv", text)
    with pytest.raises(UserError, match=f"(?i){message}") as caught:
        run_pretrain(small(str(tmp_path)))
    assert "\n" not in str(caught.value)
    assert not storage.exists(f"{tmp_path}/run")
    assert not [path for path in (tmp_path / "corpus").rglob("*") if path.is_file()]


@pytest.mark.system
def test_a_result_is_stored_before_its_page_and_a_picture_ends_no_run(
    ray_session, write_log, small, tmp_path, monkeypatch
):
    write_log(f"{tmp_path}/log")

    def broken(*_: object) -> None:
        raise ZeroDivisionError("no plane")

    monkeypatch.setattr("ray_userrep.evaluation.portrait._plane", broken)
    monkeypatch.setattr(figures, "bars", broken)
    drawn: list[bool] = []
    result_uri = f"{tmp_path}/run/result.json"
    draw = pretrain_page.draw
    monkeypatch.setattr(pretrain_page, "draw", lambda folder: drawn.append(storage.exists(result_uri)) or draw(folder))
    run_pretrain(small(str(tmp_path), "--train.max_steps", "3"))
    assert drawn == [True]
    page = storage.read_text(f"{tmp_path}/run/report.html")
    assert "Users could not be laid out on a plane: ZeroDivisionError: no plane" in page
    assert "A picture could not be drawn (ZeroDivisionError: no plane)" in page and "<svg" in page
    assert set(storage.read_json(result_uri)["user_map"]) == {"attribute", "xy", "labels", "failed"}


def test_a_missing_bucket_is_named(ray_session, s3_uri, small):
    with pytest.raises(UserError, match="no-such-bucket-here"):
        run_pretrain(small("s3://no-such-bucket-here"))


def test_a_run_that_diverges_names_the_step_and_stays_unfinished(ray_session, write_log, small, tmp_path):
    write_log(f"{tmp_path}/log")
    with pytest.raises(UserError, match=r"the loss was (nan|inf) at step \d+"):
        run_pretrain(small(str(tmp_path), "--train.learning_rate", "1e20", "--train.clip_norm", "1e30"))
    assert not storage.exists(f"{tmp_path}/run/result.json") and not storage.exists(f"{tmp_path}/run/lease.json")
