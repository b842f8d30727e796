"""Feedback: the model of a judgement, its telemetry, its token, and where judgements go (`Sink`)."""
