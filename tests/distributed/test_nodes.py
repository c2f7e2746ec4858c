"""A local path is refused where another node than the driver's may write to it."""

import pytest
import ray

from ray_userrep.distributed.nodes import refuse_unshared
from ray_userrep.errors import UserError


def node(name, cores, alive=True):
    return {"NodeID": name, "Alive": alive, "Resources": {"CPU": float(cores)} if cores else {}}


@pytest.fixture
def cluster(ray_session, monkeypatch):
    """Lays out nodes around the driver's own, which has some cores."""

    def lay_out(own_cores, *others):
        own = node(ray.get_runtime_context().get_node_id(), own_cores)
        monkeypatch.setattr(ray, "nodes", lambda: [own, *others])

    return lay_out


def test_the_driver_s_own_node_may_write_to_its_disk(cluster):
    refuse_unshared("/data/run")
    cluster(4, node("lost", 4, alive=False), node("helper", 0))
    refuse_unshared("/data/run")


@pytest.mark.parametrize(
    ("own_cores", "others", "said"),
    [
        (4, [node("a", 4)], "the cluster has 2 nodes that cannot all see it"),
        (0, [node("a", 4)], "the cluster has 2 nodes that"),
        (0, [], "nodes that are started when there is work"),
    ],
)
def test_a_local_path_is_refused_where_others_work(cluster, own_cores, others, said):
    cluster(own_cores, *others)
    with pytest.raises(UserError, match=f"run folder /data/run is a local path.*{said}.*--run"):
        refuse_unshared("/data/run", "run", "--run")
    refuse_unshared("s3://bucket/run")
