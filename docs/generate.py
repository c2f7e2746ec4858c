"""Pages that nobody writes: all fields, stored results, and files that lie beside `docs/` (see `links.py`).

Run by the plugin gen-files while the site is built.
"""

import ast
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


def example_page(example: Path) -> str:
    """What a program says of itself as text, so that it breaks with the window, and its code below."""
    source = example.read_text()
    said = ast.get_docstring(ast.parse(source))
    code = source.split('"""', 2)[2].lstrip()
    return f"# {example.stem.replace('_', ' ').capitalize()}\n\n{said}\n\n```python\n{code}```\n"


write("fields.md", fields_page())
for source, page in PAGES.items():
    write(page, (ROOT / source).read_text())
for example in sorted((ROOT / EXAMPLES).glob("*.py")):
    write(f"{EXAMPLES}{example.stem}.md", example_page(example))
for result in sorted((ROOT / RESULTS).glob("*.json")):
    write(f"results/{result.name}", result.read_text())
