"""What was in use of the cluster is noted while something is, and kept over restarts."""

import time

import ray

from ray_userrep.distributed.utilisation import Watch, utilisation


def test_what_is_in_use_is_noted_and_a_restart_goes_on_where_the_first_ended(ray_session, tmp_path):
    @ray.remote(num_cpus=2)
    def work(gate):
        while not gate.exists():
            time.sleep(0.01)

    while ray.available_resources().get("CPU", 0) < 2:  # fits that an earlier test left to end by themselves
        time.sleep(0.01)
    gate = tmp_path / "gate"
    for _ in range(2):
        with Watch(every=0.02) as watch:
            watch.keep(f"{tmp_path}/study")
            running = work.remote(gate)
            while watch.last.cores_used < 2:
                time.sleep(0.01)
            gate.touch()
            ray.get(running)
            while watch.last.cores_used > 0:
                time.sleep(0.01)
        gate.unlink()
        time.sleep(0.3)
    told = utilisation(f"{tmp_path}/study")
    assert {one["nodes"] for one in told} == {1} and {one["cores"] for one in told} == {2}
    assert {one["gpus"] for one in told} == {0}
    used = [one["cores_used"] for one in told]
    assert used[-1] == 0 and max(used) == 2 and used.count(2) >= 2
    assert len(told) <= 12  # in each of two times the ends of nothing, of work and of nothing again
    minutes = [one["minutes"] for one in told]
    assert minutes == sorted(minutes)
    paused = told[-1]["time"] - told[0]["time"] - 60 * minutes[-1]
    assert paused >= 0.3


def test_nothing_is_written_before_a_folder_is_named(ray_session, tmp_path):
    with Watch(every=0.02):
        pass
    assert list(tmp_path.iterdir()) == [] and utilisation(f"{tmp_path}/study") == []
