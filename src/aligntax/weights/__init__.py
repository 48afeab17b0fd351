"""For teams that own the weights: recover what safety training cost, and show that it was recovered.

Convention everywhere: `theta = theta0 + a * (theta1 - theta0)`, theta0 before safety training, theta1 after it;
`a` is the share of the ALIGNED model.

    layout, ratios   where a tensor stands, and how much of the aligned model it gets
    loading          models, tokenizers and rows from local folders; safetensors only, no remote code
    linears, batches the matrices inside the layers; rows as token arrays
    averaging/       checkpoints in, one checkpoint out
    searching/       which ratios: sensitivity, strategies, objectives
    training/        SFT, DPO and GRPO that spare capability
    null_space/      the directions that general inputs hardly reach, and the adapter that stays in them
    steering/        false refusals ablated above a floor
    certifying/      what a step does to general inputs
"""
