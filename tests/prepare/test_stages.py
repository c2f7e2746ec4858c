"""Builds: what was finished is found again by the same key, until it is published or dropped."""

import pytest

from ray_userrep.prepare.stages import PEAK, Build, StageProgress, begin

KEY = {"source_fingerprint": "f", "num_buckets": 8}


def test_a_finished_stage_is_not_done_again(tmp_path):
    first = begin(str(tmp_path), KEY)
    assert first.stage("one", lambda: {"found": 2**60, PEAK: 7})["found"] == 2**60
    again = begin(str(tmp_path), KEY)
    assert again.folder == first.folder and again.finished == 0
    assert again.stage("one", lambda: pytest.fail("done twice"))["found"] == 2**60
    assert again.peak_bytes == {"one": 7} and again.finished == 1
    assert begin(str(tmp_path), KEY | {"num_buckets": 9}).folder != first.folder


@pytest.mark.parametrize("end", [Build.settle, Build.drop])
def test_nobody_continues_a_build_that_was_published_or_dropped(end, tmp_path):
    first = begin(str(tmp_path), KEY)
    first.stage("one", lambda: {PEAK: 1})
    end(first)
    assert (tmp_path / first.folder / "staging" / "one.json").exists() == (end is Build.settle)
    assert begin(str(tmp_path), KEY).folder != first.folder


def test_a_build_without_a_note_is_nobodys(tmp_path):
    build = Build(str(tmp_path), "data/here/delta")
    build.stage("one", lambda: {PEAK: 1})
    build.settle()
    build.clean()
    assert not (tmp_path / "unfinished").exists() and not (tmp_path / "data/here/delta/staging").exists()


def test_progress_tells_rate_and_time_left(monkeypatch, capsys):
    times = iter([0.0, 5.0, 20.0, 21.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    progress = StageProgress("sort", 400)
    progress.add(50)
    progress.add(50)
    progress.end("done")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["prepare sort 100 interactions of 400, 60 s left (5 a second)", "prepare sort 21.0 s done"]
