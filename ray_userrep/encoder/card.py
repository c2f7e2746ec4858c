"""The model card that travels with an encoder's weights."""

from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedConfig

from ray_userrep.encoder.reading import PRICE, reads
from ray_userrep.recipe.encoder import WHOLE_HISTORY, EncoderConfig

CARD = "README.md"
_TEMPLATE = """---
library_name: ray_userrep
tags: [user-representation, sequential-recommendation]
---
# User encoder

Turns a user's interactions into a vector of {width} numbers, made from {reads}.
It knows {num_items:,} items, listed in `items/`.

| parameters | |
|---|---|
| item embedding | {embedding:,} |
| backbone | {backbone:,} |

```python
{call}
```

Items the encoder does not know are left out.

## Trained on

{learned}

The licence of the weights is not stated here: it depends on that of the log. State it before you share this folder.
"""
_UNMEASURED = "See `recipe.json`, `result.json` and `report.html` of the run that made it."
_HERE = "path/to/this/folder"
_LOAD = f"""from ray_userrep.encoder.user_encoder import UserEncoder

encoder = UserEncoder.from_pretrained("{_HERE}")
histories = [["first item id", "newest item id"]]"""
_MOMENT = "from datetime import datetime"
_TIMES = "times = [[datetime(2024, 1, 31), datetime(2024, 2, 29, 18, 30)]]"


class Told(NamedTuple):
    """A card that came with weights, and their checksums: of other weights it is not true."""

    card: str
    weights: dict[str, str]


def told_of(folder: Path, weights: dict[str, str]) -> Told | None:
    """The card in a local folder of these weights, if there is one; damage to it harms no vector."""
    place = folder / CARD
    return Told(place.read_text("utf-8", "replace"), weights) if place.is_file() else None


def named_as(card: str, repo_id: str) -> str:
    """A card whose example loads the encoder from the hub."""
    return card.replace(_HERE, repo_id)


def model_card(config: PreTrainedConfig, parameters: dict[str, int], learned: str = _UNMEASURED) -> str:
    """Markdown for people who find the folder without the run; `learned` says from what, and how well."""
    encoder = EncoderConfig.model_validate(config.encoder)
    whole = (config.readout or encoder.readout) in WHOLE_HISTORY
    fields: dict[str, Any] = {
        "width": encoder.vector_width,
        "reads": "the whole history" if whole else f"the newest {config.max_len} interactions",
        "num_items": config.num_items,
        "call": _call(encoder),
        "learned": learned,
    }
    return _TEMPLATE.format(**fields, **parameters)


def _call(encoder: EncoderConfig) -> str:
    """A call of `encode` with all that this encoder reads."""
    timed, columns, profile = reads(encoder)
    shown = {name: "[[1.5, 2.5]]" if name == PRICE else '[["a", "b"]]' for name in columns}
    shown |= {name: '["a"]' for name in profile}
    values = ", ".join(f'"{name}": {lists}' for name, lists in shown.items())
    given = ["histories", *(["times"] if timed else [])]
    given += ["until=datetime(2024, 3, 1)"] if encoder.tempo else []
    given += [f"fields={{{values}}}"] if shown else []
    lines = [_LOAD, *([_TIMES] if timed else []), f"vectors = encoder.encode({', '.join(given)})"]
    return "\n".join([_MOMENT, "", *lines] if timed else lines)
