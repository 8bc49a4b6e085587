"""Runs programs that nobody vouches for, and says what came of it."""

from midfill.sandbox.sandbox import Sandbox, judge
from midfill.sandbox.verdict import Limits, Outcome, Verdict
from midfill.sandbox.worker import Box, Fault

__all__ = ["Box", "Fault", "Limits", "Outcome", "Sandbox", "Verdict", "judge"]
