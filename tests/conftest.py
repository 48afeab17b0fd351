"""Fixtures that several modules of tests share."""

from __future__ import annotations

from stores import store, where

__all__ = ["store", "where"]
