"""What a run records of its domains adds up to what its plan says."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit
from ray_userrep.training.records import progress_line
from ray_userrep.training.runs import read_records


def in_domains(corpus: Corpus, names: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Corpus:
    """The corpus with the domain of each interaction by its user and its place in the file."""
    for file in corpus.manifest.sequences:
        uri = storage.join(corpus.uri, file.path)
        table = storage.read_parquet(uri)
        lengths = np.diff(table["items"].combine_chunks().offsets.to_numpy())
        users = np.repeat(table["user_id"].to_numpy(), lengths)
        own = names(users, np.arange(len(users)))
        offsets = table["items"].combine_chunks().offsets
        table = table.append_column("domain", pa.ListArray.from_arrays(offsets, pa.array(own.tolist())))
        storage.write_parquet(uri, table)
    update = {"domains": {"common": 1, "rare": 1}, "side_columns": ["domain"]}
    return Corpus(corpus.uri, corpus.manifest.model_copy(update=update))


@pytest.fixture
def with_domains(corpus) -> Corpus:
    """The corpus, every user in one of two domains, one of them rare."""
    return in_domains(corpus, lambda users, _: np.where(users % 5 == 0, "rare", "common"))


@pytest.fixture
def across_domains(corpus) -> Corpus:
    """The corpus, but for some users of one domain every third interaction is in the other."""
    return in_domains(corpus, lambda users, n: np.where((users % 5 > 0) & (n % 3 == 0), "rare", "common"))


def test_two_domains_of_a_user_are_read_and_told_from_other_users(across_domains, recipe, tmp_path):
    chosen = recipe(**{
        "objective": {"kind": "contrastive", "views": "domains"}, "encoder.readout": "mean", "train.max_steps": 60,
        "train.epochs": 60.0, "stream.max_len": 16,
    })  # fmt: skip
    run = str(tmp_path / "run")
    fit(chosen, across_domains, run, lambda m: BareEngine(m, chosen.train, torch.device("cpu")), lambda record: None)
    losses = [loss for record in read_records(run) if record["kind"] == "train" for loss in record["losses"]]
    assert len(losses) == 60 and 0 < np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_records_of_a_run_add_up_to_the_account_of_its_epochs(with_domains, recipe, tmp_path, temperature):
    chosen = recipe(**{"stream.domain_temperature": temperature, "train.epochs": 50, "train.max_steps": 40})
    run = str(tmp_path / "run")
    state = fit(
        chosen,
        with_domains,
        run,
        lambda model: BareEngine(model, chosen.train, torch.device("cpu")),
        lambda record: None,
    )
    epochs = [record for record in read_records(run) if record["kind"] == "epoch"]
    assert [record["epoch"] for record in epochs] == list(range(state.position.epoch + 1))
    whole = sum((Counter(record["trained"]) for record in epochs[:-1]), Counter())
    seen = sum((Counter(r["targets"]) for r in read_records(run) if r["kind"] == "train"), Counter())
    last = Counter(epochs[-1]["trained"])
    assert all(whole[name] <= seen[name] <= whole[name] + last[name] for name in ("common", "rare"))
    repeated, left_out = epochs[0]["repeated"], epochs[0]["left_out"]
    assert (repeated["rare"] > 0) == (left_out["common"] > 0) == (temperature > 1)
    assert repeated["common"] == left_out["rare"] == 0
    assert f"rare {epochs[0]['trained']['rare']:,} of {epochs[0]['targets']['rare']:,}" in progress_line(epochs[0])
