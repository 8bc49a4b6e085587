"""Runs programs that nobody vouches for, and says what came of it."""

from midfill.sandbox.box import Box
from midfill.sandbox.sandbox import Sandbox, judge
from midfill.sandbox.supervise import InfraError
from midfill.sandbox.verdict import Limits, Outcome, Verdict

__all__ = ["Box", "InfraError", "Limits", "Outcome", "Sandbox", "Verdict", "judge"]
