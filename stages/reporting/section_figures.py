"""The figures of one data set: what its predictions and traces have to show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stages.core.base.files import read_jsonl
from stages.figures import (
    attention,
    attention_map,
    calibration,
    confusion,
    extremes,
    fact_attention,
    gates,
    heads,
    kind_scores,
    length_scores,
    lines,
    n_best,
    neighbours,
    posteriors,
    results_table,
    similarity_bands,
    slot_scores,
    vector_map,
)
from stages.reporting import results as reading
from stages.reporting.drawing import COLOURS, inline
from stages.reporting.results import Result, Section, badness
from stages.reporting.worked_examples import kind_of, predicts

BAND = re.compile(r"\d+")
STYLED = (
    *(slot_scores, confusion, attention, attention_map, gates, heads, posteriors, n_best, extremes, neighbours),
    *(kind_scores, fact_attention),
)
AT_LEAST = 3  # lengths, for a curve of a metric by length
MAPS = 3  # experiments whose attention or vectors are drawn


@dataclass(frozen=True)
class Figure:
    """A figure of a section: its heading, what to read in it, and the drawing."""

    heading: str
    note: str
    body: Markup


def section_figures(section: Section) -> list[Figure]:
    """Draw what a section's predictions and traces have to show."""
    drawn = (_slot_figure(section), _confusion_figure(section), _attention_figure(section), _gates_figure(section))
    of_sequences = (
        _kind_figure(section),
        _fact_figure(section),
        _heads_figure(section),
        _length_figure(section),
        *_range_figures(section),
        _similarity_figure(section),
        _attention_map_figure(section),
        _vector_figure(section),
        _neighbours_figure(section),
        _extremes_figure(section),
    )
    return [figure for figure in (*drawn, *_speech_figures(section), *of_sequences) if figure]


def taggers(section: Section) -> dict[str, Result]:
    """Give the experiments that label tokens, by key."""
    results = {key: result for key, result in section.results.items() if result.predictions}
    return {key: r for key, r in results.items() if {"tokens", "tags"} <= set(r.predictions[0])}


def _slot_figure(section: Section) -> Figure | None:
    tagged, pair = taggers(section), _both_ways(section)
    chosen = [key for key in tagged if key in section.shown or key in (pair or ())]
    records = {key: tagged[key].predictions for key in chosen}
    body = slot_scores.draw(records, pair) if len(records) > 1 else None
    if body is None:
        return None
    which = "" if len(chosen) == len(section.results) else ", the best of each kind of model"
    note = (
        f"Percent, of spans whose ends and slot must both be right, by each experiment’s first seed{which}. Slots with "
        f"fewer than {slot_scores.FEWEST} spans in the test data are left out."
    )
    if pair:
        gained = slot_scores.gains(records, pair)
        most = ", ".join(f"{slot} ({gain:+.0f} points)" for slot, gain in list(gained.items())[:3] if gain > 0)
        note += f" {pair[1]} reads both ways, {pair[0]} of the same cell forward only"
        note += f": what comes later in the sentence matters most to {most} (N7)." if most else " (N7)."
    return Figure(f"F1 by slot on {section.name}", note, body)


def _both_ways(section: Section) -> tuple[str, str] | None:
    """Find two tagging experiments that differ in whether they read both ways, and in the fewest other settings."""
    pairs = [
        (_differences(one, other), -list(section.results).index(other.key), one.key, other.key)
        for one in taggers(section).values()
        for other in taggers(section).values()
        if one.experiment.model["name"] == other.experiment.model["name"]
        and not one.experiment.model.get("bidirectional")
        and other.experiment.model.get("bidirectional")
    ]
    return min(pairs)[2:] if pairs else None


def _differences(one: Result, other: Result) -> int:
    settings = [
        {f"{part}.{name}": value for part in ("task", "model") for name, value in getattr(r.experiment, part).items()}
        for r in (one, other)
    ]
    return sum(settings[0].get(name) != settings[1].get(name) for name in settings[0].keys() | settings[1].keys())


