"""What a step between two checkpoints does to general inputs, as measured: the certificate."""
