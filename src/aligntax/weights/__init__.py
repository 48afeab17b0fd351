"""For teams that own the weights: recover what safety training cost, and show that it was recovered.

Convention everywhere: `theta = theta0 + a * (theta1 - theta0)`, theta0 before safety training, theta1 after it;
`a` is the share of the ALIGNED model.
"""
