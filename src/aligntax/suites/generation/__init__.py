"""The parts of `suites.generating`: what is asked, what was answered, what stays, and what people say of it."""

from __future__ import annotations
