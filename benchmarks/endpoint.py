"""The endpoint: how long an answer takes, how many come a second, whether vectors are those of `embed`; and nonsense.

    python benchmarks/endpoint.py [--interactions 400000] [--seconds 20] [--fuzz 10000] [--replicas 1]

A corpus of random items, and a `sasrec` of width 128 that is not trained: its speed does not depend on it. `embed`
writes the vectors of all users, then the encoder is served. Clients, threads of one process that keep their
connections, post one history at a time: 1, 8 and 64 of them, to /v1/vectors and to /v1/recommend. They share the
machine with the endpoint, so that what is measured is both. Every vector is compared with that of `embed`.

Then damaged requests: bytes cut off, replaced or repeated, values of other types, other routes. What counts is that
each is answered, and none by a 500. At last what happens to those who ask meanwhile: with two replicas one of them is
killed, and then another encoder takes the place of the first. Figures go to benchmarks/results/endpoint.json.
"""

import argparse
import http.client
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import psutil
from feed import NUM_ITEMS, write_corpus
from numpy.typing import NDArray
from ray import serve
from running import RESULTS

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.embedding.export import export_vectors
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.endpoint.deployment import application
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig
from ray_userrep.recipe.serve import ServeConfig
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.training.runs import environment
from ray_userrep.workflows.serve import NAME, start

CLIENTS, MAX_USERS = (1, 8, 64), 5_000
JUNK: list[Any] = [None, True, 2.5, "", "x" * 200, [], [[]], {}, {"a": [1]}, 10**30, "2024-03-01", [[None]], "\u0000"]
PATHS = ["/v1/vectors", "/v1/recommend", "/v1/users/1/vector", "/v1/items/1/nearest", "/v1/%00/nearest", "/v1/"]
Ask = Callable[[http.client.HTTPConnection, random.Random], None]


