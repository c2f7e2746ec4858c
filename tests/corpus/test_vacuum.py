"""What a kept version reads stays, what only older ones read goes, and what somebody may be writing is left alone."""

import os
import shutil
import time

import pytest

from ray_userrep import storage
from ray_userrep.cli import main
from ray_userrep.corpus.manifest import SequenceFiles
from ray_userrep.corpus.outline import outline_path
from ray_userrep.corpus.store import open_corpus, publish, versions
from ray_userrep.corpus.vacuum import files_of, vacuum
from ray_userrep.errors import UserError
from ray_userrep.recipe.upkeep import VacuumConfig


@pytest.fixture
def grown(corpus):
    """Three versions, each with another file for one more bucket."""
    for version in (2, 3):
        base = open_corpus(corpus.uri).manifest
        replaced, *others = sorted(base.sequences, key=lambda file: file.path.startswith("data/build"))
        path = f"data/build-{version}/sequences/bucket={replaced.bucket:05d}/part-0.parquet"
        for here in (str, outline_path):
            os.makedirs(os.path.dirname(f"{corpus.uri}/{path}"), exist_ok=True)
            shutil.copy(f"{corpus.uri}/{here(replaced.path)}", f"{corpus.uri}/{here(path)}")
        files = SequenceFiles.of([replaced.model_copy(update={"path": path}), *others])
        assert publish(corpus.uri, base.model_copy(update={"version": version, "sequences": files}))
    return corpus.uri


def below(uri):
    return {entry.uri.removeprefix(f"{uri}/") for entry in storage.list_files(f"{uri}/data", hidden=True)}


def named(uri, number):
    return set(files_of(open_corpus(uri, number).manifest))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_what_kept_versions_read_stays_and_nothing_else(grown, keep):
    needed = set().union(*(named(grown, number) for number in range(4 - keep, 4)))
    before, sizes = below(grown), {path: os.path.getsize(f"{grown}/{path}") for path in below(grown)}
    told = vacuum(grown, VacuumConfig(keep=keep, dry_run=True))
    assert below(grown) == before and versions(grown) == [1, 2, 3]
    vacuum(grown, VacuumConfig(keep=keep))
    assert below(grown) == needed and versions(grown) == list(range(4 - keep, 4))
    assert told.num_bytes == sum(sizes[path] for path in before - needed)
    assert {storage.join(grown, path) for path in before - needed} == {
        entry.uri for entries in told.files.values() for entry in entries
    }
    corpus = open_corpus(grown)
    assert sum(len(corpus.bucket(number).items_N) for number in corpus.buckets()) == corpus.manifest.num_interactions
    assert sum(map(len, vacuum(grown, VacuumConfig(keep=keep)).files.values())) == 0


def test_a_build_that_is_being_written_stays_until_it_is_old(grown):
    for name in ("fresh", "continued"):
        storage.write_text(f"{grown}/data/{name}/staging/rows/a", "rows")
    storage.write_json(f"{grown}/unfinished/0123.json", {"folder": "data/continued"})
    left = vacuum(grown, VacuumConfig()).left
    assert left.keys() == {"data/fresh", "data/continued"} and "0.0 hours ago" in left["data/fresh"]
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(f"{grown}/data/continued/staging/rows/a", (eight_days_ago, eight_days_ago))
    assert vacuum(grown, VacuumConfig()).left.keys() == {"data/fresh"}
    assert below(grown) - named(grown, 3) == {"data/fresh/staging/rows/a"}
    assert storage.list_files(f"{grown}/unfinished") == []


def test_a_version_that_cannot_be_read_is_dropped_and_one_that_is_to_be_kept_stops_it(grown):
    storage.write_text(f"{grown}/manifests/000002.json", "{}")
    with pytest.raises(UserError):
        vacuum(grown, VacuumConfig(keep=2))
    assert versions(grown) == [1, 2, 3]
    vacuum(grown, VacuumConfig())
    assert versions(grown) == [3] and named(grown, 3) <= below(grown)
    with pytest.raises(UserError, match="no corpus at"):
        vacuum(f"{grown}/nothing", VacuumConfig())


def test_from_the_command_line(grown, capsys):
    main(["vacuum", grown, "--keep", "2", "--dry-run"])
    told = capsys.readouterr().out
    assert "would delete versions: 1; 2 files" in told and versions(grown) == [1, 2, 3]
    main(["vacuum", grown, "--keep", "2"])
    assert "deleted versions: 1; 2 files" in capsys.readouterr().out and versions(grown) == [2, 3]
