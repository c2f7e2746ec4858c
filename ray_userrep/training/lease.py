"""The lease of a run folder: one process writes there, and whoever comes meanwhile is told who it is.

It is taken and renewed by conditional writes, and ends when it was not renewed for its life, by the clock of the store.
A process that was killed on this machine is found out at once; one that died elsewhere keeps others waiting for a
minute. Numbers of processes alone prove nothing: containers use the same ones. Nothing stops a process while it cannot
reach its store; when it can again, it ends if another has taken over.
"""

import json
import os
import signal
import socket
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ray_userrep import storage
from ray_userrep.errors import UserError

FILE = "lease.json"
_LIFE = 60.0  # seconds
_RENEWALS = 4  # in a life


class _Owner(BaseModel):
    """What a lease says of whoever holds it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    host: str
    machine: str | None  # tells this boot and its namespace of process numbers from all others, where that is known
    pid: int = Field(gt=0, lt=2**31)
    started: str | None  # by the kernel's count: numbers of processes are used again
    life: float = Field(gt=0, le=3600)
    renewals: int = 0

    def is_dead(self) -> bool:
        """Whether it was a process of this machine that has ended."""
        if self.machine is None or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # another user's
            return False
        return None not in (self.started, now := _started(self.pid)) and now != self.started


class Lease:
    """Exclusive use of a run folder while this process works on it.

    A process that finds its lease taken by another is interrupted, and the block ends with the error that says so.

    Raises:
        UserError: another live process holds it, or has taken it meanwhile.
    """

    def __init__(self, run_uri: str) -> None:
        self._run, self._uri = run_uri, storage.join(run_uri, FILE)
        pid = os.getpid()
        self._owner = _Owner(
            id=uuid.uuid4().hex,
            host=socket.gethostname(),
            machine=_machine(),
            pid=pid,
            started=_started(pid),
            life=_LIFE,
        )
        self._closed = threading.Event()
        self._lost: UserError | None = None

    def __enter__(self) -> "Lease":
        there = storage.read_version(self._uri)
        if there is not None:
            self._refuse_held(there)
        try:
            self._tag = self._write(there.tag if there else None)
        except FileExistsError:
            raise UserError(f"run folder {self._run} was just taken by another process") from None
        by_main = threading.current_thread() is threading.main_thread()
        self._renewer = threading.Thread(target=self._renew, args=(by_main,), daemon=True, name="lease")
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        try:
            self._renewer.join()
        except KeyboardInterrupt:
            if self._lost is None:
                raise
        if self._lost is not None:
            raise self._lost from None
        with suppress(UserError):  # left there, it ends by itself
            there = storage.read_version(self._uri)
            if there is not None and there.tag == self._tag:
                storage.delete(self._uri)

    def _refuse_held(self, there: storage.Version) -> None:
        owner = _read(there.data)
        # One that was written in the future was so before a clock was set back.
        if owner is not None and abs(there.age) < owner.life and not owner.is_dead():
            raise UserError(
                f"run folder {self._run} is in use by process {owner.pid} on {owner.host}, which said so "
                f"{max(0, there.age):.0f} s ago: wait for it, or name another with --run; if it has died, the folder "
                f"is free in {owner.life - there.age:.0f} s"
            )

    def _write(self, over: str | None) -> str:
        self._owner = self._owner.model_copy(update={"renewals": self._owner.renewals + 1})
        data = self._owner.model_dump_json().encode()
        try:
            return storage.write_version(self._uri, data, over)
        except FileExistsError:
            there = storage.read_version(self._uri)
            if there is not None and there.data == data:  # a request that was repeated finds its own lease there
                return there.tag
            raise

    def _renew(self, interrupts: bool) -> None:
        told = False
        while self._lost is None and not self._closed.wait(_LIFE / _RENEWALS):
            try:
                self._renew_once()
            except Exception as error:  # whatever it is, it may pass: no work is stopped for it
                if not told:
                    print(f"warning   the lease of {self._run} cannot be renewed: {error}", flush=True)
                told = True
        if self._lost is not None and interrupts and not self._closed.is_set():
            _interrupt()

    def _renew_once(self) -> None:
        try:
            self._tag = self._write(self._tag)
        except FileExistsError:
            there = storage.read_version(self._uri)
            owner = None if there is None else _read(there.data)
            if owner is None:  # deleted or damaged by hand
                self._tag = self._write(there.tag if there else None)
                return
            self._lost = UserError(
                f"run folder {self._run} was taken by process {owner.pid} on {owner.host}, as this one did not renew "
                f"its lease for {_LIFE:.0f} s: this one stops, the other goes on"
            )


def _interrupt() -> None:
    """Interrupt the main thread, by whichever signal is not ignored: jobs in the background ignore SIGINT."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            ident = threading.main_thread().ident
            assert ident is not None, "the main thread has started"
            return signal.pthread_kill(ident, number)


def _read(data: bytes) -> _Owner | None:
    """Who holds a lease; None for what no lease is, which nobody holds: leases are written whole."""
    try:
        return _Owner.model_validate(json.loads(data))
    except (ValueError, RecursionError, ValidationError):
        return None


def _machine() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None
