"""Work one example of the notes: ``python -m stages.demonstrate DEMONSTRATION``.

Writes data/demonstrations/<demonstration>.json: what the notes say, what comes out, and whether the two agree.
"""

import argparse
from pathlib import Path

import torch

from stages.core import demonstration
from stages.core.base import errors, files, params

FOLDER = Path("data/demonstrations")


def demonstrate(name: str, values: params.Demonstration) -> demonstration.WorkedExample:
    """Work the example, and write what it finds."""
    torch.set_num_threads(1)
    module, settings, used = demonstration.load(name, values)
    worked: demonstration.WorkedExample = module.demonstrate(settings, used)
    files.write_json(FOLDER / f"{name}.json", worked.content())
    return worked


def main() -> None:
    """Parse the command line and work the example."""
    parser = argparse.ArgumentParser(description="Work one example of the notes.")
    parser.add_argument("demonstration", help="a key of demonstrations in params.yaml")
    name = parser.parse_args().demonstration
    worked = demonstrate(name, params.choose(name, params.load().demonstrations, "demonstration"))
    print(f"{name} ({', '.join(worked.notes)}): {worked.found}")
    for check, holds in worked.checks.items():
        print(f"  {'holds' if holds else 'does not hold'}: {check}")


if __name__ == "__main__":
    errors.run(main)
