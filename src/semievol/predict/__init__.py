"""What a run's model is for: answering new rows, and leaving."""

from semievol.predict.answering import predict, require_model

__all__ = ["predict", "require_model"]