def _confusion_figure(section: Section) -> Figure | None:
    best = min(taggers(section).values(), key=badness, default=None)
    body = confusion.draw(best.predictions) if best else None
    if best is None or body is None:
        return None
    note = (
        f"Tokens of the test data, as {best.key}, the best here, labels them with its first seed; the deeper a colour, "
        f"the larger the share of its row. Of slots that are ever confused, the {confusion.MOST} confused most often; "
        "whether a token begins its slot has no part in this."
    )
    return Figure(f"Which slots are taken for which on {section.name}", note, body)


def _attention_figure(section: Section) -> Figure | None:
    for result in sorted(section.results.values(), key=badness):
        body = attention.draw(result.predictions)
        if body:
            note = (
                f"The weights with which {result.key} pools the outputs at all steps, first seed; the deeper a step’s "
                f"colour, the larger its weight, relative to the largest of its text. The first {attention.EACH} right "
                f"and wrong test examples of at most {attention.LONGEST} steps, in an order that a hash fixes."
            )
            if "&lt;unk&gt;" in body:
                note += " <unk> is a word too rare in training to have a vector of its own."
            return Figure(f"Where attention looks on {section.name}", note, body)
    return None


def _gates_figure(section: Section) -> Figure | None:
    """Draw the gates of the plainest network that has a forget gate."""
    traces = [(r, r.trace) for r in section.results.values() if r.trace and "layers" in r.trace]
    traced = [(result, trace) for result, trace in traces if "forget" in trace["layers"][0]]
    if not traced:
        return None
    result, trace = min(traced, key=lambda pair: (len(pair[1]["layers"]), len(pair[0].experiment.model)))
    part = f", its first {gates.LONGEST} steps" if len(trace["steps"]) > gates.LONGEST else ""
    note = (
        f"{result.key} reads a test example{part}: a row is one of the {gates.UNITS} units whose output moves most, a "
        "column a step; a gate is the deeper in colour the wider it is open, a state the farther from 0 (orange below "
        "0). The mean opening is that of all units. The forget gate, which keeps the cell where it is open, is open to "
        f"{gates.mean_opening(trace, 'forget'):.2f} on average (N8, N19)."
    )
    body = gates.draw(trace, bool(result.experiment.model.get("bidirectional")))
    return Figure(f"Gates over one example of {section.name}", note, body)


def _heads_figure(section: Section) -> Figure | None:
    """Draw where the heads of the best network with a memory are."""
    traces = [(r, r.trace) for r in sorted(section.results.values(), key=badness) if r.trace and heads.fits(r.trace)]
    if not traces:
        return None
    result, trace = traces[0]
    note = (
        f"{result.key} on two test sequences, first seed: the first of the test data, and the first of the longest, "
        f"beyond all that training had (N28). {heads.LEGEND}"
    )
    return Figure(f"Where the heads are on {section.name}", note, heads.draw(trace))


def _kind_figure(section: Section) -> Figure | None:
    """Write every experiment's error by kind of question."""
    body = kind_scores.draw({key: result.metrics for key, result in section.results.items()})
    note = (
        "Percent, mean over seeds, of every experiment; the least of each kind is bold. A kind with an error above "
        f"{kind_scores.FAILED:g} % counts as failed (Weston et al. 2015)."
    )
    return Figure(f"Error by kind of question on {section.name}", note, body) if body else None


def _fact_figure(section: Section) -> Figure | None:
    """Write how much of its attention each hop of the memory networks gives to the supporting facts."""
    networks = {key: r for key, r in section.results.items() if r.experiment.model["name"] == "memory_network"}
    body = fact_attention.draw({key: result.predictions for key, result in networks.items()})
    note = (
        "Percent of a hop’s attention, mean over test questions of the first seed, on the sentences that the answer "
        "rests on, which training never tells. A network of one hop cannot look for a second fact by what the first "
        "one says (N29). Beside the kind stand the mean number of those sentences, and the percentage that they "
        "would have if attention were even over the story."
    )
    return Figure(f"Where the hops look on {section.name}", note, body) if body else None


