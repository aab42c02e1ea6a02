"""Run one stage by DVC: ``python -m stages.run_stage STAGE``, for ``stages.repro``.

It is ``dvc --wait-for-lock repro --single-item STAGE`` with another pen for ``dvc.lock``. After every stage DVC reads
and writes the whole file with a parser that keeps comments, in pure Python: 3 s, of which 250 stages make a quarter of
an hour. The file has no comments, and libyaml reads and writes the same bytes in 0.7 s (the tests hold the two equal).
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from stages.core.files import write_text

LOCK = "dvc.lock"


class Representer(SafeRepresenter):
    """Writes as DVC's own writer does: text that needs quotes, and has single ones in it, stands in double ones."""


def _text(writer: Representer, value: str) -> Any:
    double = "'" in value and " #" in value  # a comment's mark is what makes a stage's command need quotes
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style='"' if double else None)


Representer.add_representer(str, _text)
Representer.add_representer(OrderedDict, Representer.represent_dict)


def libyaml() -> YAML:
    """Make what reads and writes YAML 1.2 in C."""
    writer = YAML(typ="safe")
    writer.Representer = Representer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return writer


def write_lock(content: dict[str, Any]) -> str:
    """Write the content of ``dvc.lock`` as DVC does."""
    stream = io.StringIO()
    libyaml().dump(content, stream)
    return stream.getvalue()


@contextlib.contextmanager
def edit_lock(path: str) -> Iterator[dict[str, Any]]:
    """Give what ``dvc.lock`` holds (nothing where there is none), and write what it is then, at once or not at all."""
    file = Path(path)
    content = libyaml().load(file.read_text(encoding="utf-8")) if file.exists() else {}
    yield content
    write_text(file, write_lock(content))


def main() -> None:
    """Do as DVC's command line does."""
    from dvc import cli, dvcfile

    edit_any = dvcfile.modify_yaml

    def edit(path: str, fs: Any = None) -> Any:
        return edit_lock(path) if Path(path).name == LOCK else edit_any(path, fs=fs)

    dvcfile.modify_yaml = edit
    # --wait-for-lock: without it, DVC gives up when another one's bookkeeping takes more than 3 seconds.
    sys.exit(cli.main(["--wait-for-lock", "repro", "--single-item", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
