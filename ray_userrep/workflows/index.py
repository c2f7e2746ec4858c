"""An index of stored vectors, measured beside a search of all of them."""

from ray_userrep import storage
from ray_userrep.embedding.indexing import build_index
from ray_userrep.recipe.embedding import IndexConfig
from ray_userrep.report.results import Result


def run_index(vectors: str, config: IndexConfig, output_uri: str) -> Result:
    """Build the index of a folder of vectors and say what it finds and how fast."""
    output_uri = storage.kept(output_uri)
    about = build_index(storage.absolute(vectors), output_uri, config)
    speed = about["queries_per_second"]
    print(f"index     {about['number']:,} {about['of']}, width {about['width']}, {about['form']}")
    print(f"recall    {about['recall@10']:.3f} of the true ten nearest, over {about['queries']:,} queries")
    print(f"speed     {speed['index']:,.0f} queries/s, a search of all {speed['exact']:,.0f}")
    print(f"output    {output_uri}")
    return {"job": "index", "output": output_uri} | about
