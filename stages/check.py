"""Check every setting of ``params.yaml`` against the code that reads it: ``python -m stages.check``.

``python -m stages.repro`` does so before it runs anything, so that a slip in the last experiment does not wait for the
others to be trained.
"""

from stages.core import claims, demonstration
from stages.core.base import errors, params
from stages.core.base.params import Experiment, Params
from stages.core.learning.task import read_training


def check(values: Params) -> None:
    """Read all settings; raises InputError at the first that is wrong."""
    for name, real in values.datasets.items():
        module = params.load_role("dataset", name, f"datasets.{name}")
        params.read_settings(module.Settings, real.prepare, f"datasets.{name}.prepare")
    for name, generated in values.generated.items():
        module = params.load_role("dataset", name, f"generated.{name}")
        params.read_settings(module.Settings, generated, f"generated.{name}")
    for name, experiment in values.experiments.items():
        check_experiment(experiment, f"experiments.{name}")
    for name, worked in values.demonstrations.items():
        demonstration.load(name, worked)


def check_experiment(experiment: Experiment, where: str) -> None:
    """Read the settings of one experiment; ``where`` is its key."""
    parts = {role: params.load_part(role, getattr(experiment, role), f"{where}.{role}") for role in params.PARTS}
    read_training(parts["model"][0], experiment.training, f"{where}.training")


def main() -> None:
    """Check, and say so."""
    values = params.load()
    check(values)
    claims.check(claims.read(), values)
    counted = f"{len(values.experiments)} experiments and {len(values.demonstrations)} demonstrations"
    print(f"{params.PARAMS}: all settings of {counted} are known and in range")


if __name__ == "__main__":
    errors.run(main)
