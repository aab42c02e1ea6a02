"""Error by kind of question, experiments side by side: a heat map in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Metrics = Mapping[str, Mapping[str, float]]  # metric to {"mean", "std", "seed_1", ...}

BEFORE = "accuracy_"  # how the metrics begin that are about a kind
FAILED = 5.0  # percent: a kind with a larger error counts as failed (Weston et al. 2015)
STYLE = """
.kinds th, .kinds td { padding: 0.25rem 0.5rem; font-size: 0.82rem; }
.kinds thead th { text-align: right; max-width: 8rem; vertical-align: bottom; }
.kinds thead th:first-child { text-align: left; }
.kinds td { text-align: right; font-variant-numeric: tabular-nums; border: 1px solid var(--page); }
.kinds td.error { background: color-mix(in srgb, var(--bad) var(--share), transparent); }
.kinds td.least { font-weight: 600; }
.kinds tfoot th, .kinds tfoot td { border-top: 1px solid var(--rule); }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="kinds"><caption class="unseen">Error in percent of each kind of question, by experiment</caption>
<thead><tr><th scope="col">kind</th>{% for name in names -%}
<th scope="col">{% for part in name.split("_") %}{{ part }}{% if not loop.last %}_<wbr>{% endif %}{% endfor %}</th>
{%- endfor %}</tr></thead>
<tbody>{% for kind, errors in rows %}{% set least = errors | min %}
<tr><th scope="row">{{ kind }}</th>{% for error in errors -%}
<td class="error{% if error == least %} least{% endif %}" style="--share: {{ (error * 0.6) | round | int }}%">
{{- "%.1f" | format(error) }}{% if error > failed %}<span class="unseen"> failed</span>{% endif %}</td>{% endfor %}</tr>
{%- endfor %}</tbody>
<tfoot><tr><th scope="row">mean</th>{% for mean in means %}<td>{{ "%.1f" | format(mean) }}</td>{% endfor %}</tr>
<tr><th scope="row">above {{ "%g" | format(failed) }} %</th>{% for count in counts -%}
<td>{{ count }}</td>{% endfor %}</tr>
</tfoot></table>
""")


def errors(metrics: Metrics) -> dict[str, float]:
    """Give the error in percent of each kind, the mean over seeds, from an experiment's metrics."""
    return {
        name.removeprefix(BEFORE): 100 - values["mean"] for name, values in metrics.items() if name.startswith(BEFORE)
    }


def draw(by_experiment: Mapping[str, Metrics]) -> Markup | None:
    """Write a table of kinds by experiments, the kinds in the order of their names.

    Experiments without kinds, or with fewer of them than others, are left out; None where no two kinds are left.
    """
    told = {key: errors(metrics) for key, metrics in by_experiment.items()}
    most = max(map(len, told.values()), default=0)
    told = {key: values for key, values in told.items() if len(values) == most}
    if most < 2:
        return None
    rows = [(_words(kind), [values[kind] for values in told.values()]) for kind in sorted(next(iter(told.values())))]
    columns: list[dict[str, Any]] = list(told.values())
    return Markup(
        TEMPLATE.render(
            names=list(told),
            rows=rows,
            means=[sum(values.values()) / most for values in columns],
            counts=[sum(error > FAILED for error in values.values()) for values in columns],
            failed=FAILED,
        )
    )


def _words(kind: str) -> str:
    return kind.replace("_", " ")
