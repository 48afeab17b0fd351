"""Time and memory of an average of two checkpoints, beside a copy of one file, loading both, and mergekit.

    python benchmarks/average_speed.py [--gigabytes 1] [--shards 1] [--rounds 3] [--folder DIR] [--mergekit PYTHON]

Two generated bf16 checkpoints of a Llama's layout lie in a temporary folder; a = 0.3. Each way is a process of its
own, which ends when what it wrote is on the disk (fsync), so that a faster memory does not pass for a faster disk; ways take turns,
and the table shows each one's best round. Peak memory is that of the process; the bar is what an average takes above
a process that has imported torch and done nothing. `--mergekit` names a Python that has mergekit. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import metrics as m

SPEED_BAR, COPY_BAR, MEMORY_BAR = 500.0, 0.8, 300.0
WIDTH, INNER = 2048, 5632  # of a Llama of 1 billion parameters: about 103 MB a layer
NOT_INSTALLED = 77


def main() -> int:
    reading = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reading.add_argument("--gigabytes", type=float, default=1.0, help="size of each checkpoint")
    reading.add_argument("--shards", type=int, default=1, help="files of each checkpoint")
    reading.add_argument("--rounds", type=int, default=3)
    reading.add_argument("--folder", type=Path, help="where the temporary folder is made")
    reading.add_argument("--mergekit", default=sys.executable, metavar="PYTHON")
    reading.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    chosen = reading.parse_args()
    if chosen.worker:
        way, *places = chosen.worker
        return worker(way, *map(Path, places))
    print(m.machine())
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        return compared(Path(folder), chosen)


def compared(folder: Path, chosen: argparse.Namespace) -> int:
    base, aligned = (folder / name for name in ("base", "aligned"))
    layers = max(round(chosen.gigabytes * 1e9 / (2 * WIDTH * (4 * WIDTH + 3 * INNER))), 1)
    for seed, path in enumerate((base, aligned)):
        generate(path, layers, chosen.shards, seed)
    size = sum(file.stat().st_size for file in aligned.glob("*.safetensors"))
    best: dict[str, dict[str, Any]] = {}
    for _ in range(chosen.rounds):
        for way in WAYS:
            python = chosen.mergekit if way == "mergekit" else sys.executable
            done = one(way, base, aligned, folder / "out", python)
            if done and (way not in best or done["seconds"] < best[way]["seconds"]):
                best[way] = done
    rows = [
        [way, size / done["seconds"] / 1e6, done["cpu"], done["peak"], done["error"]]
        if (done := best.get(way))
        else [way, "not run", "", "", ""]
        for way in WAYS
        if way != "nothing, torch imported"
    ]
    title = f"two checkpoints of {size / 1e9:.2f} GB, {chosen.shards} shards, best of {chosen.rounds}"
    m.table(title, ["way", "MB/s of output", "CPU s", "peak MB", "mean |error|, 1e-6"], rows)
    print(
        f"\na process that imports torch and does nothing: {best['nothing, torch imported']['peak']:.0f} MB"
    )
    return bars(best, size)


def bars(best: dict[str, dict[str, Any]], size: int) -> int:
    ours, copy = (size / best[way]["seconds"] / 1e6 for way in ("aligntax", "copy of one file"))
    above = best["aligntax"]["peak"] - best["nothing, torch imported"]["peak"]
    fast = ours >= SPEED_BAR or ours >= COPY_BAR * copy
    small = above < MEMORY_BAR
    print(
        f"\n{'met' if fast else 'MISSED'}: {ours:.0f} MB/s (bar {SPEED_BAR:.0f}), {ours / copy:.2f} of the copy "
        f"(bar {COPY_BAR}); either will do"
    )
    print(f"{'met' if small else 'MISSED'}: {above:+.0f} MB beside importing torch (bar {MEMORY_BAR:.0f})")
    return 0 if fast and small else 1


def one(way: str, base: Path, aligned: Path, out: Path, python: str) -> dict[str, Any] | None:
    """Seconds, CPU seconds, peak MB and mean error of one way; None where it is not installed."""
    os.sync()
    command = [python, __file__, "--worker", way, str(base), str(aligned), str(out)]
    done = subprocess.run(  # noqa: S603 - ourselves
        command, capture_output=True, text=True, check=False
    )
    shutil.rmtree(out, ignore_errors=True)
    if done.returncode == NOT_INSTALLED:
        return None
    if done.returncode:
        print(f"{way} failed: {done.stderr.strip().splitlines()[-1]}")
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def worker(way: str, base: Path, aligned: Path, out: Path) -> int:
    run = WAYS[way]
    began = time.perf_counter()
    if run(base, aligned, out) == NOT_INSTALLED:
        return NOT_INSTALLED
    for file in out.glob("*") if out.exists() else ():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": peak_mb()}
    found["error"] = (
        error(base, aligned, out)
        if way not in ("copy of one file", "nothing, torch imported")
        else float("nan")
    )
    print(json.dumps(found))
    return 0


def peak_mb() -> float:
    """Of this program alone: `ru_maxrss` would count what its parent held when it started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text("ascii").partition("VmHWM:")[2].split()[0]) / 1024


# -- ways ----------------------------------------------------------------------------------------------------


