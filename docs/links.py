"""Links as they work in the repository, turned into links of the site.

A page says `../benchmarks/results/x.json` or `../CHANGELOG.md`, which works where files are shown as they lie. The site
has those files under names of its own, made by `generate.py`.
"""

import posixpath
import re
from typing import Any

# Files outside docs/ that are pages of the site.
PAGES = {
    "cluster/README.md": "guide.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
RESULTS = "benchmarks/results/"
EXAMPLES = "examples/"  # programs, each shown on a page of its own
_SOURCES = {page: source for source, page in PAGES.items()}


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Called by MkDocs with each page."""
    here = page.file.src_uri
    folder = posixpath.dirname(_SOURCES.get(here, f"docs/{here}"))
    return re.sub(r"\]\((?![a-z]+:|#)([^)#\s]+)", lambda found: f"]({of_site(found[1], folder)}", markdown)


def of_site(link: str, folder: str) -> str:
    """A link in a file of this folder of the repository, as the site has it."""
    path = posixpath.normpath(posixpath.join(folder, link))
    if path.startswith(RESULTS):
        return f"results/{path.removeprefix(RESULTS)}"
    if path.startswith(EXAMPLES):
        return path.removesuffix(".py") + ".md"
    return PAGES.get(path, path.removeprefix("docs/"))
