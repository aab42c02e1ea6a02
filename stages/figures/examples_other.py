"""Worked examples of a kind that has no file of its own: the fields of the test example, and each prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

TARGETS = ("target", "answer", "label")
VERDICTS = ("right", "wrong")
LONGEST = 300  # characters of a field that are shown
LEGEND = "✓ marks a prediction that equals the target."
STYLE = """
.fields td { white-space: normal; overflow-wrap: anywhere; min-width: 12em; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="fields stack"><tbody>{% for name, value in fields %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}{% for name, value, equal in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}{% if equal %} <span class="verdict">✓</span>{% endif %}</td></tr>
{%- endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say yes: every prediction record can be shown this way."""
    return True


def right(record: Record) -> bool:
    """Say whether the prediction equals the target, under whatever name the target goes."""
    return any(name in record and record[name] == record["prediction"] for name in TARGETS)


def show(item: Item) -> Markup:
    """Write the fields that all experiments' records share, then each experiment's prediction."""
    first, *others = item.values()
    shared = [name for name in first if name not in ("id", "key") and all(o.get(name) == first[name] for o in others)]
    fields = [(name, _text(first[name])) for name in shared if name != "prediction"]
    rows = [(key, _text(record["prediction"]), right(record)) for key, record in item.items()]
    return Markup(TEMPLATE.render(fields=fields, rows=rows))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
