"""Damage as disks, copies and hands do it: flipped bits, lost and added bytes, cut and lost files, odd values.

Everything is drawn from the generator that is given, so that a seed and a number name a case.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[random.Random, bytes], bytes]

# Values of kinds that a place was not made for, and numbers at the ends of what there is.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e300, float("inf"),
    float("nan"), "", " ", "none", "x", "a/b", "../up", "nul\0", "line\nbreak", "\ud800", "é" * 300, "x" * 5000, [],
    [[]], [1], ["x"], [None], [0.9, 0.98], {}, {"kind": "id"}, {"x": 1}, [{}], "2024-02-30", "1e5", "0x10", "s3://",
)  # fmt: skip


def flip(rng: random.Random, data: bytes) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def lose(rng: random.Random, data: bytes) -> bytes:
    begin = rng.randrange(len(data))
    return data[:begin] + data[begin + rng.randint(1, 64) :]


def insert(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.randint(1, 64)) + data[place:]


def repeat(rng: random.Random, data: bytes) -> bytes:
    begin = rng.randrange(len(data))
    piece = data[begin : begin + rng.randint(1, 512)]
    return data[:begin] + piece + data[begin:]


def zero(rng: random.Random, data: bytes) -> bytes:
    """A block that was never written."""
    begin = rng.randrange(len(data))
    end = min(len(data), begin + rng.choice((16, 512, 4096)))
    return data[:begin] + bytes(end - begin) + data[end:]


BYTES: tuple[Change, ...] = (flip, flip, flip, cut, lose, insert, repeat, zero)


def swap_value(rng: random.Random, value: Any) -> Any:
    """A JSON value with something in it replaced by a value of another kind, renamed, or gone."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return rng.choice(ODD)
    place = rng.choice([*value]) if isinstance(value, dict) else rng.randrange(len(value))
    changed = dict(value) if isinstance(value, dict) else list(value)
    drawn = rng.random()
    if drawn < 0.15:
        del changed[place]
    elif drawn < 0.25 and isinstance(changed, dict):
        changed[f"{place}_"] = changed.pop(place)
    else:
        changed[place] = swap_value(rng, value[place])
    return changed


def swap_json(rng: random.Random, data: bytes) -> bytes:
    """A JSON document, or a line of several, with a value swapped."""
    lines = data.splitlines(keepends=True)
    if len(lines) > 1 and _is_json(lines[0]):
        place = rng.randrange(len(lines))
        lines[place] = swap_json(rng, lines[place]) + b"\n"
        return b"".join(lines)
    return json.dumps(swap_value(rng, json.loads(data))).encode(errors="surrogatepass")


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def damage(rng: random.Random, folder: Path) -> str:
    """Change one file of a folder, or delete it; says which and how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = rng.choice(files)
    return f"{path.relative_to(folder)}: {damage_file(rng, path)}"


def damage_file(rng: random.Random, path: Path) -> str:
    is_json = path.suffix in (".json", ".jsonl")
    drawn = rng.random()
    if drawn < 0.05:
        path.unlink()
        return "deleted"
    if drawn < 0.1:
        path.write_bytes(b"")
        return "emptied"
    change = swap_json if is_json and drawn < 0.6 else rng.choice(BYTES)
    path.write_bytes(change(rng, path.read_bytes()))
    return change.__name__
