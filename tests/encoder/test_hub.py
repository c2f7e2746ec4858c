"""Encoders go to a hub and come back, with their card: a hub of this process that speaks the API of the real one."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from transformers import AutoConfig

from ray_userrep.encoder.user_encoder import UserEncoder, UserEncoderConfig
from ray_userrep.errors import UserError

HISTORIES = [["item-1", "item-2"], ["item-9"]]


class Hub(ThreadingHTTPServer):
    """Repositories as files by name, and what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lines = [json.loads(line) for line in body.splitlines()]
        self.server.asked.append((self.path, lines[0]))
        name = "/".join(self.path.split("/")[3:5])
        if self.path == "/api/repos/create":
            name = f"{lines[0]['organization']}/{lines[0]['name']}"
            if name == "closed/door":
                return self.say({"error": "You have no right to create a repository here"}, 403)
            self.server.repos.setdefault(name, {})
            return self.say({"url": f"https://huggingface.co/{name}", "name": name})
        if "/preupload/" in self.path:
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return self.say({"files": [{"path": file["path"]} | modes for file in lines[0]["files"]]})
        if "/commit/" in self.path:
            repo = self.server.repos[name]
            for line in lines[1:]:
                if line["key"] == "deletedFile":
                    del repo[line["value"]["path"]]
            for line in lines[1:]:
                if line["key"] == "file":
                    repo[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.say({"commitUrl": f"https://huggingface.co/{name}/commit/{SHA}", "commitOid": SHA})
        self.say({})

    def do_GET(self) -> None:
        self.server.asked.append((self.path, None))
        parts = self.path.split("?")[0].split("/")
        if parts[1] == "api":
            name = "/".join(parts[3:5])
            if name not in self.server.repos:
                return self.say({"error": "there is none"}, 404)
            if parts[5] == "tree":
                files = self.server.repos[name].items()
                return self.say([{"type": "file", "path": path, "oid": SHA, "size": len(x)} for path, x in files])
            files = [{"rfilename": file} for file in self.server.repos[name]]
            return self.say({"id": name, "modelId": name, "sha": SHA, "siblings": files})
        self.send(self.server.repos["/".join(parts[1:3])]["/".join(parts[5:])])

    do_HEAD = do_GET

    def say(self, told: Any, status: int = 200) -> None:
        self.send(json.dumps(told).encode(), status, "application/json")

    def send(self, body: bytes, status: int = 200, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


SHA = "a" * 40


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty hub, and a cache of its own."""
    with Hub() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{made.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield made
        made.shutdown()


def test_a_push_carries_all_and_the_card_that_lies_beside_the_weights(make_encoder, hub, tmp_path):
    make_encoder().save_pretrained(tmp_path / "encoder")
    card = tmp_path / "encoder" / "README.md"
    card.write_text(card.read_text() + "NDCG@10 .2151; licence: CC BY 4.0\n")
    encoder = UserEncoder.from_pretrained(tmp_path / "encoder")
    hub.repos["shop/users"] = {"model-00001-of-00002.safetensors": b"", "notes.txt": b"kept"}
    told = encoder.push_to_hub("shop/users", private=True, commit_message="Monday", token="secret")
    assert told.oid == SHA
    asked = dict(hub.asked)
    assert "private" in json.dumps(asked["/api/repos/create"])
    assert asked["/api/models/shop/users/commit/main"]["value"]["summary"] == "Monday"
    there = hub.repos["shop/users"]
    assert set(there) == {"README.md", "config.json", "model.safetensors", "items/items.arrow", "checksums.json",
                          "notes.txt"}  # fmt: skip
    assert b"NDCG@10 .2151; licence" in there["README.md"] and b'from_pretrained("shop/users")' in there["README.md"]
    loaded = UserEncoder.from_pretrained("shop/users")
    np.testing.assert_array_equal(loaded.encode(HISTORIES), encoder.encode(HISTORIES))


def test_weights_that_were_changed_get_a_card_of_their_own(make_encoder, hub, tmp_path):
    make_encoder().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("NDCG@10 .2151\n")
    encoder = UserEncoder.from_pretrained(tmp_path)
    next(encoder.parameters()).data.add_(1)
    encoder.push_to_hub("shop/users", revision="tuned")
    assert b"NDCG@10 .2151" not in hub.repos["shop/users"]["README.md"]
    assert {"/api/models/shop/users/branch/tuned", "/api/models/shop/users/commit/tuned"} <= dict(hub.asked).keys()


def test_what_the_hub_refuses_is_one_line(make_encoder, hub, tmp_path):
    with pytest.raises(UserError, match=r"push_to_hub: closed/door was not written \(.*403"):
        make_encoder().push_to_hub("closed/door")
    with pytest.raises(UserError, match="push_to_hub: a/b/c was not written"):
        make_encoder().push_to_hub("a/b/c")
    with pytest.raises(UserError, match=r'for the hub call push_to_hub\("org/name"\)'):
        make_encoder().save_pretrained(tmp_path, push_to_hub=True)


def test_a_cache_of_the_hub_is_enough_without_a_network(make_encoder, monkeypatch, tmp_path):
    make_encoder().save_pretrained(tmp_path / "encoder")
    repository = tmp_path / "cache" / "models--shop--users"
    snapshot = repository / "snapshots" / SHA
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SHA)
    for number, file in enumerate(path for path in (tmp_path / "encoder").rglob("*") if path.is_file()):
        blob, link = repository / "blobs" / f"{number}", snapshot / file.relative_to(tmp_path / "encoder")
        blob.write_bytes(file.read_bytes())
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    loaded = UserEncoder.from_pretrained("shop/users")
    np.testing.assert_array_equal(loaded.encode(HISTORIES), make_encoder().encode(HISTORIES))
    config = AutoConfig.from_pretrained("shop/users", cache_dir=tmp_path / "cache")
    assert isinstance(config, UserEncoderConfig)
    with pytest.raises(UserError, match="no encoder at shop/others"):
        UserEncoder.from_pretrained("shop/others")
