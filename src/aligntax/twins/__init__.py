"""Twins: prompts that ask for the same in sensitive and in neutral words, and what the difference costs."""

from __future__ import annotations
