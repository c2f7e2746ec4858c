"""The page of a corpus: what was read, what was set aside, how long the tails are, and how the recipe splits it."""

from collections import Counter
from typing import Any, NamedTuple

import ray

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.summary import Frequencies, Summary, item_frequencies, quarantine_examples, summarise_bucket
from ray_userrep.errors import UserError
from ray_userrep.logs.files import ROWS_PER_FILE
from ray_userrep.prepare.side_tables import read_sources
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report import counts
from ray_userrep.report.page import Section, facts, figure, listing, page, remark

NAME = "report.html"
_EXAMPLES = 3
_DOMAINS_SHOWN = 30


class DataFacts(NamedTuple):
    """All that the page shows beside the manifest; `refusal` says why the recipe's split does not fit the corpus."""

    users: Summary
    items: Frequencies
    quarantine: dict[str, list[dict[str, Any]]]
    refusal: str | None


def write_data_report(recipe: Recipe, corpus: Corpus) -> str:
    """Write `<corpus>/report.html`, over that of another version; returns its place."""
    found = collect(recipe, corpus)
    sections = [
        Section("Log", facts(_log_facts(corpus)) + _over_time(corpus)),
        Section("Long tails", _tails(found)),
        Section("Sequences", _sequences(recipe, found)),
        Section("Split", _split(recipe, found)),
        Section("Quarantine", _quarantine(corpus, found)),
    ]
    if corpus.manifest.domains:
        sections.insert(1, Section("Domains", _domains(corpus.manifest.domains)))
    uri = storage.join(corpus.uri, NAME)
    name = corpus.uri.rsplit("/", 1)[-1]
    storage.write_text(uri, page(f"Corpus: {name}, version {corpus.manifest.version}", _lead(corpus), sections))
    return uri


def collect(recipe: Recipe, corpus: Corpus) -> DataFacts:
    """Count in Ray's tasks, one a bucket."""
    refusal = split = None
    try:
        split = resolve(recipe.split, corpus)
    except UserError as error:
        refusal = str(error)
    task, shared = ray.remote(summarise_bucket), ray.put(corpus)
    numbers = sorted({file.bucket for file in corpus.manifest.sequences})
    pending = [task.remote(shared, number, split) for number in numbers]
    users = Summary(Counter(), Counter())
    while pending:
        done, pending = ray.wait(pending)
        users = users.joined(ray.get(done[0]))
    return DataFacts(users, item_frequencies(corpus), quarantine_examples(corpus, _EXAMPLES), refusal)


def _lead(corpus: Corpus) -> str:
    manifest, days = corpus.manifest, list(corpus.manifest.interactions_per_day)
    rejected = sum(manifest.quarantined.values())
    told = (
        f"{rejected / (rejected + manifest.num_interactions):.2%} of the rows quarantined" if rejected else "all usable"
    )
    return (
        f"{manifest.num_interactions:,} interactions of {manifest.num_users:,} users with {manifest.num_items:,} "
        f"items, {days[0]} to {days[-1]}; {told}."
    )


def _log_facts(corpus: Corpus) -> dict[str, str]:
    manifest = corpus.manifest
    sources = read_sources(corpus.uri, manifest.sources)
    peaks = (f"{stage} {peak / 2**20:,.0f} MiB" for stage, peak in manifest.peak_bytes.items())
    return {
        "source": manifest.source_uri,
        "reader": manifest.reader,
        "files": f"{len(sources):,}, {sum(sources.values()) / 2**20:,.1f} MiB",
        "same user and time": f"{manifest.num_ties:,} interactions, in the order of their rows",
        "same item, too": f"{manifest.num_duplicates:,} of these are duplicates",
        "longest users": f"{manifest.num_capped:,} of their interactions were left out (corpus.max_user_interactions)",
        "side columns": ", ".join(manifest.side_columns) or "none",
        "layout": f"{manifest.num_buckets:,} buckets, {len(manifest.sequences):,} sequence files",
        "content": manifest.content_fingerprint,
        "prepared": manifest.created,
        "largest task": ", ".join(peaks) or "not known",
    }


