"""The transfer job between two logs: it pretrains on the one, asks about the other, and chooses the smallest error."""

import pytest

from ray_userrep import storage
from ray_userrep.command import parse
from ray_userrep.errors import UserError
from ray_userrep.workflows.transfer import run_transfer
from tests.transfer.conftest import taste, two_logs
from tests.workflows.conftest import SMALL

FITS = [
    "--recipe", "ptupcdr", *SMALL, "--transfer.epochs", "8", "--transfer.batch_tokens", "256",
    "--transfer.learning_rates", "[0.001, 0.03]", "--transfer.num_seeds", "1", "--transfer.task.width", "4",
    "--transfer.arms", '["scratch", "head_only", "ptupcdr"]',
]  # fmt: skip


@pytest.mark.system
def test_one_command_pretrains_on_one_log_and_asks_about_the_other(ray_session, tmp_path, capsys, same_page_again):
    source, target = two_logs(tmp_path, taste, has_halves=False)
    places = ["--corpus", source.uri, "--transfer.corpus", target.uri, "--run", f"{tmp_path}/run"]
    result = run_transfer(parse([*places, *FITS]))
    (found,) = result["tasks"].values()
    most = found["shares"]["1"]
    assert found["headline"] == "mae" and found["smaller_is_better"] == ["mae", "rmse"] and result["overlap"] is True
    assert (
        set(most["metrics"]) == {"scratch", "head_only", "ptupcdr", *most["baselines"]} and len(most["baselines"]) == 3
    )
    rates_are_those_of_the_smallest_error(f"{tmp_path}/run", most["cost"])
    error = {name: row["mae"]["mean"] for name, row in most["metrics"].items()}
    assert error["ptupcdr"] < 0.8 * error["item mean + source bias"]
    assert min(most["validation"], key=most["validation"].get) == "ptupcdr"
    printed = capsys.readouterr().out
    assert "validation chose ptupcdr" in printed and "ptupcdr over scratch -" in printed
    assert "better than scratch" in most["over_scratch"]["ptupcdr"]["verdict"]
    same_page_again(f"{tmp_path}/run")
    assert "The shorter the bar, the better" in storage.read_text(f"{tmp_path}/run/report.html")
    another = [
        "--corpus",
        target.uri,
        "--transfer.corpus",
        source.uri,
        "--transfer.encoder",
        f"{tmp_path}/run/pretrain",
    ]
    with pytest.raises(UserError, match="may have seen what test users did in the other domain"):
        run_transfer(parse([*another, "--run", f"{tmp_path}/other", *FITS]))


def rates_are_those_of_the_smallest_error(run, costs):
    written = [entry.uri for entry in storage.list_files(f"{run}/fits", "outcome.json")]
    for arm, cost in costs.items():
        fits = [storage.read_json(uri) for uri in written if f"/{arm}/" in uri]
        best = min(fits, key=lambda fit: fit["validation"])
        assert len(fits) == 2 and cost["learning_rates"] == [best["learning_rate"]]
