"""Directions that general inputs hardly reach, and training that stays inside them."""
