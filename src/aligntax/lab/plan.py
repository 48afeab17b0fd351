"""What one run of the laboratory does: its seeds, budgets and learning rates. All that changes a number is here."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import msgspec

from ..errors import InputError
from .methods import METHODS, Family
from .pretraining import Scale, key_of, scale_named

RATES: dict[Family, tuple[float, ...]] = {
    "sft": (2e-4, 4e-4, 8e-4),
    "lora-1": (4e-3, 7e-3, 1.2e-2),
    "lora-8": (1e-3, 2e-3, 4e-3),
    "lora-32": (5e-4, 1e-3, 2e-3),
    "lora-up": (1.5e-2, 3e-2, 6e-2),
    "null": (5e-3, 8e-3, 1.5e-2),
    "displacement": (3e-3, 6e-3, 1.2e-2),
    "gradient": (1.5e-3, 3e-3, 6e-3),
    "dpo": (1e-4, 2e-4, 4e-4),
    "grpo": (2e-4, 3.5e-4, 5e-4),
    "nspo": (3e-3, 6e-3, 1e-2),
}
"""Learning rates of each family of methods. They were set on a seed that no report counts."""

CODE = ("bench", "plan", "experiment", "measures", "safety", "sampling")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Every method of training gets `rates` times `checkpoints` states, every other `evaluations`."""

    scale: Scale
    seeds: tuple[int, ...]
    bases: int = 2
    methods: tuple[str, ...] = tuple(METHODS)
    steps: int = 40
    checkpoints: tuple[int, ...] = (16, 28, 40)
    rates: dict[Family, tuple[float, ...]] = msgspec.field(default_factory=lambda: dict(RATES))
    evaluations: int = 12
    selection_prompts: int = 48
    report_prompts: int = 64
    leak: float = 0.2
    general: int = 512
    n_blocks: int = 3
    device: str = "cpu"

    def budget(self, method: str) -> int:
        """States of the model that a method may show to the selection exam."""
        if not METHODS[method].trains:
            return self.evaluations
        return len(self.checkpoints) * max(len(rates) for rates in self.rates.values())

    @property
    def curve(self) -> tuple[int, ...]:
        """The steps at which the tax is measured along a training; the places where early stopping may stop."""
        each = self.steps / self.evaluations
        return tuple(sorted({max(1, round(each * (at + 1))) for at in range(self.evaluations)}))

    def base_of(self, seed: int) -> int:
        """The seed of the base that this seed is aligned from."""
        return seed % self.bases


def plan_of(
    scale: str = "tiny",
    *,
    quick: bool = False,
    seeds: int = 3,
    methods: tuple[str, ...] = (),
    device: str = "cpu",
) -> Plan:
    """The plan of a command line. Raises InputError for a method or scale that there is not, or no seed."""
    for name in methods:
        if name not in METHODS:
            raise InputError(f"no method {name!r}", remedy=f"of {', '.join(METHODS)}")
    if seeds < 1:
        raise InputError("no seed", remedy="give at least 1; intervals over seeds need 2, and 3 to be of use")
    chosen = (
        tuple(name for name in METHODS if name in methods or METHODS[name].always)
        if methods
        else tuple(METHODS)
    )
    if quick:
        return Plan(
            scale=scale_named("quick"), seeds=tuple(range(seeds)), bases=1, methods=chosen, steps=40, checkpoints=(28, 40), evaluations=6,
            rates={family: rates[1:] for family, rates in RATES.items()}, selection_prompts=24, report_prompts=24,
            general=192, device=device,
        )  # fmt: skip
    found = scale_named(scale)
    if found.name == "tiny":
        return Plan(scale=found, seeds=tuple(range(seeds)), methods=chosen, device=device)
    return Plan(
        scale=found, seeds=tuple(range(seeds)), methods=chosen, device=device, steps=96, checkpoints=(24, 48, 96),
        rates={family: tuple(rate / 4 for rate in rates) for family, rates in RATES.items()},
        selection_prompts=found.prompts // 2, report_prompts=found.prompts, general=4096,
    )  # fmt: skip


def digest_of(plan: Plan) -> str:
    """Names all that decides a number: scale and bases, budgets, rates, and the laboratory's own code.

    Not which seeds and methods are run, so that more of them join what is there.
    """
    same = msgspec.structs.replace(plan, seeds=(), methods=())
    digest = hashlib.sha256(msgspec.json.encode(same, order="sorted"))
    digest.update("".join(key_of(plan.scale, base) for base in range(plan.bases)).encode())
    here = Path(__file__).parent
    for path in (*(here / f"{name}.py" for name in CODE), *sorted((here / "methods").glob("[a-z]*.py"))):
        digest.update(_code_of(path).encode())
    return digest.hexdigest()[:12]


def _code_of(path: Path) -> str:
    """A module's code without comments, docstrings and imports: where a part of the product lies changes no number."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_silent(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_silent(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
