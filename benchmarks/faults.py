"""What faults cost: real jobs, broken from outside at seeded moments, and started again until they are done.

    python benchmarks/faults.py [--only NAME …] [--seed 0] [--folder DIR]

Each fault has a run of its own on one small log and is compared with a run that nothing happened to. Rows go to
results/faults.json as they come; what is there of the same seed is kept. Disks that are full or read-only are mounted,
which takes root.
"""

import argparse
import json
import random
import shutil
import time
from pathlib import Path

from breaking.cases import FAULTS, TO_MEND, Fault, not_a_number, terminated
from breaking.lab import Lab, Row

from ray_userrep.training.runs import environment

RESULT = Path(__file__).parent / "results" / "faults.json"


def measured(lab: Lab, fault: Fault, seed: int) -> Row:
    """A fault's row, from a run of its own."""
    name = fault.__name__
    folder = lab.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    row = fault(lab, folder / "run", random.Random(f"{name}-{seed}"))
    shutil.rmtree(folder, ignore_errors=True)
    told = {"seed": seed, "about": (fault.__doc__ or "").strip(), "holds": holds(fault, row)}
    return told | row | {"seconds": round(time.monotonic() - began, 1)}


def holds(fault: Fault, row: Row) -> bool:
    """Whether the last job ended well with what the undisturbed run has, and what a user must mend was told in a line.

    A loss that is no number is refused twice.
    """
    if fault is not_a_number:
        return bool(row["exits"] == [2, 2] and "the loss was" in row["said"])
    if fault is terminated and row["exits"][0] != 143:
        return False
    if fault in TO_MEND and not row["said"].startswith("error:"):
        return False
    if "same" in row:
        return bool(row["same"] and row["versions"] and row["exits"][-1] == 0)
    if row.get("second_exit", 2) != 2 or row.get("appended_exit", 0) or not row.get("page", True):
        return False
    return bool(row["exits"][-1] == 0 and not row["steps_repeated_or_lost"] and not row["lines_different"])


def table(rows: dict[str, Row]) -> str:
    """A line a fault."""
    head = f"{'fault':<26}{'holds':<7}{'exits':<16}{'again':>6}{'lost':>6}{'differ':>7}{'loss':>9}{'undist.':>9}  said"
    lines = [head]
    for name, row in rows.items():
        if "same" in row:
            figures = f"{'corpus the same' if row['same'] else 'another corpus':>37}"
        else:
            loss = "" if row["final_loss"] is None else f"{row['final_loss']:.5f}"
            figures = f"{row['steps_again']:>6}{row['steps_repeated_or_lost']:>6}{row['lines_different']:>7}"
            figures += f"{loss:>9}{row['undisturbed']:>9.5f}"
        lines.append(f"{name:<26}{row['holds']!s:<7}{row['exits']!s:<16}{figures}  {row['said'][:90]}")
    return "\n".join(lines)


def is_missing(row: Row | None, seed: int) -> bool:
    """Whether a fault is still to be measured."""
    return row is None or row["seed"] != seed


def main() -> None:
    by_name = {fault.__name__: fault for fault in FAULTS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=by_name, metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/faults"), metavar="DIR")
    options = parser.parse_args()
    report = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": {}}
    lab = Lab(options.folder)
    try:
        for name in options.only or [name for name in by_name if is_missing(report["rows"].get(name), options.seed)]:
            report["rows"][name] = row = measured(lab, by_name[name], options.seed)
            report["environment"] = environment()
            RESULT.write_text(json.dumps(report, indent=1) + "\n")
            print(table({name: row}), flush=True)
    finally:
        lab.close()
    print(table(report["rows"]))


if __name__ == "__main__":
    main()
