"""Ratios tried in place, without files: sensitivity of each block, and a search for the front of two objectives."""
