"""Where a run's records go: JSON lines and TensorBoard events in the run folder, a line on the terminal.

On a disk both are appended to while the run goes on. An object store cannot append: there the lines and the events are
kept, and their objects are written anew now and then, before each checkpoint, and at the end.
"""

import json
import math
import tempfile
import time
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from ray_userrep import storage
from ray_userrep.training.runs import RECORDS, read_records

_REWRITE_SECONDS = 30.0
_NAMED_DOMAINS = 5
_NO_METRIC = ("kind", "step", "seconds", "stopped", "best")  # of a validation
_LARGE_TABLE, _DWARFS = 10**7, 20  # parameters; times the backbone


class MetricsFile:
    """`<run>/metrics.jsonl`; on resume, records after the checkpoint's step are dropped."""

    def __init__(self, run_uri: str, resumed_step: int) -> None:
        self._uri = storage.join(run_uri, RECORDS)
        self._appends = storage.is_local(run_uri)
        self._lines = [_line(record) for record in read_records(run_uri) if record["step"] <= resumed_step]
        self._rewrite()

    def __call__(self, record: dict[str, Any]) -> None:
        if self._appends:
            storage.append_local(self._uri, _line(record))
            return
        self._lines.append(_line(record))
        if time.monotonic() - self._written > _REWRITE_SECONDS:
            self._rewrite()

    def flush(self) -> None:
        """Have all records so far in the run folder."""
        if not self._appends:
            self._rewrite()

    def _rewrite(self) -> None:
        storage.write_text(self._uri, "".join(self._lines))
        self._written = time.monotonic()


def _line(record: dict[str, Any]) -> str:
    """A record as JSON, which knows no NaN and no infinity: a figure that is none is null."""
    return json.dumps({name: _finite(value) for name, value in record.items()}, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TensorBoard:
    """Event files under `<run>/tensorboard`."""

    def __init__(self, run_uri: str, resumed_step: int) -> None:
        self._uri = storage.join(run_uri, "tensorboard")
        self._scratch = None if storage.is_local(run_uri) else tempfile.TemporaryDirectory()
        folder = storage.absolute(self._uri) if self._scratch is None else self._scratch.name
        with storage.user_errors(self._uri):
            self._writer = SummaryWriter(folder, purge_step=resumed_step + 1, flush_secs=int(_REWRITE_SECONDS))
        self._written = time.monotonic()

    def __call__(self, record: dict[str, Any]) -> None:
        with storage.user_errors(self._uri):
            for name, value in figures(record).items():
                self._writer.add_scalar(name, value, record["step"])
        if time.monotonic() - self._written > _REWRITE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Have all events so far in the run folder."""
        with storage.user_errors(self._uri):
            self._writer.flush()
        if self._scratch is not None:
            storage.upload_dir(self._scratch.name, self._uri)
        self._written = time.monotonic()

    def close(self) -> None:
        self.flush()
        self._writer.close()
        if self._scratch is not None:
            self._scratch.cleanup()


def figures(record: dict[str, Any]) -> dict[str, float]:
    """A record's figures as they are named where curves are drawn."""
    return {f"{record['kind']}/{name}": value for name, value in record.items() if isinstance(value, float)}


def progress_line(record: dict[str, Any]) -> str:
    """One record as the line that a person reads."""
    if record["kind"] == "model":
        line = _parameters_line(record["embedding"], record["backbone"], record.get("in_rows", 0))
        dropped = ", ".join(record.get("dropped_heads", []))
        return f"{line}\nwarning   this log has no {dropped}: objective.heads goes without" if dropped else line
    if record["kind"] == "epoch":
        return f"epoch {record['epoch']:>5}  {_domains(record)}"
    if record["kind"] == "diverged":
        return f"step {record['step']:>6}  diverged: the loss is {record['loss']}, it began at {record['first_loss']}"
    if record["kind"] == "validation":
        metrics = "  ".join(f"{k} {v:.4f}" for k, v in record.items() if k not in _NO_METRIC)
        verdict = "  best so far" * record["best"] + "  no longer better: stopping" * record["stopped"]
        return f"step {record['step']:>6}  validation  {metrics}{verdict}"
    share = record["step"] / record["total_steps"]
    return (
        f"step {record['step']:>6}/{record['total_steps']} {share:4.0%}  loss {record['loss']:.4f}  "
        f"{record['interactions_per_second']:,.0f} interactions/s{_work(record)}  "
        f"waiting for data {record['data_wait']:.0%}  left {clock(record['seconds_left'])}"
    )


def _work(record: dict[str, Any]) -> str:
    """How hard the device works, as far as it is known."""
    share, memory = record.get("flop_utilisation"), record.get("peak_memory_bytes")
    told = [] if share is None else [f"{share:.0%} of peak FLOP/s"]
    return "".join(f"  {one}" for one in [*told, *([] if memory is None else [f"{memory / 1e9:.1f} GB memory"])])


def _parameters_line(embedding: int, backbone: int, in_rows: int) -> str:
    line, exchanged = f"parameters  embedding {embedding:,}  backbone {backbone:,}", embedding - in_rows
    if exchanged < _LARGE_TABLE or exchanged < _DWARFS * backbone:
        return line
    return (
        f"{line}\nwarning   the item table is {exchanged / max(1, backbone):.0f} times the backbone, and every worker "
        "exchanges all of its gradient at every step: encoder.items.kind hashed or text makes it small, rows exchanges "
        "what a step uses"
    )


def _domains(record: dict[str, Any]) -> str:
    """How much of each domain an epoch trains on, the largest first."""
    trained, all_of = record["trained"], record["targets"]
    named = sorted(trained, key=lambda name: -trained[name])[:_NAMED_DOMAINS]
    shares = [f"{name or 'no domain'} {trained[name]:,} of {all_of[name]:,}" for name in named]
    return ", ".join(shares) + (f" and {len(trained) - len(named)} more" if len(trained) > len(named) else "")


def clock(seconds: float) -> str:
    """A duration as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
