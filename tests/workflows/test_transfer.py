"""The transfer job end to end on a small log: it pretrains, compares, reports, and goes on where it was stopped."""

import time

import pytest

from ray_userrep import storage
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.transfer.encoders import Keeper
from ray_userrep.workflows.transfer import run_transfer

TRANSFER = [
    "--encoder.backbone.kind", "cnn", "--encoder.backbone.num_blocks", "1", "--train.max_steps", "4",
    "--transfer.arms", '["scratch", "head_only", "serial_patches"]', "--transfer.num_seeds", "2",
    "--transfer.pretrain_seeds", "2",
    "--transfer.epochs", "2", "--transfer.batch_tokens", "512", "--evaluation.num_bootstrap", "100",
    "--transfer.label_shares", "[0.5, 1.0]", "--transfer.learning_rates", "[0.01]", "--transfer.beside_columns", "true",
]  # fmt: skip
ONE = ["--transfer.num_seeds", "1", "--transfer.pretrain_seeds", "1"]
ITEMS = ["--transfer.task.kind", "next_item", "--transfer.beside_columns", "false"]


@pytest.mark.system
def test_one_command_pretrains_compares_and_reports(
    ray_session, write_log, small, tmp_path, capsys, monkeypatch, same_page_again
):
    write_log(f"{tmp_path}/log")
    recipe = small(str(tmp_path), *TRANSFER)
    offers, offer = [], Keeper.offer

    def cut_short(*args):
        offers.append(args)
        if len(offers) == 3:
            raise KeyboardInterrupt
        offer(*args)

    monkeypatch.setattr(Keeper, "offer", cut_short)
    with pytest.raises(KeyboardInterrupt):
        run_transfer(recipe)
    done = outcomes_of_fits_under_way(f"{tmp_path}/run")
    assert len(done) >= 3 and not storage.exists(f"{tmp_path}/run/result.json")
    lost = done.pop()
    storage.delete(lost)
    written = {uri: storage.read_json(uri) for uri in done}
    monkeypatch.setattr(Keeper, "offer", offer)
    run_transfer(recipe)
    assert written == {uri: storage.read_json(uri) for uri in done} and storage.exists(lost)
    printed = capsys.readouterr().out
    assert "(resumed)" in printed and "serial_patches over scratch" in printed
    assert "trees on when and how often users came" in printed
    check_result(storage.read_json(f"{tmp_path}/run/result.json"))
    readouts_are_those_that_validation_prefers(f"{tmp_path}/run")
    the_best_encoder_is_kept(f"{tmp_path}/run", printed)
    same_page_again(f"{tmp_path}/run")
    page = storage.read_text(f"{tmp_path}/run/report.html")
    for words in (
        "<svg",
        "country: by share of labels",
        "majority",
        "boosted trees",
        "no overlap",
        "training users",
        "look-alike retrieval",
        "by how much is known of a user",
        "beside the columns you have",
        "Brier score",
        "Users without any history: 0",
        "from 2 pretrained encoders in turn",
    ):
        assert words in page
    with pytest.raises(UserError, match="holds a finished run"):
        run_transfer(recipe)
    refused_for_other_reasons(small, tmp_path)
    overlap_is_refused_before_pretraining(small, tmp_path)
    next_items_of_cold_users(small, tmp_path)


def outcomes_of_fits_under_way(run):
    """All of them, when they have ended: in a process that goes on, fits go on after an error."""
    asked = len(TRANSFER[TRANSFER.index("--transfer.arms") + 1].split(",")) * 2 * 2 * 2  # seeds, shares, readouts
    for _ in range(3000):
        if len(done := [entry.uri for entry in storage.list_files(f"{run}/fits", "outcome.json")]) == asked:
            return done
        time.sleep(0.1)
    raise AssertionError(f"{len(done)} of {asked} fits ended")


def overlap_is_refused_before_pretraining(small, tmp_path):
    task = [*ITEMS, "--transfer.task.items", "cold", "--transfer.arms", '["full"]']
    with pytest.raises(UserError, match=r"pretraining was trained on .* items that are held out"):
        run_transfer(small(str(tmp_path), *TRANSFER, *task, "--run", f"{tmp_path}/early"))
    assert not storage.exists(f"{tmp_path}/early/pretrain")


def next_items_of_cold_users(small, tmp_path):
    """The encoder that is there on another task, beside baselines of ranking."""
    task = [
        *ITEMS,
        "--transfer.task.users",
        "cold",
        "--transfer.arms",
        '["scratch", "full"]',
    ]
    place = ["--transfer.encoder", f"{tmp_path}/run/pretrain", "--run", f"{tmp_path}/cold", *ONE]
    run_transfer(small(str(tmp_path), *TRANSFER, *task, *place, "--transfer.label_shares", "[1.0]"))
    (found,) = storage.read_json(f"{tmp_path}/cold/result.json")["tasks"].values()
    metrics = found["shares"]["1"]["metrics"]
    assert found["headline"] == "ndcg@10" and {"scratch", "full", "popularity", "Markov"} <= set(metrics)
    assert 0 < metrics["full"]["ndcg@10"]["mean"] <= metrics["full"]["hr@10"]["mean"] <= 1


