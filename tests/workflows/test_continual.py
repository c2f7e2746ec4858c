"""The continual job end to end on a small log: it learns in turn, reports, and goes on where it was stopped."""

import shutil

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.transfer.continual import fit as continual
from ray_userrep.workflows.continual import run_continual

SEQUENCE = [
    "--encoder.backbone.kind", "cnn", "--encoder.backbone.num_blocks", "1", "--evaluation.num_bootstrap", "100",
    "--transfer.epochs", "1", "--transfer.batch_tokens", "512", "--continual.num_seeds", "2", "--train.epochs", "1",
    "--continual.methods", '["conure", "in_turn", "single", "multi_task"]',
]  # fmt: skip

ONE_METHOD = ["--continual.methods", '["conure"]', "--continual.num_seeds", "1"]


def test_one_command_learns_in_turn_and_reports(
    ray_session, write_log, small, tmp_path, capsys, monkeypatch, same_page_again
):
    write_log(f"{tmp_path}/log")
    recipe = small(str(tmp_path), *SEQUENCE)
    phases, adapt = [], continual.adapt

    def cut_short(*args):
        phases.append(args)
        if len(phases) == 4:
            raise KeyboardInterrupt
        return adapt(*args)

    monkeypatch.setattr(continual, "adapt", cut_short)
    with pytest.raises(KeyboardInterrupt):
        run_continual(recipe)
    done = [entry.uri for entry in storage.list_files(f"{tmp_path}/run", "outcome.json")]
    assert len(done) == 1
    written = storage.read_json(done[0])
    monkeypatch.setattr(continual, "adapt", adapt)
    run_continual(recipe)
    assert storage.read_json(done[0]) == written
    printed = capsys.readouterr().out
    assert "(resumed)" in printed and "conure: all earlier tasks predict bit for bit" in printed
    check_result(storage.read_json(f"{tmp_path}/run/result.json"))
    same_page_again(f"{tmp_path}/run")
    page = storage.read_text(f"{tmp_path}/run/report.html")
    for words in (
        "Forgotten at the end",
        "after 2",
        "2. country (auc)",
        "backbone.blocks.0.first.weight",
        "rgba(",
        "no overlap",
    ):
        assert words in page
    with pytest.raises(UserError, match="holds a finished run"):
        run_continual(recipe)
    refused(small, tmp_path)
    another_corpus(small, tmp_path)


def another_corpus(small, tmp_path):
    """A later task on other items: they get vectors of their own, and the first task's stay."""
    shutil.copytree(tmp_path / "corpus", tmp_path / "shop")
    tasks = f'[{{"task": {{"kind": "next_item"}}}}, {{"task": {{"kind": "next_item"}}, "corpus": "{tmp_path}/shop"}}]'
    run_continual(small(str(tmp_path), *SEQUENCE, "--continual.tasks", tasks, "--run", f"{tmp_path}/two", *ONE_METHOD))
    result = storage.read_json(f"{tmp_path}/two/result.json")
    assert list(result["tasks"]) == ["next item, warm users", "next item, warm users of shop"]
    assert result["methods"]["conure"]["unchanged"] == [[True, True], [None, True]] and result["over_single"] == {}


def check_result(result):
    assert list(result["tasks"]) == ["next item, warm users", "country"] and result["overlap"] is True
    assert result["tasks"]["country"]["baselines"]["majority"]["mean"] == 0.5
    assert set(result["methods"]) == {"conure", "in_turn", "single", "multi_task"}
    for name, found in result["methods"].items():
        assert [[cell is None for cell in row] for row in found["matrix"]] == [[False, False], [True, False]]
        best, last = (found["matrix"][0][time]["mean"] for time in (0, 1))
        assert found["forgetting"] == pytest.approx([max(best, last) - last, 0.0])
        assert found["unchanged"][0][1] == (name not in ("in_turn", "multi_task"))
        for row in found["matrix"]:
            assert all(0 <= cell["low"] <= cell["mean"] <= cell["high"] <= 1 for cell in row if cell)
    for at, share in zip(result["methods"]["conure"]["used"], (0.3, 0.51), strict=True):
        assert len(at) == 2 and all(value == pytest.approx(share, abs=0.01) for value in at.values())
    assert [len(row) for row in result["over_single"].values()] == [2, 2, 2]
    assert result["over_single"]["in_turn"][0]["p"] <= 1


def refused(small, tmp_path):
    """One line for each mistake, before anything is trained."""
    lines = {
        r"a sequence is learned with one rate": ["--transfer.learning_rates", "[0.1, 0.01]"],
        r"transfer\.encoder is not for this job": ["--transfer.encoder", f"{tmp_path}/run"],
        r"conure masks linear maps": ["--encoder.backbone.kind", "mean", "--encoder.backbone.num_layers", "0"],
        r"each once: country, country": [
            "--continual.tasks", '[{"task": {"kind": "attribute"}}, {"task": {"kind": "attribute"}}]',
        ],
        r"encoder\.items\.kind rows cannot be frozen": [
            "--encoder.items.kind", "rows", "--objective.softmax.kind", "sampled",
        ],
    }  # fmt: skip
    for number, (message, line) in enumerate(lines.items()):
        kept = [] if "--encoder.backbone.kind" in line else SEQUENCE
        with pytest.raises(UserError, match=message) as caught:
            run_continual(small(str(tmp_path), *kept, "--run", f"{tmp_path}/other-{number}", *line))
        assert "\n" not in str(caught.value)