def _over_time(corpus: Corpus) -> str:
    days = corpus.manifest.interactions_per_day
    busiest = max(days, key=lambda day: days[day])
    caption = f"UTC; {len(days):,} days have interactions, {busiest} the most: {days[busiest]:,}."
    return figure(counts.days_figure(days), caption)


def _domains(domains: dict[str, int]) -> str:
    total, shown = sum(domains.values()), Counter(domains).most_common(_DOMAINS_SHOWN)
    rest = len(domains) - len(shown)
    rows = [[name or "none", f"{count:,}", f"{count / total:.2%}"] for name, count in shown]
    return listing(["domain", "interactions", "share"], rows) + (remark(f"and {rest:,} smaller ones") if rest else "")


def _tails(found: DataFacts) -> str:
    panels = {"items": found.items, "users": found.users.lengths}
    rows = [
        [kind, *(f"{at_share(values, share):,}" for share in (0.5, 0.9, 0.99, 1)), f"{top_share(values):.1%}"]
        for kind, values in panels.items()
    ]
    head = ["interactions of", "median", "90 %", "99 %", "most", "top 1 % hold"]
    caption = "How many items and users have at least so many interactions; both axes are logarithmic."
    return figure(counts.tails_figure(panels), caption) + listing(head, rows)


def _sequences(recipe: Recipe, found: DataFacts) -> str:
    lengths, max_len = found.users.lengths, recipe.stream.max_len
    longer = sum(count for length, count in lengths.items() if length > max_len)
    single = lengths.get(1, 0)
    return figure(
        counts.lengths_figure(lengths),
        f"{longer / lengths.total():.1%} of the users are longer than a window (stream.max_len {max_len}); "
        f"{single:,} have a single interaction, from which no next item can be learned.",
    )


def _split(recipe: Recipe, found: DataFacts) -> str:
    named = {"rule": recipe.split.rule.replace("_", " ")}
    if found.refusal is not None:
        return facts(named | {"cannot be had": found.refusal})
    return facts(named | {name: f"{count:,}" for name, count in found.users.split.items()})


def _quarantine(corpus: Corpus, found: DataFacts) -> str:
    if not corpus.manifest.quarantined:
        return remark("No row was rejected.")
    reasons = sorted(corpus.manifest.quarantined.items(), key=lambda pair: -pair[1])
    total = corpus.manifest.num_interactions + sum(count for _, count in reasons)
    rows = [[reason, f"{count:,}", f"{count / total:.2%}"] for reason, count in reasons]
    examples = [{"reason": reason} | _placed(row) for reason, _ in reasons for row in found.quarantine[reason]]
    told = remark("First rows of each reason, what could be read of them; all are in the corpus's quarantine folder.")
    cells = [[_shown(value) for value in row.values()] for row in examples]
    return listing(["reason", "rows", "share"], rows) + told + listing(list(examples[0]), cells)


def _placed(row: dict[str, Any]) -> dict[str, Any]:
    """A rejected row with its place in its file, counted from 0; files are numbered where they are not named."""
    number, place = divmod(row["row"], ROWS_PER_FILE)
    return {"file": row.get("file") or f"no. {number}", "row": f"{place:,}"} | {
        name: value for name, value in row.items() if name not in ("file", "row")
    }


def _shown(value: object) -> str:
    return "–" if value is None else str(value)


def at_share(frequencies: Frequencies, share: float) -> int:
    """The least number that this share of all do not exceed."""
    left = share * frequencies.total()
    for number in sorted(frequencies):
        left -= frequencies[number]
        if left <= 0:
            return number
    return max(frequencies)


def top_share(frequencies: Frequencies, share: float = 0.01) -> float:
    """What part of all interactions the largest of this share have, at least one of them."""
    left = max(1, round(share * frequencies.total()))
    held = 0
    for number in sorted(frequencies, reverse=True):
        here = min(left, frequencies[number])
        held, left = held + here * number, left - here
    return held / sum(number * count for number, count in frequencies.items())
