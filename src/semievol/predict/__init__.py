"""Answers new rows with a run's model."""

from semievol.predict.answering import predict, require_model

__all__ = ["predict", "require_model"]
