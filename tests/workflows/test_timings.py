"""What the parts of a job took is told by name, whatever they were."""

from ray_userrep.workflows.timings import places, timed


def test_parts_are_told_by_name_with_where_things_are():
    timings: dict[str, float] = {}
    with timed(timings, "prepare"):
        pass
    with timed(timings, "train"):
        pass
    assert list(timings) == ["prepare", "train"] and all(0 <= seconds < 1 for seconds in timings.values())
    time, result, made = places("/runs/one", timings, "encoder")
    assert time.split() == ["time", "prepare", "0", "s", "train", "0", "s"]
    assert result.split() == ["result", "/runs/one/result.json"] and made.split() == ["encoder", "/runs/one/encoder"]