def check_result(result):
    task = result["tasks"]["country"]
    assert len(result["encoders"]) == 2 and "pretrain-1/encoder" in result["encoders"][1]
    assert result["overlap"] is True and result["counts"]["items_known"] == 40
    assert set(task["shares"]) == {"0.5", "1"} and task["headline"] == "auc"
    most, half = task["shares"]["1"], task["shares"]["0.5"]
    assert half["train_users"] == pytest.approx(most["train_users"] / 2, abs=1)
    assert set(most["cost"]) == {"scratch", "head_only", "serial_patches"} and len(most["baselines"]) == 6
    assert task["users"]["without_history"] == task["users"]["of_one"] == 0
    assert task["fusion"]["columns"] == [] and set(task["fusion"]["shares"]) == {"0.5", "1"}
    added = task["fusion"]["shares"]["1"]["over_columns"]
    assert added["low"] <= added["mean"] <= added["high"] and most["cost"]["head_only"]["trained"] == 2 * (16 + 10 + 1)
    alike = task["look_alikes"]
    assert {"pretrained, last", "pretrained, whole", "SVD-128", "random"} < set(alike) and len(alike) == 5
    assert all(0 < row["average precision"]["low"] <= row["average precision"]["high"] <= 1 for row in alike.values())
    for row in most["metrics"].values():
        assert 0 <= row["auc"]["low"] <= row["auc"]["mean"] <= row["auc"]["high"] <= 1
    assert most["metrics"]["majority"]["auc"]["mean"] == 0.5
    assert most["cost"]["scratch"]["trained_share"] == 1 > most["cost"]["serial_patches"]["trained_share"]
    assert set(most["over_scratch"]) == {"head_only", "serial_patches"}
    assert most["over_scratch"]["head_only"]["verdict"]
    few, many = task["activity"].values()
    assert few["users"] + many["users"] == task["users"]["test"]
    for half in (few, many):
        assert set(half["metrics"]) == set(most["metrics"]) and set(half["over_scratch"]) == set(most["over_scratch"])
    whole = most["metrics"]["scratch"]["accuracy"]["mean"] * task["users"]["test"]
    halves = sum(half["metrics"]["scratch"]["accuracy"]["mean"] * half["users"] for half in (few, many))
    assert halves == pytest.approx(whole)


def readouts_are_those_that_validation_prefers(run):
    for share, at in storage.read_json(f"{run}/result.json")["tasks"]["country"]["shares"].items():
        for arm, cost in at["cost"].items():
            for seed, readout in enumerate(cost["readouts"]):
                place = f"{run}/fits/country/{arm}/share-{share}/seed-{seed}"
                fits = [storage.read_json(entry.uri) for entry in storage.list_files(place, "outcome.json")]
                assert {fit["readout"] for fit in fits} == {"last", "whole"}
                assert readout in {f["readout"] for f in fits if f["validation"] == max(g["validation"] for g in fits)}


def the_best_encoder_is_kept(run, printed):
    kept = storage.read_json(f"{run}/result.json")["tasks"]["country"]["kept"]
    fits = {}
    for entry in storage.list_files(f"{run}/fits/country", "outcome.json"):
        if "/share-1/" in entry.uri:
            arm = entry.uri.split("/country/")[1].split("/")[0]
            fits.setdefault(arm, []).append(storage.read_json(entry.uri)["validation"])
    best = {arm: max(values) for arm, values in fits.items()}
    assert kept["validation"] == best[kept["arm"]] == max(best["scratch"], best["head_only"])
    assert (kept["better"] == ["serial_patches"]) == (best["serial_patches"] > kept["validation"])
    encoder = UserEncoder.from_pretrained(f"{run}/models/country")
    assert encoder.readout == kept["readout"] and kept["uri"].endswith("/models/country/encoder")
    rows = storage.read_parquet(kept["head"]["predictions"])
    assert set(rows["split"].to_pylist()) == {"train", "validation", "test"} and rows.num_rows == 150
    assert kept["head"]["model"] is None and "reads columns beside the vector and is not written" in printed
    told = f"the one fit that validated best, {kept['arm']} with seed {kept['seed']}"
    assert f"encoder: {told}" in printed
    weights = [entry.uri for entry in storage.list_files(f"{run}/fits", ".safetensors") if "/best/" in entry.uri]
    assert len(weights) == 1


def refused_for_other_reasons(small, tmp_path):
    """One line for each mistake, with the encoder that is there."""
    lines = {
        r"no encoder at .*nowhere": ["--transfer.encoder", f"{tmp_path}/nowhere"],
        r"no 'height' among the users' columns country": ["--transfer.task.attributes", '["height"]'],
        r"users to train on at label share 0\.001": ["--transfer.label_shares", "[0.001]"],
        r"autoencoding predicts from encoder\.readout mask, cls or mean, not last": [
            *ITEMS, "--objective.kind", "autoencoding", "--encoder.readout", "mask",
        ],
        r"cold items: pretraining was trained on \d+ of the \d+ items that are held out": [
            *ITEMS, "--transfer.task.items", "cold",
        ],
        r"transfer\.columns names country, which transfer\.task predicts": ["--transfer.columns", '["country"]'],
        r"transfer\.keep serial_patches: it adds parts": ["--transfer.keep", "serial_patches"],
        r"transfer\.num_last is 5": ["--transfer.arms", '["last_layers"]', "--transfer.num_last", "5"],
    }  # fmt: skip
    for number, (message, line) in enumerate(lines.items()):
        given = ["--transfer.encoder", f"{tmp_path}/run/pretrain", "--run", f"{tmp_path}/other-{number}", *ONE, *line]
        with pytest.raises(UserError, match=message) as caught:
            run_transfer(small(str(tmp_path), *TRANSFER, *given))
        assert "\n" not in str(caught.value)