class Users(NamedTuple):
    """Histories as they are posted, and the vectors that `embed` wrote of them, `[U, F]`."""

    histories: list[list[int]]
    vectors_UF: NDArray[np.float32]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--interactions", type=int, default=400_000)
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--fuzz", type=int, default=10_000)
    arguments.add_argument("--replicas", type=int, default=1)
    arguments.add_argument("--port", type=int, default=8123)
    options = arguments.parse_args()
    load = os.getloadavg()[0]
    connect()
    # A change of encoder takes room for as many replicas more: a quarter of a core each lets four be on two cores.
    size = {"min_replicas": options.replicas, "max_replicas": options.replicas, "cpus_per_replica": 0.25}
    config = ServeConfig(port=options.port, **size)
    with tempfile.TemporaryDirectory() as folder:
        users = embedded(folder, options.interactions)
        start(config)
        served(folder, "encoder", config)
        differences: list[float] = []
        rows = {}
        for num_clients in CLIENTS:
            for name, ask in asks(users, differences).items():
                rows[f"{name}, {num_clients} clients"] = timed(ask, config.port, num_clients, options.seconds)
                print(name, num_clients, rows[f"{name}, {num_clients} clients"], flush=True)
        report = {
            "environment": environment(),
            "options": vars(options),
            "load": load,
            "rows": rows,
            "largest_difference": max(differences),
            "damaged requests": fuzzed(users, config.port, options.fuzz),
        }
        two = config.model_copy(update={"min_replicas": 2, "max_replicas": 2})
        served(folder, "encoder", two)
        report["a replica killed"] = disturbed(users, two.port, options.seconds, kill_a_replica)
        report["another encoder"] = disturbed(users, two.port, options.seconds, lambda: served(folder, "other", two))
        serve.shutdown()
    (RESULTS / "endpoint.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: told for name, told in report.items() if name not in ("environment", "rows")}, indent=1))


def served(folder: str, encoder: str, config: ServeConfig) -> None:
    serve.run(application(storage.join(folder, encoder), config, None), name=NAME, route_prefix="/")


def embedded(folder: str, num_interactions: int) -> Users:
    """An encoder in a folder, and some users of a corpus with the vectors that `embed` writes."""
    corpus: Corpus = write_corpus(storage.join(folder, "corpus"), num_interactions, 8)
    recipe = sasrec()
    config = recipe.encoder.model_copy(update={"width": 128})
    for name in ("encoder", "other"):
        build_encoder(config, corpus.items(), recipe.stream.max_len).save_pretrained(storage.join(folder, name))
    output = storage.join(folder, "vectors")
    export_vectors(storage.join(folder, "encoder"), corpus, output, EmbeddingConfig(), TextConfig())
    tables = [storage.read_parquet(file.uri, ["user_id", "vector"]) for file in storage.list_files(output, ".parquet")]
    vectors = {
        user: vector for table in tables for user, vector in zip(*table.to_pydict().values(), strict=True)
    }  # fmt: skip
    histories, mine = [], []
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        rows = zip(bucket.user_ids.to_pylist(), bucket.offsets_U1[:-1], bucket.offsets_U1[1:], strict=True)
        for user, low, high in list(rows)[: MAX_USERS // len(corpus.buckets())]:
            histories.append(bucket.items_N[low:high].tolist())
            mine.append(vectors[user])
    return Users(histories, np.array(mine, np.float32))


def asks(users: Users, differences: list[float]) -> dict[str, Ask]:
    """What a client asks, once."""

    def vectors(connection: http.client.HTTPConnection, rng: random.Random) -> None:
        user = rng.randrange(len(users.histories))
        told = json.loads(posted(connection, "/v1/vectors", {"histories": [users.histories[user]]}))
        differences.append(float(np.abs(np.array(told["vectors"][0]) - users.vectors_UF[user]).max()))

    def recommend(connection: http.client.HTTPConnection, rng: random.Random) -> None:
        user = rng.randrange(len(users.histories))
        posted(connection, "/v1/recommend", {"histories": [users.histories[user]], "k": 10})

    return {"vectors": vectors, "recommend": recommend}


def posted(connection: http.client.HTTPConnection, path: str, form: dict[str, Any]) -> bytes:
    connection.request("POST", path, json.dumps(form))
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return body


def timed(ask: Ask, port: int, num_clients: int, seconds: float) -> dict[str, float]:
    """Percentiles of the time to an answer (ms), and answers a second, after one answer each."""

    def client(number: int) -> list[float]:
        connection, rng = http.client.HTTPConnection("127.0.0.1", port, timeout=120), random.Random(number)
        ask(connection, rng)
        spent, until = [], time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            ask(connection, rng)
            spent.append(time.perf_counter() - began)
        connection.close()
        return spent

    with ThreadPoolExecutor(num_clients) as pool:
        spent = np.concatenate(list(pool.map(client, range(num_clients))))
    percentiles = dict(zip(("p50", "p95", "p99"), np.percentile(spent * 1e3, [50, 95, 99]).tolist(), strict=True))
    return percentiles | {"requests_per_second": len(spent) / seconds}


def fuzzed(users: Users, port: int, number: int) -> dict[str, Any]:
    """The statuses of damaged requests, and the slowest of them."""

    def client(seed: int) -> tuple[Counter[int], float]:
        rng, statuses, slowest = random.Random(seed), Counter[int](), 0.0
        for _ in range(number // 8):
            # A connection each: what is sent may not be HTTP to its end.
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            began = time.perf_counter()
            method = "GET" if rng.random() < 0.1 else "POST"
            connection.request(method, rng.choice(PATHS), damaged(rng.choice(users.histories)[:50], rng))
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
            slowest = max(slowest, time.perf_counter() - began)
            connection.close()
        return statuses, slowest

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(client, range(8)))
    total = sum((statuses for statuses, _ in found), Counter[int]())
    assert max(total) < 500, total
    return {"statuses": dict(sorted(total.items())), "slowest_seconds": max(slowest for _, slowest in found)}


def disturbed(users: Users, port: int, seconds: float, happen: Callable[[], None]) -> dict[str, Any]:
    """Statuses and encoders of answers, and connections that broke, of eight clients while something happens."""
    until = time.perf_counter() + 3 * seconds

    def client(seed: int) -> Counter[str]:
        rng, found = random.Random(seed), Counter[str]()
        while time.perf_counter() < until:
            form = json.dumps({"histories": [rng.choice(users.histories)]})
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            try:
                connection.request("POST", "/v1/vectors", form)
                answer = connection.getresponse()
                told = json.loads(answer.read())
                found[f"{answer.status}"] += 1
                found[f"encoder {told['encoder']}" if answer.status == 200 else f"{answer.status}: {told}"] += 1
            except (OSError, http.client.HTTPException) as error:
                found[f"broken: {type(error).__name__}"] += 1
            connection.close()
        return found

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, seed) for seed in range(8)]
        time.sleep(seconds)
        began = time.perf_counter()
        happen()
        took = time.perf_counter() - began
        total = sum((client.result() for client in clients), Counter[str]())
    return {"answers": dict(sorted(total.items())), "seconds_until_it_had_happened": took}


def kill_a_replica() -> None:
    titles = {process: " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])}
    next(process for process, title in titles.items() if title.startswith(f"ray::ServeReplica:{NAME}:Encoders")).kill()


def damaged(history: list[int], rng: random.Random) -> bytes:
    """A body in which a value or some bytes are others than they should be."""
    form: dict[str, Any] = {"histories": [list(history)], "k": rng.choice([1, 10, NUM_ITEMS + 1, 1000])}
    kind = rng.randrange(4)
    if kind == 0:
        form[rng.choice(["histories", "k", "timestamps", "fields", "until", "items", "x"])] = rng.choice(JUNK)
    elif kind == 1:
        form["histories"][0].insert(rng.randrange(len(history) + 1), rng.choice(JUNK))
    body = bytearray(json.dumps(form).encode())
    if kind == 2:
        body = body[: rng.randrange(len(body))] * rng.choice([1, 1, 2])
    elif kind == 3:
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body)


if __name__ == "__main__":
    main()
