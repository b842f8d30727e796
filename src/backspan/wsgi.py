"""For WSGI applications: ``FeedbackMiddleware`` puts a feedback token on their answers."""

from __future__ import annotations

from backspan.feedback.wsgi import FeedbackMiddleware

__all__ = ["FeedbackMiddleware"]
