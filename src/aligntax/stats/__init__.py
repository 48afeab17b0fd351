"""Arrays in, an Estimate out: stateless functions that say what they assume and where they come from."""