def _speech_figures(section: Section) -> list[Figure | None]:
    """Draw what was heard when, the other readings, and what confidence is worth."""
    heard = [result for result in section.shown.values() if _is_speech(result)]
    sure = calibration.chart({result.key: result.predictions for result in heard}, _colours(heard)) if heard else None
    drawn = [*_posterior_figures(section), _n_best_figure(section)]
    if sure is not None:
        note = (
            "Symbols that were heard, gathered by confidence, against the share of them that was said; the larger a "
            "point, the more symbols. On the dashed line a confidence means what it says; above it a network is better "
            "than it believes. First seeds."
        )
        said = "; ".join(
            f"{result.key}: {', '.join(f'{100 * mean:.0f} % {100 * share:.0f} %' for mean, share, _ in told)}"
            for result in heard
            if (told := calibration.bins(result.predictions))
        )
        body = inline(sure, f"Mean confidence and share right of the symbols of each band of confidence; {said}")
        drawn.append(Figure(f"What a confidence is worth on {section.name}", note, body))
    return drawn


def _colours(results: Sequence[Result]) -> dict[str, str]:
    """Give each experiment a colour of its own, where its family's might be another's too; that of a peer is muted."""
    series = [name for name in COLOURS if name.startswith("series-")]
    networks = [result.key for result in results if not result.peer]
    found = {key: f"var(--{series[place % len(series)]})" for place, key in enumerate(networks)}
    return {result.key: found.get(result.key, "var(--muted)") for result in results}


def _is_speech(result: Result) -> bool:
    return bool(result.predictions) and {"symbols", "prediction", "confidence"} <= set(result.predictions[0])


def _posterior_figures(section: Section) -> list[Figure | None]:
    """Draw the same test example as the best network with the null hears it, and as the best without it does."""
    chosen: dict[str, tuple[Result, dict[str, Any]]] = {}
    for result in sorted(section.results.values(), key=badness):
        if result.trace and posteriors.fits(result.trace):
            chosen.setdefault(result.experiment.task.get("criterion", "ctc"), (result, result.trace))
    figures: list[Figure | None] = []
    for criterion, (result, trace) in chosen.items():
        note = (
            f"{result.key} hears a test example, first seed. Above, the frames: blue over, orange under the mean of a "
            "coefficient. Then the probability of each symbol at each step; its name stands over the highest of them. "
            "Below, when each was heard by the best alignment, and when it was said. "
        )
        note += (
            f"The dashed line is the null: it leads at {100 * posteriors.null_share(trace):.0f} % of the steps, and it "
            "is what keeps two equal symbols apart (N23)."
            if criterion == "ctc"
            else "This network was taught a symbol at each step and has no null: equal neighbours merge into one (N23)."
        )
        figures.append(Figure(f"What {result.key} hears", note, posteriors.draw(trace)))
    return figures


def _n_best_figure(section: Section) -> Figure | None:
    """List the readings of the best experiment that searched for more than one."""
    for result in sorted(section.results.values(), key=badness):
        body = n_best.draw(result.predictions, result.experiment.task.get("separator", " "))
        if body and "source" in result.predictions[0]:
            note = (
                f"The outputs that the beam search of {result.key} ended with, the best {n_best.SHOWN}, of the test "
                "examples in which the first two are nearest to each other; ✓ marks a reference. The score is what the "
                "search orders by; the shares are those of the probabilities. First seed."
            )
            return Figure(f"Other outputs on {section.name}", note, body)
        if body:
            note = (
                f"The readings that the beam search of {result.key} ended with, the best {n_best.SHOWN}, of the test "
                "examples in which the first two are nearest to each other; ✓ marks what was said. The score is the "
                "log-probability, and with a language model that of the text too. First seed."
            )
            return Figure(f"Other readings on {section.name}", note, body)
    return None


def _length_figure(section: Section) -> Figure | None:
    """Draw how the score of outputs changes with length."""
    results = [result for result in section.shown.values() if length_scores.measure_of(result.predictions)]
    measure = length_scores.measure_of(results[0].predictions) if results else None
    if measure is None:
        return None
    results = [result for result in results if measure.fits(result.predictions[0])]
    points = {result.key: length_scores.points(result.predictions, measure) for result in results}
    order = sorted({band for values in points.values() for band in values}, key=lambda band: int(BAND.findall(band)[0]))
    drawn = lines.chart(points, order, (measure.axis, measure.unit), _colours(results))
    if drawn is None:
        return None
    note = (
        f"{measure.note}, each experiment’s first seed; lengths of fewer than {length_scores.FEWEST} examples are left "
        "out."
    )
    alternative = f"{measure.unit} by {measure.axis}: {_said(points)}"
    return Figure(f"{measure.heading} on {section.name}", note, inline(drawn, alternative))


