"""The page of a corpus: what was read, what was set aside, how long the tails are, and how the recipe splits it."""

from collections import Counter

from ray_userrep import storage
from ray_userrep.corpus.manifest import NO_TIMES
from ray_userrep.logs.numbers import Unread, told
from ray_userrep.recipe.logs import Order
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report import counts
from ray_userrep.report.page import Section, drawing, facts, listing, page, remark
from ray_userrep.report.results import REPORT, Result, load_result

_DOMAINS_SHOWN = 30
Frequencies = Counter[int]  # a number of interactions -> how many users or items have it


def draw(folder: str) -> str:
    """Write `<corpus>/report.html` from the stored result, over that of another version; returns its place."""
    result = load_result(folder)
    recipe, corpus = Recipe.model_validate(result["recipe"]), result["corpus"]
    sections = [
        Section("Over time", _over_time(corpus)),
        Section("Long tails", _tails(result)),
        Section("Sequences", _sequences(recipe, result)),
        Section("Split", _split(recipe, result)),
        Section("Rows set aside", _quarantine(result)),
    ]
    if corpus["unread"]:
        sections.append(Section("Numbers that could not be read", _unread(corpus["unread"])))
    if corpus["domains"]:
        sections.insert(1, Section("Domains", _domains(corpus["domains"])))
    sections.append(Section("Where it comes from", facts(_log_facts(result))))
    uri = storage.join(folder, REPORT)
    name = corpus["uri"].rsplit("/", 1)[-1]
    storage.write_text(uri, page(f"Corpus: {name}, version {corpus['version']}", _lead(corpus), sections))
    return uri


def describe(corpus: Result) -> dict[str, str]:
    """The counts of a corpus, by name."""
    rows = {
        "interactions": f"{corpus['num_interactions']:,}",
        "users": f"{corpus['num_users']:,}",
        "items": f"{corpus['num_items']:,}",
        **(order_fact(corpus["order"]) or {"days": span(corpus)}),
        "same user and time": f"{corpus['num_ties']:,} rows, {corpus['num_duplicates']:,} of them exact repeats",
    }
    if corpus["removed_by_k_core"]:
        bounds = f"users {corpus['k_core']['users']}, items {corpus['k_core']['items']}"
        removed = ", ".join(f"{count:,} {what}" for what, count in corpus["removed_by_k_core"].items())
        rows["k-core"] = f"{bounds}; removed {removed}"
    if corpus["num_relations"] or corpus["dropped_relations"]:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in corpus["dropped_relations"].items())
        rows["relations of users"] = f"{corpus['num_relations']:,}; left out: {left_out}"
    rows |= {name or "no domain": f"{count:,} interactions" for name, count in corpus["domains"].items()}
    rows |= {name: f"{lost['count']:,} values are no numbers" for name, lost in corpus["unread"].items()}
    return rows | {reason: f"{count:,} set aside" for reason, count in corpus["quarantined"].items()}


def order_fact(order: Order) -> dict[str, str]:
    """What a page says of the order of a log without times; nothing of one with times."""
    return {"order": NO_TIMES} if order == "row" else {}


def span(corpus: Result) -> str:
    """The first and the last day of a log, or that it has none."""
    if corpus["order"] == "row":
        return NO_TIMES
    days = sorted(corpus["interactions_per_day"])
    return f"{days[0]} to {days[-1]}"


def _lead(corpus: Result) -> str:
    rejected = sum(corpus["quarantined"].values())
    share = rejected / (rejected + corpus["num_interactions"])
    usable = f"{share:.2%} of the rows were set aside" if rejected else "no row was set aside"
    return (
        f"{corpus['num_interactions']:,} interactions of {corpus['num_users']:,} users with {corpus['num_items']:,} "
        f"items, {span(corpus)}; {usable}."
    )


