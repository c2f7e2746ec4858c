#!/usr/bin/env python3
"""A Ray cluster on this machine: one node, or nodes that come when there is work and go when there is none.

    eval "$(python cluster/autoscaling.py start DIR)"   start, or find running; sets the variables that Ray reads
    ray job submit --working-dir . -- python jobs/scale.py ...
    python cluster/autoscaling.py stop DIR              end what was started, and nothing else of Ray

With `--nodes 0` the head is the one node, and takes the work. Else it takes none, as on a real cluster; a node is a
process group with cores of its own by name only. Ray's own autoscaler decides: it is what runs behind the launcher and
KubeRay, with a provider that starts nodes here. Ports are free ones, so that several clusters do not meet. DIR keeps
logs, the token that this cluster asks for, and the variables, in `env`.
"""

import argparse
import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import ray.util

HEAD = "ray.head.default"  # the name that the provider below gives to the head
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
STORE_BYTES = 200_000_000
AGENT_SECONDS = 120.0
LONGEST_PATH = 36  # Ray's sockets lie 70 characters below, and Linux allows them 107
LISTS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files",
)  # fmt: skip


def start(folder: Path, nodes: int, cpus: int, idle_seconds: float) -> None:
    """Start the head, wait until jobs can be submitted, and print the variables; a second call only prints them."""
    if len(str(folder)) > LONGEST_PATH:
        sys.exit(f"autoscaling.py: {folder} is too long for Ray's sockets: at most {LONGEST_PATH} characters")
    shown = folder / "env"
    if not any(_processes(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        gcs, dashboard, *others = _free_ports(4)
        address = f"{ray.util.get_node_ip_address()}:{gcs}"
        _write_secret(folder / "token", secrets.token_hex(32))
        if nodes:
            (folder / "autoscaler.json").write_text(json.dumps(_config(address, nodes, cpus, idle_seconds), indent=2))
        _start_head(folder, gcs, dashboard, others, scales=nodes > 0)
        _wait_for_agent(folder, others[0])
        _write_secret(shown, _variables(folder, address, dashboard))
    print(shown.read_text(), end="")


def stop(folder: Path) -> None:
    """End every process of the cluster; those that do not go when asked are killed."""
    (folder / "env").unlink(missing_ok=True)
    for kill in (psutil.Process.terminate, psutil.Process.kill):
        left = [process for one in _processes(folder) for process in (one, *_children(one))]
        for process in left:
            try:
                kill(process)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=10)


def _config(address: str, nodes: int, cpus: int, idle_seconds: float) -> dict[str, object]:
    provider = {"type": "external", "module": PROVIDER, "gcs_address": address, "launch_multiple": True}
    worker = {"CPU": cpus, "object_store_memory": STORE_BYTES}
    # Ray reads these fields of any cluster, and has defaults only for those that it knows.
    nothing: dict[str, object] = {name: [] for name in LISTS} | {"auth": {}, "file_mounts": {}}
    return nothing | {
        "cluster_name": "local",
        "provider": provider | {"use_node_id_as_ip": True, "disable_node_updaters": True},
        "max_workers": nodes,
        "upscaling_speed": float(nodes),
        "idle_timeout_minutes": idle_seconds / 60,
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": nodes},
        },
    }


def _start_head(folder: Path, gcs: int, dashboard: int, others: list[int], scales: bool) -> None:
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={gcs}", "--disable-usage-stats",
        "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={others[0]}", f"--ray-client-server-port={others[1]}",
    ]  # fmt: skip
    if scales:
        command += ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={STORE_BYTES}"]
        command += [f"--autoscaling-config={folder / 'autoscaler.json'}"]
    scaler = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "AUTOSCALER_METRIC_PORT": "0"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where a job finds `python`
    env = os.environ | scaler | _secret(folder) | {"PATH": path, "RAY_TMPDIR": str(folder)}
    env.pop("RAY_ADDRESS", None)
    with (folder / "start.log").open("w") as log:
        done = subprocess.run(command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        stop(folder)
        sys.exit(f"autoscaling.py: Ray did not start:\n{(folder / 'start.log').read_text()}")


def _wait_for_agent(folder: Path, port: int) -> None:
    """Wait for the process of the head that starts submitted jobs: it comes up last."""
    address = f"http://{ray.util.get_node_ip_address()}:{port}/api/local_raylet_healthz"
    deadline = time.monotonic() + AGENT_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:  # it asks for the token, and is there
            return
        except OSError:
            time.sleep(0.2)
    stop(folder)
    sys.exit(f"autoscaling.py: the agent of the head did not come up within {AGENT_SECONDS:.0f} s: see {folder}/ray")


def _secret(folder: Path) -> dict[str, str]:
    """How processes of the cluster, and who speaks with it, find its token."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}


def _variables(folder: Path, address: str, dashboard: int) -> str:
    variables = {"RAY_ADDRESS": address, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"} | _secret(folder)
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _processes(folder: Path) -> Iterator[psutil.Process]:
    """The head's and the nodes' processes: their environment or, where they overwrote that, their command names it."""
    for process in psutil.process_iter():
        try:
            words, place = process.cmdline(), process.environ().get("RAY_TMPDIR")
            ours = place == str(folder) or any(f"{folder}/ray/" in word for word in words)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["start", "stop"])
    parser.add_argument("folder", type=lambda text: Path(text).resolve())
    parser.add_argument("--nodes", type=int, default=2, help="most nodes beside the head; 0: it works itself")
    parser.add_argument("--cpus", type=int, default=1, help="cores that a node says it has")
    parser.add_argument("--idle-seconds", type=float, default=8.0, help="how long a node may be idle")
    given = parser.parse_args()
    if given.command == "stop":
        stop(given.folder)
    else:
        start(given.folder, given.nodes, given.cpus, given.idle_seconds)


if __name__ == "__main__":
    main()
