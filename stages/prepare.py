"""Prepare one real dataset: ``python -m stages.prepare DATASET``.

Reads data/raw/<dataset>; writes data/prepared/<dataset>/ ({train,validation,test}.jsonl, arrays.safetensors where there
are arrays, summary.json with every rejected record counted by reason). Sound becomes log-mel frames, with the pitch
where the data set asks for it.
"""

import argparse
import dataclasses
from pathlib import Path

from stages.core import audio
from stages.core.base import errors, files, params
from stages.core.learning import dataset


def prepare(name: str, values: params.Dataset) -> None:
    """Validate and split the raw data; the outputs appear when all is well."""
    module = params.load_role("dataset", name, f"datasets.{name}")
    settings = params.read_settings(module.Settings, values.prepare, f"datasets.{name}.prepare")
    prepared: dataset.Prepared = module.prepare(Path("data/raw") / name, settings)
    if prepared.waveforms:
        front_end = audio.LOG_MEL_PITCH if prepared.tones else audio.LOG_MEL
        prepared = dataclasses.replace(prepared, arrays=prepared.arrays | audio.arrays(prepared.waveforms, front_end))
    with files.whole_folder(Path("data/prepared") / name) as folder:
        dataset.write_prepared(prepared, folder)
    print(dataset.describe(prepared))


def main() -> None:
    """Parse the command line and prepare."""
    parser = argparse.ArgumentParser(description="Prepare one real dataset.")
    parser.add_argument("dataset", help="a key of datasets in params.yaml")
    name = parser.parse_args().dataset
    prepare(name, params.choose(name, params.load().datasets, "dataset"))


if __name__ == "__main__":
    errors.run(main)