def _log_facts(result: Result) -> dict[str, str]:
    corpus, sources = result["corpus"], result["sources"]
    peaks = (f"{stage} {peak / 2**20:,.0f} MiB" for stage, peak in corpus["peak_bytes"].items())
    return {
        "source": corpus["source_uri"],
        "reader": corpus["reader"],
        "files": f"{sources['files']:,}, {sources['bytes'] / 2**20:,.1f} MiB",
        "same user and time": f"{corpus['num_ties']:,} rows share their time with another of the same user and keep "
        "the order of the file",
        "exact duplicates": f"{corpus['num_duplicates']:,}",
        "left out of very long histories": f"{corpus['num_capped']:,} (corpus.max_user_interactions)",
        "side columns": ", ".join(corpus["side_columns"]) or "none",
        "layout": f"{corpus['num_buckets']:,} buckets, {corpus['num_files']:,} sequence files",
        "content": corpus["content_fingerprint"],
        "prepared": corpus["created"],
        "largest task": ", ".join(peaks) or "not known",
    }


def _over_time(corpus: Result) -> str:
    days: dict[str, int] = corpus["interactions_per_day"]
    if corpus["order"] == "row":
        return remark("Nothing is shown over time.")
    busiest = max(days, key=lambda day: days[day])
    caption = (
        "Gaps and jumps that you did not expect are worth a look at the log. Days are those of UTC; "
        f"{len(days):,} days have interactions, {busiest} the most: {days[busiest]:,}."
    )
    return drawing(lambda: counts.days_figure(days), caption)


def _frequencies(stored: dict[str, int]) -> Frequencies:
    """Counts of counts, whose numbers are names in JSON."""
    return Counter({int(number): count for number, count in stored.items()})


def _domains(domains: dict[str, int]) -> str:
    total, shown = sum(domains.values()), Counter(domains).most_common(_DOMAINS_SHOWN)
    rest = len(domains) - len(shown)
    rows = [[name or "none", f"{count:,}", f"{count / total:.2%}"] for name, count in shown]
    return listing(["domain", "interactions", "share"], rows) + (remark(f"and {rest:,} smaller ones") if rest else "")


def _tails(result: Result) -> str:
    panels = {"items": _frequencies(result["items"]), "users": _frequencies(result["lengths"])}
    rows = [
        [kind, *(f"{at_share(values, share):,}" for share in (0.5, 0.9, 0.99, 1)), f"{top_share(values):.1%}"]
        for kind, values in panels.items()
    ]
    head = ["interactions of", "median", "90 %", "99 %", "most", "top 1 % hold"]
    caption = (
        "How many items and users have at least so many interactions; the left end is all of them, a line that falls "
        "early has few that are common and many that are rare. Both axes are logarithmic."
    )
    return drawing(lambda: counts.tails_figure(panels), caption) + listing(head, rows)


def _sequences(recipe: Recipe, result: Result) -> str:
    lengths, max_len = _frequencies(result["lengths"]), recipe.stream.max_len
    longer = sum(count for length, count in lengths.items() if length > max_len)
    single = lengths.get(1, 0)
    return drawing(
        lambda: counts.lengths_figure(lengths),
        "Where the bars of interactions lie to the right of those of users, few users have most of the log. "
        f"{longer / lengths.total():.1%} of the users are longer than a window (stream.max_len {max_len}); "
        f"{single:,} have a single interaction, from which no next item can be learned.",
    )


def _split(recipe: Recipe, result: Result) -> str:
    named = {"rule": recipe.split.rule.replace("_", " ")}
    if result["refusal"] is not None:
        return facts(named | {"cannot be had": result["refusal"]})
    return facts(named | {name: f"{count:,}" for name, count in result["split"].items()})


def _unread(unread: dict[str, Result]) -> str:
    """Prices and ratings that were given and could not be read; their rows are kept."""
    lines = (told(name, Unread(**lost)) for name, lost in unread.items())
    return "".join(remark(f"{line}.") for line in lines) + remark("Their rows are kept without them.")


def _quarantine(result: Result) -> str:
    corpus = result["corpus"]
    if not corpus["quarantined"]:
        return remark("No row was rejected.")
    reasons = sorted(corpus["quarantined"].items(), key=lambda pair: -pair[1])
    total = corpus["num_interactions"] + sum(count for _, count in reasons)
    rows = [[reason, f"{count:,}", f"{count / total:.2%}"] for reason, count in reasons]
    examples = [{"reason": reason} | row for reason, _ in reasons for row in result["quarantine"][reason]]
    told = remark("First rows of each reason, what could be read of them; all are in the corpus's quarantine folder.")
    cells = [[_shown(value) for value in row.values()] for row in examples]
    return listing(["reason", "rows", "share"], rows) + told + listing(list(examples[0]), cells)


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
