"""Which corpus a recipe means, and what a preparation says."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from ray_userrep.corpus.manifest import NO_TIMES
from ray_userrep.corpus.store import newest_version
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.workflows.compact import run_compact
from ray_userrep.workflows.prepare import open_or_prepare, run_prepare

pytestmark = pytest.mark.usefixtures("ray_session")


def write_log(folder, count=40):
    folder.mkdir(exist_ok=True)
    rows = {
        "user_id": [n % 7 for n in range(count)],
        "item_id": [n % 5 for n in range(count)],
        "timestamp": range(count),
    }
    pq.write_table(pa.table({name: pa.array(values) for name, values in rows.items()}), folder / "log.parquet")
    return str(folder)


def recipe(logs=None, corpus=None, **fields):
    return Recipe.model_validate({"name": "t", "logs": {"uri": logs}, "corpus": {"uri": corpus, **fields}})


def test_a_log_without_a_named_corpus_gets_a_folder_named_by_what_goes_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = write_log(tmp_path / "logs")
    first, again = (open_or_prepare(recipe(logs)) for _ in range(2))
    assert first.uri == again.uri and again.manifest.version == 1
    assert first.uri.startswith(str(tmp_path / "corpora" / "tabular-"))
    other_layout = open_or_prepare(recipe(logs, num_buckets=3))
    write_log(tmp_path / "logs", 41)
    other_log = open_or_prepare(recipe(logs))
    assert len({first.uri, other_layout.uri, other_log.uri}) == 3


def test_a_named_corpus_is_opened_without_its_log(tmp_path):
    logs, corpus = write_log(tmp_path / "logs"), str(tmp_path / "corpus")
    prepared = open_or_prepare(recipe(logs, corpus))
    (tmp_path / "logs" / "log.parquet").unlink()
    assert open_or_prepare(recipe(None, corpus)).manifest == prepared.manifest


def test_a_named_corpus_follows_its_log(tmp_path):
    logs, corpus = write_log(tmp_path / "logs"), str(tmp_path / "corpus")
    open_or_prepare(recipe(logs, corpus))
    write_log(tmp_path / "logs", 41)
    assert open_or_prepare(recipe(logs, corpus)).manifest.num_interactions == 41
    assert newest_version(corpus) == 2


@pytest.mark.parametrize("inside", ["", "corpus", "deeper/corpus"])
def test_a_corpus_or_run_inside_its_log_is_refused(tmp_path, monkeypatch, inside):
    logs = write_log(tmp_path / "logs")
    with pytest.raises(UserError, match=r"the corpus would lie inside the log's folder, .*logs.*--corpus"):
        open_or_prepare(recipe(logs, f"{logs}/{inside}"))
    ran = Recipe.model_validate({"name": "t", "logs": {"uri": logs}, "run": f"{logs}/{inside}"})
    with pytest.raises(UserError, match="the run would lie inside"):
        open_or_prepare(ran)
    monkeypatch.chdir(logs)
    with pytest.raises(UserError, match="the corpus would lie inside"):
        open_or_prepare(recipe("."))


def test_a_preparation_prints_its_counts_and_its_place(tmp_path, capsys):
    run_prepare(recipe(write_log(tmp_path / "logs"), str(tmp_path / "corpus")))
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["interactions", "40"] in printed and ["users", "7"] in printed and ["items", "5"] in printed
    assert ["corpus", str(tmp_path / "corpus"), "(version", "1)"] in printed


def test_a_log_without_times_says_so_and_is_refused_where_times_are_read(tmp_path, capsys):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "log.csv").write_text("user_id,item_id\n" + "".join(f"{n % 7},{n % 5}\n" for n in range(40)))
    asked = recipe(str(logs), str(tmp_path / "corpus"))
    asked = asked.model_copy(update={"logs": asked.logs.model_copy(update={"order": "row"})})
    result = run_prepare(asked)
    assert NO_TIMES in capsys.readouterr().out and result["counts"]["order"] == "row"
    assert NO_TIMES in (tmp_path / "corpus" / "report.html").read_text()
    reads = EncoderConfig(context=("event", "gap"))
    for told, message in ((asked, "logs.order row does without"), (recipe(None, asked.corpus.uri), "only the order")):
        with pytest.raises(UserError, match=rf"encoder\.context gap reads times, and .*{message}"):
            open_or_prepare(told.model_copy(update={"encoder": reads}))


def test_items_without_the_columns_that_are_read_are_refused_before_any_work(tmp_path):
    logs, corpus = write_log(tmp_path / "logs"), str(tmp_path / "corpus")
    encoder = EncoderConfig.model_validate({"items": {"kind": "features", "columns": ["brand.2"]}})
    with pytest.raises(UserError, match="the column 'brand', which the items of this log lack; they have none"):
        open_or_prepare(recipe(logs, corpus).model_copy(update={"encoder": encoder}))
    assert newest_version(corpus) is None, "the log was not prepared"
    open_or_prepare(recipe(logs, corpus))
    with pytest.raises(UserError, match="the column 'brand'"):
        open_or_prepare(recipe(None, corpus).model_copy(update={"encoder": encoder}))


def test_a_local_corpus_is_refused_where_several_nodes_would_write_it(monkeypatch, tmp_path):
    node = {"Alive": True, "Resources": {"CPU": 4.0}, "NodeID": "other"}
    monkeypatch.setattr(ray, "nodes", lambda: [node, node])
    with pytest.raises(UserError, match="the cluster has 2 nodes"):
        open_or_prepare(recipe(write_log(tmp_path / "logs"), str(tmp_path / "corpus")))


def test_new_files_of_the_log_are_appended_and_an_older_version_is_opened(tmp_path, capsys):
    logs, corpus = write_log(tmp_path / "logs"), str(tmp_path / "corpus")
    run_prepare(recipe(logs, corpus, append=True))  # the first time there is nothing to append to
    later = {"user_id": [1, 9], "item_id": [77, 1], "timestamp": [1_600_000_000, 1_600_000_001]}
    pq.write_table(pa.table(later), tmp_path / "logs" / "later.parquet")
    for _ in range(2):
        run_prepare(recipe(logs, corpus, append=True))
    grown = open_or_prepare(recipe(logs, corpus))
    assert (grown.manifest.version, grown.manifest.num_interactions, grown.manifest.num_users) == (2, 42, 8)
    assert f"{corpus} has every file of the log (version 2)" in capsys.readouterr().out
    assert open_or_prepare(recipe(None, corpus, version=1)).manifest.num_interactions == 40
    run_compact(recipe(None, corpus))
    run_compact(recipe(None, corpus))
    printed = capsys.readouterr().out
    assert printed.count(f"corpus    {corpus} (version 3)") == 2 and "has one file a bucket (version 3)" in printed


@pytest.mark.parametrize(
    ("job", "fields", "message"),
    [
        (run_prepare, {"append": True}, "corpus.append needs a corpus: name it with --corpus"),
        (run_prepare, {"version": 2}, "corpus.version needs a corpus"),
        (run_prepare, {"append": True, "corpus": "c"}, "corpus.append needs the log, or its new files"),
        (run_prepare, {"append": True, "version": 1, "corpus": "c"}, "leave out corpus.version"),
        (run_compact, {}, "name it with --corpus"),
        (run_compact, {"corpus": "nowhere"}, "no corpus at .*nowhere"),
    ],
)
def test_a_version_that_cannot_be_meant_is_refused(job, fields, message):
    with pytest.raises(UserError, match=message):
        job(recipe(**fields))