def ours(base: Path, aligned: Path, out: Path) -> None:
    from aligntax.weights.averaging.average import average
    from aligntax.weights.averaging.plan import make_plan
    from aligntax.weights.averaging.recipe import Model, Recipe
    from aligntax.weights.ratios import Ratios

    recipe = Recipe(base=str(base), models=(Model(path=str(aligned)),), ratios=Ratios(blocks=(0.3,)))
    average(make_plan(recipe, out))


def copy(base: Path, aligned: Path, out: Path) -> None:
    shutil.copytree(aligned, out, copy_function=plain_copy)


def plain_copy(source: str, target: str) -> None:
    """Read and write 8 MB at a time: a copy within the kernel may share blocks and write nothing."""
    with Path(source).open("rb", buffering=0) as reader, Path(target).open("wb", buffering=0) as writer:
        room = memoryview(bytearray(8 << 20))
        while count := reader.readinto(room):
            writer.write(room[:count])


def load_both(base: Path, aligned: Path, out: Path) -> None:
    from safetensors.torch import load_file, save_file

    out.mkdir()
    first = {
        name: value for file in sorted(base.glob("*.safetensors")) for name, value in load_file(file).items()
    }
    second = {
        name: value
        for file in sorted(aligned.glob("*.safetensors"))
        for name, value in load_file(file).items()
    }
    merged = {
        name: first[name].float().lerp(value.float(), 0.3).to(value.dtype) for name, value in second.items()
    }
    save_file(merged, out / "model.safetensors")


def with_mergekit(base: Path, aligned: Path, out: Path) -> int:
    try:
        from mergekit.config import MergeConfiguration
        from mergekit.merge import MergeOptions, run_merge
    except ImportError:
        return NOT_INSTALLED
    said = {
        "merge_method": "linear",
        "dtype": "bfloat16",
        "models": [
            {"model": str(base), "parameters": {"weight": 0.7}},
            {"model": str(aligned), "parameters": {"weight": 0.3}},
        ],
    }
    options = MergeOptions(
        copy_tokenizer=False, lazy_unpickle=True, low_cpu_memory=False, write_model_card=False
    )
    run_merge(MergeConfiguration.model_validate(said), str(out), options=options)
    return 0


def nothing(base: Path, aligned: Path, out: Path) -> None:
    import torch

    torch.zeros(1)


WAYS: dict[str, Any] = {
    "aligntax": ours,
    "copy of one file": copy,
    "load both, then save": load_both,
    "mergekit": with_mergekit,
    "nothing, torch imported": nothing,
}


# -- checkpoints ---------------------------------------------------------------------------------------------


def generate(path: Path, layers: int, shards: int, seed: int) -> None:
    """A Llama of so many layers in bf16; the second checkpoint is near the first. Values repeat, which nothing here uses."""
    import torch
    from safetensors.torch import save_file

    path.mkdir()
    torch.manual_seed(0)
    pool = torch.randn(2 * WIDTH * INNER)
    if seed:
        pool += 0.01 * torch.randn(len(pool))
    shapes = shapes_of(layers)
    files = [f"model-{at + 1:05}-of-{shards:05}.safetensors" for at in range(shards)]
    files = files if shards > 1 else ["model.safetensors"]
    where = {name: files[at * shards // len(shapes)] for at, name in enumerate(shapes)}
    for file in files:
        held = {}
        for at, (name, shape) in enumerate(shapes.items()):
            if where[name] == file:
                start, count = 7919 * at % (WIDTH * INNER), torch.Size(shape).numel()
                held[name] = pool[start : start + count].bfloat16().view(shape)
        save_file(held, path / file, {"format": "pt"})
    if shards > 1:
        index = {"metadata": {}, "weight_map": where}
        (path / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": layers,
        "hidden_size": WIDTH, "intermediate_size": INNER, "num_attention_heads": 16, "num_key_value_heads": 16,
        "vocab_size": 512, "tie_word_embeddings": False,
    }  # fmt: skip
    (path / "config.json").write_text(json.dumps(config), "utf-8")


def shapes_of(layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (512, WIDTH)}
    for at in range(layers):
        stem = f"model.layers.{at}"
        shapes |= {f"{stem}.self_attn.{part}_proj.weight": (WIDTH, WIDTH) for part in "qkvo"}
        shapes |= {f"{stem}.mlp.{part}_proj.weight": (INNER, WIDTH) for part in ("gate", "up")}
        shapes[f"{stem}.mlp.down_proj.weight"] = (WIDTH, INNER)
        shapes |= {f"{stem}.{part}_layernorm.weight": (WIDTH,) for part in ("input", "post_attention")}
    return shapes | {"model.norm.weight": (WIDTH,), "lm_head.weight": (512, WIDTH)}


def error(base: Path, aligned: Path, out: Path) -> float:
    """Mean distance, in millionths, of the first matrix from the average in float64."""
    from safetensors import safe_open

    name = "model.layers.0.mlp.down_proj.weight"

    def values(folder: Path) -> Any:
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                if name in opened.keys():  # noqa: SIM118 - no mapping
                    return opened.get_tensor(name)[:256].double()
        raise KeyError(name)

    first, second = values(base), values(aligned)
    return float((values(out) - (first + 0.3 * (second - first))).abs().mean()) * 1e6


if __name__ == "__main__":
    sys.exit(main())
