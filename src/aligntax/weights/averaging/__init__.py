"""Checkpoints averaged by block and role: planned, streamed, resumable, never over an input."""
