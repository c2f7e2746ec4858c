"""On Ray Serve, under load: the vectors of `encode`, while the encoder is changed and while replicas die."""

import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import ray
from ray import serve

from ray_userrep.encoder.folder import fingerprint
from ray_userrep.endpoint import room
from ray_userrep.endpoint.deployment import application, build
from ray_userrep.endpoint.room import no_room
from ray_userrep.errors import UserError
from ray_userrep.recipe.serve import ServeConfig
from ray_userrep.workflows.serve import NAME, start
from tests.endpoint.conftest import built

HISTORIES = [[f"item-{(7 * user + step) % 30}" for step in range(user % 9 + 1)] for user in range(24)]


class Endpoint:
    """An endpoint on the shared Ray, and the encoders that it may serve."""

    def __init__(self, place: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.config = ServeConfig(port=port, cpus_per_replica=0.5, batch_size=8, timeout=300)
        self.folders = [f"{place}/{seed}" for seed in range(2)]
        self.vectors: dict[str, Any] = {}
        for seed, folder in enumerate(self.folders):
            encoder = built(seed)
            encoder.save_pretrained(folder)
            self.vectors[fingerprint(folder)] = encoder.encode(HISTORIES)

    def run(self, number: int) -> None:
        serve.run(application(self.folders[number], self.config, None), name=NAME, route_prefix="/")

    def ask(self, user: int, patience: float = 300) -> int:
        """The status of a request; what it answers are the vectors of the encoder that it names.

        Raises:
            OSError: there was no answer in `patience` seconds, or the connection was lost.
        """
        body = json.dumps({"histories": [HISTORIES[user]]}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.config.port}/v1/vectors", body)
        try:
            with urllib.request.urlopen(request, timeout=patience) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code
        np.testing.assert_allclose(told["vectors"][0], self.vectors[told["encoder"]][user], atol=1e-5)
        return 200

    def served(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.config.port}/readyz", timeout=300) as answer:
            name: str = json.load(answer)["encoder"]
        return name


@pytest.fixture(scope="module")
def endpoint(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    made = Endpoint(str(tmp_path_factory.mktemp("encoders")))
    start(made.config)
    made.run(0)
    yield made
    serve.shutdown()


@contextmanager
def load(ask: Callable[[int], int], clients: int = 8) -> Iterator[list[int]]:
    """Clients that ask until the block ends, each once more after it; the statuses that they got."""
    statuses: list[int] = []
    asked, over = threading.Semaphore(0), threading.Event()

    def client(number: int) -> None:
        is_last = False
        for turn in range(10**6):
            statuses.append(ask((number + turn) % len(HISTORIES)))
            asked.release()
            if is_last:
                return
            is_last = over.is_set()

    with ThreadPoolExecutor(clients) as pool:
        done = [pool.submit(client, number) for number in range(clients)]
        for _ in range(clients):
            asked.acquire()
        try:
            yield statuses
        finally:
            over.set()
        for one in done:
            one.result()


def replicas(of: str) -> list[str]:
    names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]
    return [name for name in names if name.startswith(f"SERVE_REPLICA::{NAME}#{of}#")]


def test_clients_get_vectors_of_encode(endpoint):
    with load(endpoint.ask) as statuses:
        assert endpoint.served() == next(iter(endpoint.vectors))
    assert len(statuses) >= 16 and set(statuses) == {200}


@pytest.mark.system
def test_no_request_fails_while_the_encoder_is_changed_and_a_replica_dies(endpoint):
    _, second = endpoint.vectors
    with load(endpoint.ask) as statuses:
        endpoint.run(1)
        (replica,) = replicas("Encoders")
        ray.kill(ray.get_actor(replica, namespace="serve"), no_restart=True)
    assert endpoint.served() == second
    assert set(statuses) == {200}


@pytest.mark.system
def test_a_door_that_dies_loses_nothing_that_is_sent_again(endpoint):
    def again(user: int) -> int:
        for _ in range(20):
            try:
                if (status := endpoint.ask(user, patience=20)) == 200:
                    return status
                assert status >= 500
            except OSError:  # what was handed to a door as it died may never be answered
                continue
        return status

    with load(again) as statuses:
        (door,) = replicas("Door")
        ray.kill(ray.get_actor(door, namespace="serve"), no_restart=True)
    assert set(statuses) == {200}


def test_a_config_file_for_serve_names_encoder_and_fields_and_wants_a_token(monkeypatch, tmp_path):
    built().save_pretrained(tmp_path)
    monkeypatch.delenv("RAY_USERREP_TOKEN", raising=False)
    with pytest.raises(UserError, match="others can reach it: set a token"):
        build({"encoder": str(tmp_path)})
    monkeypatch.setenv("RAY_USERREP_TOKEN", "0123456789abcdef")
    assert isinstance(build({"encoder": str(tmp_path), "max_replicas": "4"}), serve.Application)
    with pytest.raises(UserError, match=r"unknown field serve\.batches: did you mean serve\.batch_"):
        build({"encoder": str(tmp_path), "batches": "4"})
    with pytest.raises(UserError, match="args: encoder is missing"):
        build({})


def test_what_is_missing_is_told_with_what_is_free():
    told = no_room(2, ServeConfig(cpus_per_replica=4, gpus_per_replica=0.5), [{"CPU": 3.0}, {"CPU": 1.5, "GPU": 0.25}])
    assert "no room for 2 of the endpoint's replicas: each wants 4 CPU and 0.5 GPU" in told
    assert "at most 3 CPU and 0.25 GPU are free" in told and "--serve.cpus_per_replica" in told


@pytest.mark.system
def test_a_change_without_room_says_so_and_goes_on_when_there_is(endpoint, monkeypatch, capsys):
    monkeypatch.setattr(room, "_PATIENCE", 1.0)
    larger = endpoint.config.model_copy(update={"cpus_per_replica": 1.0})
    other = ray.remote(num_cpus=1)(Idle).remote()
    ray.get(other.is_there.remote())

    def change() -> None:
        with room.told_of_no_room(NAME, larger):
            serve.run(application(endpoint.folders[1], larger, None), name=NAME, route_prefix="/")

    told = ""
    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(change)
        while "no room" not in told:
            assert not changed.done()
            wait([changed], timeout=0.2)
            told += capsys.readouterr().out
        ray.kill(other)
        changed.result(120)
    # How many wait just then depends on how far the replicas that leave are.
    assert re.search(r"no room for \d of the endpoint's replicas: each wants 1 CPU on one node, where at most 0", told)
    assert endpoint.served() == fingerprint(endpoint.folders[1])


class Idle:
    """Takes room."""

    def is_there(self) -> bool:
        return True
