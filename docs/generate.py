"""Pages that nobody writes: all fields, stored results, and files that lie beside `docs/` (see `links.py`).

Run by the plugin gen-files while the site is built.
"""

import sys
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from fields import fields_page  # noqa: E402
from links import EXAMPLES, PAGES, RESULTS  # noqa: E402


def write(path: str, text: str) -> None:
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)


write("fields.md", fields_page())
for source, page in PAGES.items():
    write(page, (ROOT / source).read_text())
for example in sorted((ROOT / EXAMPLES).glob("*.py")):
    name = example.stem.replace("_", " ").capitalize()
    write(f"{EXAMPLES}{example.stem}.md", f"# {name}\n\n```python\n{example.read_text()}```\n")
for result in sorted((ROOT / RESULTS).glob("*.json")):
    write(f"results/{result.name}", result.read_text())
