"""Generate one synthetic dataset: ``python -m stages.generate DATASET``.

Writes data/prepared/<dataset>/ in the form that stages/prepare.py gives real data.
"""

import argparse
from pathlib import Path
from typing import Any

from stages.core.base import errors, files, params
from stages.core.learning import dataset


def generate(name: str, values: dict[str, Any]) -> None:
    """Generate and split the data; the outputs appear when all is well."""
    module = params.load_role("dataset", name, f"generated.{name}")
    prepared = module.generate(params.read_settings(module.Settings, values, f"generated.{name}"))
    with files.whole_folder(Path("data/prepared") / name) as folder:
        dataset.write_prepared(prepared, folder)
    print(dataset.describe(prepared))


def main() -> None:
    """Parse the command line and generate."""
    parser = argparse.ArgumentParser(description="Generate one synthetic dataset.")
    parser.add_argument("dataset", help="a key of generated in params.yaml")
    name = parser.parse_args().dataset
    generate(name, params.choose(name, params.load().generated, "generated dataset"))


if __name__ == "__main__":
    errors.run(main)
