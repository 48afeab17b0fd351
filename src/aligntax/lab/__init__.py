"""Trains, taxes and repairs a tiny model in a generated world, and reports what each method gave.

How the pieces fit, from the ground up:

    words        the vocabulary, and the refusal
    world        World: items (prompt, right answer, family), splits that never meet
    tokens       Coder: items to batches; the same words as an ordinary fast tokenizer
    model        a small Llama of an ordinary Hugging Face folder, and logits at the answers alone
    pretraining  SCALES, pretrained(scale, seed=...) -> Base: trained once, kept by a hash of recipe and code
    sampling     sampled answers, for reinforcement
    safety       safety_items(world), train(model, coder, items, SafetyRecipe) -> checkpoints: SFT, DPO, GRPO
    measures     Exam(base, "selection" | "report"): an Objective; exam.scores(model) has every axis

    base = pretrained(SCALES["tiny"], seed=0)
    model = copied(base.model)
    for checkpoint in train(model, base.coder, safety_items(base.world), SafetyRecipe(), keep=(8, 16, 32)):
        scores = Exam(base, "report").scores(restore(model, checkpoint))

Whatever trains another way (LoRA, an adapter in the null space, TRL on the saved folder) starts from a `Base` too:
`base.folder` is a model that every tool loads, `write_rows` writes the rows, `World.general` the general text.
"""
