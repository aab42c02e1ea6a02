"""What each measure by which experiments are judged says, in a sentence for a reader who has not met it."""

from __future__ import annotations

MEANINGS = {
    "accuracy": "the share of the test examples that are answered rightly.",
    "average_precision": "recordings are ranked by how near they are to one that is asked for; 100 % has all of the "
    "same word before all others.",
    "bits_per_sequence": "the cost, in bits, of the right answer under the probabilities that a model gave; 0 is "
    "certain and right, 1 a coin’s throw for each bit of the answer.",
    "bleu": "how many runs of one to four characters a translation shares with the reference, 0 to 100.",
    "bracket_f1": "the brackets of a tree that are found with the right ends and the right label: the harmonic mean "
    "of the share of those found that are right and the share of the right ones that are found.",
    "contrast_accuracy": "the share of right slots in pairs of sentences that differ only in the word that decides "
    "them; without memory at most half are right.",
    "error_rate": "the share of wrong answers, averaged over the kinds of question.",
    "exact_match": "the share of the outputs that are right from beginning to end.",
    "phoneme_error_rate": "phones put wrongly, left out or added, as a share of those in the dictionary; more than 100 "
    "% where an output never ends.",
    "span_f1": "slots or terms found with the right ends and the right name: the harmonic mean of the share of those "
    "found that are right and the share of the right ones that are found.",
    "token_error_rate": "symbols heard wrongly, missed or added, as a share of those that were said.",
}
WORDS = {
    "CRF": "conditional random field: labels are chosen together, each beside its neighbour, not one by one.",
    "CTC": "connectionist temporal classification (N23).",
    "LSTM, GRU": "recurrent networks whose memory has gates (N8, N13); bidirectional ones read both ways (N7).",
    "Peer": "a classic method that is no neural network, on the same data.",
    "Seed": "the number that sets a training’s first weights and the order of its data; each experiment is trained "
    "under several.",
}


def meanings(metrics: list[str]) -> dict[str, str]:
    """Give what those of ``metrics`` mean that are known, in their order, each once."""
    return {metric: MEANINGS[metric] for metric in dict.fromkeys(metrics) if metric in MEANINGS}
