"""Logistic regression on a bag of n-grams, fitted by scikit-learn: the peer of networks that classify sequences."""

import json
from typing import Any, Literal

import numpy as np
import pydantic
from sklearn import linear_model
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded


@settings
class Settings:
    """N-grams of 1 to ``longest`` steps that ``least`` training examples have.

    ``weighting``: an n-gram counts as often as it stands there ("count"), or once ("binary"), and times its inverse
    document frequency ("tfidf"), each example scaled to length 1. ``inverse_penalty`` is scikit-learn's C.
    """

    longest: int = pydantic.Field(gt=0)
    least: int = pydantic.Field(default=1, gt=0)
    weighting: Literal["count", "binary", "tfidf"] = "tfidf"
    inverse_penalty: float = pydantic.Field(default=1.0, gt=0)


class LogisticRegression(Peer):
    """Fitted to sequences of steps (words or characters) and their labels; gives each label's probability."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.pipeline = self._build()

    def _build(self, terms: list[str] | None = None) -> Pipeline:
        counts = CountVectorizer(
            analyzer=lambda steps: [
                " ".join(steps[start : start + length])
                for length in range(1, self.settings.longest + 1)
                for start in range(len(steps) - length + 1)
            ],
            min_df=self.settings.least,
            binary=self.settings.weighting == "binary",
            vocabulary=terms,
        )
        weigh = TfidfTransformer(sublinear_tf=True) if self.settings.weighting == "tfidf" else "passthrough"
        regression = linear_model.LogisticRegression(C=self.settings.inverse_penalty, max_iter=1000)
        return Pipeline([("counts", counts), ("weigh", weigh), ("regression", regression)])

    def fit(self, inputs: list[list[str]], targets: list[str]) -> None:
        """Fit to ``inputs`` (the steps of each sequence) and ``targets`` (their labels)."""
        with threadpool_limits(1):  # more threads would add in another order, and so give other last bits
            self.pipeline.fit(inputs, targets)

    def log_probabilities(self, inputs: list[list[str]]) -> list[dict[str, float]]:
        """Give the log-probability of each label, in nats, for each sequence."""
        with threadpool_limits(1):
            found = self.pipeline.predict_log_proba(inputs)
        classes = self._regression.classes_.tolist()
        return [dict(zip(classes, row, strict=True)) for row in found.tolist()]

    @property
    def _regression(self) -> Any:
        return self.pipeline.named_steps["regression"]

    def count(self) -> int:
        """Count weights and biases."""
        return int(self._regression.coef_.size + self._regression.intercept_.size)

    def dump(self) -> bytes:
        """Give labels, n-grams and weights as JSON, which keeps every bit of a number."""
        weigh = self.pipeline.named_steps["weigh"]
        content = {
            "labels": self._regression.classes_.tolist(),
            "terms": self.pipeline.named_steps["counts"].get_feature_names_out().tolist(),
            "frequencies": None if weigh == "passthrough" else weigh.idf_.tolist(),
            "weights": self._regression.coef_.tolist(),
            "biases": self._regression.intercept_.tolist(),
        }
        return json.dumps(content, ensure_ascii=False).encode()

    def restore(self, content: bytes) -> None:
        """Take what ``dump`` gave."""
        kept = json.loads(content)
        self.pipeline = self._build(kept["terms"])
        if kept["frequencies"] is not None:
            self.pipeline.named_steps["weigh"].idf_ = np.array(kept["frequencies"])
        self._regression.classes_ = np.array(kept["labels"])
        self._regression.coef_ = np.array(kept["weights"])
        self._regression.intercept_ = np.array(kept["biases"])


def build(settings: Settings, input_size: int) -> LogisticRegression:
    """Build it, not yet fitted; it reads steps, so ``input_size`` has no part in it."""
    return LogisticRegression(settings)
