"""Memory and time of `aligntax weights train` on a 7 B model, by arithmetic: ESTIMATES, nothing here is measured.

    python benchmarks/train_estimate.py

Bytes per number, floating-point operations per token and an assumed utilisation; each term is printed. What a run
needs in truth is printed by the first steps of that run: take the estimate to choose a machine, not to promise a date.
"""

from __future__ import annotations

LAYERS, WIDTH, MLP, VOCABULARY = 32, 4096, 11008, 32_000  # the shape of Llama 2 7B
PARAMETERS = LAYERS * (4 * WIDTH**2 + 3 * WIDTH * MLP + 2 * WIDTH) + 2 * VOCABULARY * WIDTH + WIDTH
GB = 1e9
PEAK, UTILISATION = 989e12, 0.35  # H100 SXM, dense bfloat16 as its maker states; the utilisation is assumed
RANK = 8
TOKENS_A_ROW, ROWS, ROWS_AT_ONCE, LONGEST = 400, 10_000, 4, 1024
DECODE_S = 0.03  # assumed, for one token of a batch with transformers generate


def lora_numbers(rank: int) -> int:
    """Numbers of an adapter on all seven projections."""
    return LAYERS * rank * (4 * 2 * WIDTH + 3 * (WIDTH + MLP))


def activations(*, recomputed: bool) -> float:
    """Bytes: 34 per token and width in a layer (arXiv:2205.05198, without attention scores), or 2 and one layer."""
    tokens = ROWS_AT_ONCE * LONGEST
    layer = 34 * tokens * WIDTH
    return LAYERS * 2 * tokens * WIDTH + layer if recomputed else LAYERS * layer


def logits() -> float:
    """Bytes of logits and their gradient in float32, where they are held whole."""
    return 2 * 4 * ROWS_AT_ONCE * LONGEST * VOCABULARY


def minutes(operations_a_parameter: int, tokens: float, devices: int = 1) -> float:
    """Of training on that many tokens."""
    return operations_a_parameter * PARAMETERS * tokens / (PEAK * UTILISATION * devices) / 60


def grpo_step_s(prompts: int, generations: int, new_tokens: int) -> float:
    """Seconds of one step: writing the completions, then scoring them twice and learning from them."""
    tokens = prompts * generations * (new_tokens + TOKENS_A_ROW / 2)
    return new_tokens * DECODE_S + 60 * minutes(8, tokens)


def main() -> None:
    """Print every term."""
    tokens = ROWS * TOKENS_A_ROW
    adapter = lora_numbers(RANK)
    base, moved = 2 * PARAMETERS, 16 * adapter
    print("ESTIMATES by arithmetic, not measured")
    print(f"parameters {PARAMETERS:,}; LoRA of rank {RANK} on all projections {adapter:,}")
    print("\nLoRA on one device, GB")
    print(f"  base in bfloat16, 2 bytes a number           {base / GB:6.1f}")
    print(f"  adapter: weights, gradients, Adam, 16 bytes  {moved / GB:6.1f}")
    print(
        f"  activations of {ROWS_AT_ONCE} x {LONGEST} tokens               {activations(recomputed=False) / GB:6.1f}"
    )
    print(f"  the same with --recompute                    {activations(recomputed=True) / GB:6.1f}")
    print(f"  logits                                       {logits() / GB:6.1f}")
    print(
        f"  sum                                          {(base + moved + activations(recomputed=False) + logits()) / GB:6.1f}"
    )
    print(
        f"  sum with --recompute                         {(base + moved + activations(recomputed=True) + logits()) / GB:6.1f}"
    )
    print(f"  null spaces of 1024 directions, 4 bytes      {LAYERS * 4 * 1024 * (3 * WIDTH + MLP) / GB:6.1f}")
    print("\nfull, GB over all devices")
    print(f"  weights, gradients, Adam in float32, 16 bytes {16 * PARAMETERS / GB:6.1f}")
    print(
        f"  the same on each of 4, and of 8 devices       {4 * PARAMETERS / GB:6.1f} {2 * PARAMETERS / GB:6.1f}"
    )
    print(f"  DPO: reference in float32, 4 bytes            {4 * PARAMETERS / GB:6.1f}")
    print(f"  a checkpoint on disk, 4 bytes                 {4 * PARAMETERS / GB:6.1f}")
    print(
        f"\ntime for {ROWS:,} rows of {TOKENS_A_ROW} tokens at {UTILISATION:.0%} of {PEAK / 1e12:.0f} TFLOP/s, minutes"
    )
    print(f"  SFT, LoRA: 4 operations a parameter and token     {minutes(4, tokens):6.1f}")
    print(f"  SFT, LoRA, --recompute: 6                         {minutes(6, tokens):6.1f}")
    print(f"  DPO, LoRA: two answers, scored by both models, 12 {minutes(12, tokens):6.1f}")
    print(f"  SFT, full, 8 devices, --recompute: 8              {minutes(8, tokens, 8):6.1f}")
    step = grpo_step_s(8, 8, 256)
    print(
        f"  GRPO, LoRA: {step:.1f} s a step of 8 x 8 completions of 256 tokens, {ROWS // 8:,} steps {step * ROWS / 8 / 60:6.0f}"
    )
    print(f"  GRPO: keys and values of 64 answers, GB           {64 * 456 * 4 * LAYERS * WIDTH / GB:6.1f}")


if __name__ == "__main__":
    main()
