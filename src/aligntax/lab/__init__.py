"""Trains, taxes and repairs a tiny model in a generated world, and reports what each method gave."""