def _said(points: Mapping[str, Mapping[str, float]]) -> str:
    """Say in words what a chart of lines shows."""
    return "; ".join(
        f"{key}: {', '.join(f'{band.partition(chr(10))[0]} {value:.1f}' for band, value in values.items())}"
        for key, values in points.items()
    )


def ranges(section: Section) -> dict[str, dict[str, dict[str, float]]]:
    """Give the metrics that are taken at three lengths or more: by metric, experiment and length, mean over seeds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for result in section.results.values():
        for name, values in result.metrics.items():
            metric, _, length = name.rpartition("_")
            if metric and length.isdigit():
                found.setdefault(metric, {}).setdefault(result.key, {})[length] = values["mean"]
    return {metric: points for metric, points in found.items() if max(map(len, points.values())) >= AT_LEAST}


def _range_figures(section: Section) -> list[Figure]:
    """Draw how each metric that is taken at several lengths changes with it."""
    figures = []
    for metric, points in ranges(section).items():
        order = sorted({length for values in points.values() for length in values}, key=int)
        unit = results_table.column(metric, [{"mean": value} for v in points.values() for value in v.values()]).heading
        colours = _colours([section.results[key] for key in points])
        drawn = lines.chart(points, order, ("length of the test sequences", unit), colours)
        note = "Mean over seeds. Lengths beyond those of training tell whether a procedure was learnt, or its examples."
        heading = f"{results_table.label(metric).capitalize()} by length on {section.name}"
        figures.append(Figure(heading, note, inline(drawn, f"{unit} by length: {_said(points)}")))
    return figures


def _similarity_figure(section: Section) -> Figure | None:
    """Draw how much of a score is owed to training sentences like the test's."""
    results = [result for result in section.results.values() if similarity_bands.metric_of(result.metrics)]
    if not results:
        return None
    metric = similarity_bands.metric_of(results[0].metrics)
    bands = list(dict.fromkeys(band for result in results for band in similarity_bands.bands(result.metrics, metric)))
    named = similarity_bands.named(bands, results[0].predictions)
    points = {result.key: similarity_bands.points(result.metrics, metric, named) for result in results}
    titles = "similarity to the nearest training sentence", results_table.label(metric)
    drawn = lines.chart(points, list(named.values()), titles, _colours(results))
    if drawn is None:
        return None
    peers = [result.key for result in results if result.peer]
    note = (
        f"{results_table.label(metric)}, mean over seeds, of test sentences by the similarity (0 to 1) of their source "
        "to the nearest one of the training split."
    )
    if peers:
        lowest = next(iter(named.values()))
        bar = max(points[key].get(lowest, 0.0) for key in peers)
        above = [key for key, values in points.items() if key not in peers and values.get(lowest, 0.0) > bar]
        note += (
            f" The peer ({', '.join(peers)}, grey) knows training sentences only, and so tells how far they alone "
            f"lead. Where no training sentence is near ({lowest.partition(chr(10))[0]}), it reaches {bar:.1f}; above "
            f"that: {', '.join(above) or 'no network'}."
        )
    if metric == "bleu":
        tokenize = str(results[0].experiment.metric.get("tokenize", "zh"))
        note += f" By sacrebleu: {similarity_bands.signatures(tokenize)}."
    alternative = f"{titles[1]} by {titles[0]}: {_said(points)}"
    return Figure(f"Score by similarity to training on {section.name}", note, inline(drawn, alternative))


def _attention_map_figure(section: Section) -> Figure | None:
    """Draw what the best experiment of each kind of attention looks at as it writes."""
    chosen: dict[str, tuple[Result, dict[str, Any]]] = {}
    for result in sorted(section.results.values(), key=badness):
        if result.trace and attention_map.fits(result.trace):
            kind = str(result.experiment.model.get("attention", result.experiment.model["name"]))
            chosen.setdefault(kind, (result, result.trace))
    if not chosen:
        return None
    drawn = [(result.key, kind, attention_map.draw(trace)) for kind, (result, trace) in list(chosen.items())[:MAPS]]
    note = (
        "A test example, first seed: a row is a symbol of the reference, which the decoder is made to put out whatever "
        "it would put out itself, a column one of the source. The "
        "deeper a square, the larger the weight with which the one symbol looked at the other; a row’s weights "
        f"sum to 100 %, and those of {attention_map.WRITTEN} % and more are written. A decoder without attention has "
        "one vector for the whole source (N24). </s> is the stop symbol."
    )
    body = Markup().join(
        Markup("<figure><figcaption>{} ({})</figcaption>{}</figure>").format(key, kind.replace("_", " "), body)
        for key, kind, body in drawn
    )
    return Figure(
        f"Where the decoder looks on {section.name}", note, Markup('<div class="looks">{}</div>').format(body)
    )


def _vector_figure(section: Section) -> Figure | None:
    """Draw the vectors of test examples in two dimensions, for some experiments side by side."""
    results = [
        result
        for result in sorted(section.results.values(), key=lambda result: (result.peer, badness(result)))
        if any(map(vector_map.fits, result.predictions[:1]))
    ][:MAPS]
    spoken = [result for result in results if "word" in result.predictions[0]]
    unseen = _unseen_words(section, spoken[0].predictions) if spoken else []
    maps = []
    for result in results:
        chosen = vector_map.choose(result.predictions)
        drawn = (
            vector_map.words(chosen, unseen)
            if result in spoken
            else vector_map.texts(chosen, list(map(neighbours.text_of, chosen)))
        )
        if drawn:
            chart, plane = drawn
            shares = " and ".join(f"{100 * share:.0f} %" for share in plane.shares)
            said = f"Map of {len(chosen)} vectors of {result.key}; its axes hold {shares} of their variance"
            caption = f"{result.key}: {len(chosen)} vectors; the axes hold {shares} of the variance"
            maps.append((caption, inline(chart, said)))
    if not maps:
        return None
    note = (
        "Vectors of test examples, first seed, scaled to length 1, on the two directions in which they spread most "
        "(principal components). What the other directions hold is not seen here: two points that lie together may be "
        "far apart. "
    )
    if spoken:
        note += "A point is a spoken word, its colour the word; each word’s name stands in the middle of its points. "
        if unseen:
            note += f"Triangles are words never heard in training: {', '.join(unseen)}. "
        note += "The better the vectors, the more the recordings of a word lie together, and apart from others (N27)."
    else:
        note += "Point at one to read its text; some of the outermost are written (N26)."
    body = Markup('<div class="maps">{}</div>').format(
        Markup().join(
            Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(caption, drawn) for caption, drawn in maps
        )
    )
    return Figure(f"A map of the vectors on {section.name}", note, body)


def _unseen_words(section: Section, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the words of ``records`` that training has not: those marked "unseen", or else not in the training split."""
    words = {str(record["word"]) for record in records}
    if any("unseen" in record for record in records):
        return sorted({str(record["word"]) for record in records if record.get("unseen")})
    path = reading.DATA / "prepared" / section.dataset / "train.jsonl"
    heard = {str(example["word"]) for example in read_jsonl(path) if "word" in example} if path.exists() else set()
    return sorted(words - heard) if heard else []


def _neighbours_figure(section: Section) -> Figure | None:
    """List the nearest texts of some texts by the vectors of each experiment."""
    body = neighbours.draw({key: result.predictions for key, result in section.shown.items()})
    if body is None:
        return None
    note = (
        f"Some test texts, in an order that a hash fixes, and for each experiment the {neighbours.SHOWN} texts whose "
        "vectors are nearest by cosine (1: the same direction), first seed. A vector that has lost the order of the "
        "words is the same for every order of them (N26)."
    )
    return Figure(f"Nearest neighbours on {section.name}", note, body)


def _extremes_figure(section: Section) -> Figure | None:
    """Show the best and the worst outputs of each experiment, the experiment with the best score first."""
    results = [result for result in sorted(section.shown.values(), key=badness) if predicts(result)]
    kind = kind_of([result.predictions[0] for result in results]) if results else None
    if kind is None or not extremes.fits(kind):
        return None
    note = (
        f"Of each experiment’s first seed, chosen by this number, which stands above each: {kind.MEASURE}. Of examples "
        "with the same number, the longest comes first. The extremes show what can happen, not what is usual."
    )
    body = extremes.draw({result.key: result.predictions for result in results}, kind)
    return Figure(f"Best and worst examples from {section.name}", f"{note} {kind.LEGEND}", body)
