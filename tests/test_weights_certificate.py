"""A certificate says what general inputs feel of a change, and names what it says nothing about."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from aligntax.errors import InputError
from aligntax.weights.certifying import words
from aligntax.weights.certifying.certificate import Leak, from_json, leak_ruling, overall, to_json
from aligntax.weights.certifying.certify import Found, certify
from aligntax.weights.certifying.certify import measure as measured
from aligntax.weights.certifying.examples import batches, encode, read_split
from aligntax.weights.certifying.felt import Change, Sums, drift_of, felt, leaks, uneven
from aligntax.weights.certifying.reading import Settings
from aligntax.weights.certifying.resampled import ratios
from aligntax.weights.certifying.spectra import spectrum
from aligntax.weights.certifying.words import details, measure, verdict
from aligntax.weights.linears import Linear, linears
from aligntax.weights.null_space.moments import leak as leak_of_moment
from steps import general, second_moments, stepped, unfelt
from tiny_models import LAYOUTS, moved, saved, tiny_model, tiny_tokenizer

ORDINARY = [
    pytest.param(layout, marks=() if layout in ("gpt2", "phi3") else pytest.mark.long) for layout in LAYOUTS
]
"""Conv1D, and Linear with fused projections; the others are of the same two kinds."""

# peft still asks for an attribute that transformers has renamed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return general(tmp_path_factory.mktemp("data") / "general.jsonl")


def halves(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    known, unseen, _ = read_split(data, 0.3)
    return known, unseen


def ids_of(rows: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    return [example.ids for example in encode(tiny_tokenizer(), rows, max_tokens=64)]


def found(base: Any, tuned: Any, data: Path, **settings: Any) -> Found:
    return measured(base, tuned, tiny_tokenizer(), halves(data), Settings(**settings))


# -- spectra


def test_the_ranks_of_a_matrix_worked_by_hand():
    seen = spectrum(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    assert seen.norm == pytest.approx(5)
    assert seen.spectral_norm == pytest.approx(4)
    assert seen.stable_rank == pytest.approx(25 / 16)
    assert seen.effective_rank == pytest.approx(25**2 / (81 + 256))
    assert seen.top_share == pytest.approx(16 / 25)


def test_one_direction_has_rank_one_and_equal_ones_have_all():
    line = torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 4))
    assert spectrum(line).stable_rank == pytest.approx(1, abs=1e-5)
    assert spectrum(line).effective_rank == pytest.approx(1, abs=1e-5)
    assert spectrum(7 * torch.eye(5)).stable_rank == pytest.approx(5)
    assert spectrum(7 * torch.eye(5)).effective_rank == pytest.approx(5)


def test_a_matrix_of_zeros_has_no_rank_and_a_tiny_one_keeps_its_own():
    assert spectrum(torch.zeros(3, 2)).stable_rank == 0
    tiny = spectrum(1e-30 * torch.eye(4))
    assert tiny.norm == pytest.approx(2e-30)
    assert tiny.stable_rank == pytest.approx(4)


@pytest.mark.parametrize("gap", [1.5, 1.0001])
def test_a_wide_matrix_is_iterated_on_and_comes_out_as_by_decomposition(gap: float, monkeypatch):
    monkeypatch.setattr("aligntax.weights.certifying.spectra._EXACT_UP_TO", 16)
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))[0] for _ in range(2)
    )
    values = torch.tensor([gap, *[1.0] * 3, *torch.linspace(0.9, 0.1, 56)], dtype=torch.float64)
    seen = spectrum((left * values) @ right)
    assert seen.spectral_norm == pytest.approx(gap, rel=1e-4)
    assert seen.stable_rank == pytest.approx(float((values**2).sum()) / gap**2, rel=2e-4)
    assert seen.effective_rank == pytest.approx(float((values**2).sum() ** 2 / (values**4).sum()), rel=1e-6)


# -- leaks by hand


class TwoByTwo(torch.nn.Module):
    def __init__(self, weight: Any, dtype: Any = None) -> None:
        super().__init__()
        self.map = torch.nn.Linear(2, 2, dtype=dtype)
        with torch.no_grad():
            self.map.weight.copy_(weight)
            self.map.bias.fill_(100.0)  # has no part in |W x|

    def linear(self) -> Linear:
        return Linear(
            name="map", layer=0, role="mlp", module=self.map, n_in=2, n_out=2, input_major=False, group="map"
        )


def sums_of(delta: Any, inputs: Any, mask: Any) -> Sums:
    before, after = TwoByTwo(torch.eye(2)), TwoByTwo(torch.eye(2) + torch.tensor(delta))
    from aligntax.weights.certifying.examples import Batch

    batch = Batch(input_ids=None, mask=torch.tensor(mask), at=tuple(range(len(mask))))
    sums = Sums(len(mask), 1)
    with torch.no_grad(), felt({"map": Change(before.linear(), after.linear())}, batch, sums):
        before.map(torch.tensor(inputs))
    return sums


@pytest.mark.parametrize(
    ("delta", "leak"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 1.0),  # isotropic
        ([[0.0, 5.0], [0.0, 0.0]], 0.0),  # reads the second feature, which is always 0
        ([[2.0, 0.0], [2.0, 0.0]], math.sqrt(2)),  # reads the only one that speaks
        ([[3.0, 4.0], [0.0, 0.0]], math.sqrt(2 * 9 / 25)),
    ],
)
def test_leaks_of_two_features_of_which_one_is_silent(delta: Any, leak: float):
    """M = diag(5, 0): tokens (1, 0) and (3, 0), and a pad that would change everything."""
    sums = sums_of(delta, [[[1.0, 0.0], [3.0, 0.0], [0.0, 1e9]]], [[1, 1, 0]])
    assert sums.seen(0) == 2
    norm = float(torch.tensor(delta).norm())
    assert leaks(sums, [norm], [2], level=0.95)[0, 0] == pytest.approx(leak, abs=1e-7)
    assert leak_of_moment(torch.tensor(delta), torch.diag(torch.tensor([5.0, 0.0]))) == pytest.approx(
        leak, abs=1e-9
    )


def test_a_token_that_dwarfs_all_others_does_not_hide_what_they_feel():
    inputs = torch.ones(2, 3, 2)
    inputs[:, :, 1] = 0
    inputs[:, 0] = torch.tensor([0.0, 1000.0])  # the first of each row, in a direction of its own
    spares_it = [[1.0, 0.0], [0.0, 0.0]]
    sums = sums_of(spares_it, inputs.tolist(), [[1] * 3] * 2)
    leak = leaks(sums, [1.0], [2], level=0.95)[0, 0]
    assert leak == pytest.approx(
        math.sqrt(2 * 2 / 3)
    )  # two of three tokens feel it, each twice as much as by chance
    assert uneven(sums)[0] == pytest.approx(1 / 3, rel=1e-4)


def test_the_effect_on_the_output_leaves_the_bias_out():
    sums = sums_of([[0.5, 0.0], [0.0, 0.0]], [[[4.0, 3.0]]], [[1]])
    assert sums.moved.item() == pytest.approx(4)
    assert sums.passed.item() == pytest.approx(25)


def test_the_drift_of_two_tokens_worked_by_hand():
    from aligntax.weights.certifying.examples import Example

    example = Example(ids=(5, 1, 0), answer=1, answered=True)
    half, quarter = math.log(1), math.log(3)
    before = torch.tensor([[half, half], [half, half], [9.0, 0.0]])
    after = torch.tensor([[half, quarter], [half, half], [0.0, 9.0]])
    kl, agree, tokens = drift_of(example, before, after)
    assert kl == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    assert (agree, tokens) == (1, 2)  # the last logits foretell nothing that is there


# -- intervals and rulings


def test_intervals_over_rows_hold_their_confidence():
    """40 rows whose lengths and means vary together; 300 surveys of them."""
    chance = np.random.default_rng(5)
    held = 0
    for survey in range(300):
        tokens = chance.integers(2, 30, size=40)
        felt_by = tokens * chance.gamma(4, 0.25, size=40)
        _, low, high = ratios(felt_by, tokens, resamples=400, seed=survey)
        held += low[0] <= 1 <= high[0]
    assert 0.90 <= held / 300 <= 0.98


@pytest.mark.parametrize(
    ("low", "high", "enough", "ruling"),
    [
        (0.02, 0.09, True, "inside"),
        (0.02, 0.09, False, "undecided"),
        (0.09, 0.11, True, "undecided"),
        (0.11, 0.2, True, "outside"),
        (0.11, 0.2, False, "outside"),
    ],
)
def test_a_matrix_is_decided_where_its_interval_is_on_one_side(low, high, enough, ruling):
    leak = Leak(calibration=0.0, held_out=(low + high) / 2, low=low, high=high)
    assert leak_ruling(leak, 0.1, enough=enough) == ruling


def test_the_whole_is_as_its_worst_part():
    assert overall(["inside", "unchanged"], otherwise_changed=False) == "inside"
    assert overall(["inside", "undecided"], otherwise_changed=False) == "undecided"
    assert overall(["undecided", "outside"], otherwise_changed=False) == "outside"
    assert overall(["inside", "unmeasured"], otherwise_changed=False) == "outside"
    assert overall(["inside"], otherwise_changed=True) == "outside"
    assert overall(["unchanged"], otherwise_changed=False) == "unchanged"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0.04312, "0.0431"),
        (1.0, "1.00"),
        (1.214, "1.21"),
        (0, "0"),
        (1.3e-5, "1.3e-05"),
        (1234.5, "1,234"),
        (None, "–"),
    ],
)
def test_numbers_are_said_in_three_digits(number, said):
    assert measure(number) == said


# -- real models


@pytest.mark.parametrize("layout", ORDINARY)
def test_an_update_that_inputs_cannot_feel_passes_and_a_random_one_leaks_about_one(layout: str, data: Path):
    base = tiny_model(layout)
    known, unseen = halves(data)
    quiet = stepped(base, 0.1, unfelt(base, ids_of(known)))
    passed = found(base, quiet, data, target=0.5).facts
    assert passed["ruling"] == "inside"
    assert passed["outside"] == ()
    assert len(passed["matrices"]) == len(linears(base))

    loud = stepped(base, 0.1, lambda _linear, noise: noise)
    seen = found(base, loud, data, target=0.5)
    failed, sums = seen.facts, seen.parts[1].sums
    assert failed["ruling"] == "outside"
    assert failed["outside"] == ()
    for matrix in failed["matrices"]:
        assert matrix.leak.held_out == pytest.approx(1, abs=0.2), matrix.name
        assert matrix.ruling == "outside"
    assert passed["drift"].kl.value < failed["drift"].kl.value / 3

    # the sums of the certificate are the moments of the definition
    before, after = linears(base), linears(loud)
    moments = second_moments(base, ids_of(unseen))
    for column, name in enumerate(before):
        matrix = next(m for m in failed["matrices"] if m.name == name)
        delta = Change(before[name], after[name]).matrix().double()
        energy = sums.moved[:, column].sum() / sums.read[:, column].sum()
        by_energy = math.sqrt(energy * matrix.n_in) / matrix.norm
        assert by_energy == pytest.approx(leak_of_moment(delta, moments[name]), rel=1e-5)
        assert matrix.leak.held_out >= by_energy * (1 - 1e-6)
        assert matrix.norm == pytest.approx(float(delta.norm()), rel=1e-6)


@pytest.mark.parametrize(
    ("layout", "touched", "why"),
    [
        ("llama", "model.norm.weight", "norm"),
        ("llama", "lm_head.weight", "head"),
        ("gemma", "model.layers.1.input_layernorm.weight", "norm"),
        ("gpt2", "transformer.wte.weight", "embedding"),
        ("gpt2", "transformer.h.0.attn.c_attn.bias", "bias"),
        ("phi", "lm_head.bias", "head"),
    ],
)
def test_a_small_touch_of_what_no_leak_speaks_of_is_named(layout, touched, why, data):
    base = tiny_model(layout)
    tuned = stepped(base, 0.1, unfelt(base, ids_of(halves(data)[0])))
    with torch.no_grad():
        tuned.state_dict()[touched].view(-1)[0] += 1e-4
    facts = found(base, tuned, data, target=0.5)
    assert facts.facts["ruling"] == "outside"
    (parameter,) = facts.facts["outside"]
    assert (parameter.name, parameter.why) == (touched, why)
    assert 0 < parameter.share < 0.01
    assert {matrix.ruling for matrix in facts.facts["matrices"]} == {"inside"}
    assert any("also the head" in note for note in facts.notes) == (touched == "transformer.wte.weight")


def test_one_matrix_that_left_the_constraint_is_found_among_all(data: Path):
    """As a checkpoint saved some steps after its last projection."""
    base = tiny_model("llama")
    tuned = stepped(base, 0.1, unfelt(base, ids_of(halves(data)[0])))
    with torch.no_grad():
        tuned.model.layers[1].mlp.down_proj.weight.add_(0.02 * torch.randn(32, 64))
    facts = found(base, tuned, data, target=0.5).facts
    assert [m.name for m in facts["matrices"] if m.ruling == "outside"] == ["model.layers.1.mlp.down_proj"]


def test_a_change_that_spares_a_massive_activation_is_outside_all_the_same(data: Path):
    """One word drives one neuron as first tokens do in large models; the change leaves that neuron alone."""
    base = tiny_model()
    with torch.no_grad():
        base.get_input_embeddings().weight[:, 0] = 0
        base.get_input_embeddings().weight[5] = torch.eye(32)[0]
        for half in ("gate_proj", "up_proj"):
            getattr(base.model.layers[0].mlp, half).weight[3] = 5 * torch.eye(32)[0]
    tuned = copy.deepcopy(base)
    with torch.no_grad():
        noise = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
        noise[:, 3] = 0
        tuned.model.layers[0].mlp.down_proj.weight.add_(0.1 * noise)
    seen = found(base, tuned, data)
    (matrix,) = (one for one in seen.facts["matrices"] if one.leak)
    assert matrix.ruling == "outside"
    assert matrix.leak.low > 0.3
    assert matrix.effect.held_out < 0.01  # by energy nothing is to be seen
    assert any("massive activations" in note for note in seen.notes)


def test_shares_of_what_changed_add_up_to_one(data: Path):
    facts = found(tiny_model(), moved(tiny_model()), data).facts
    shares = [part.share for part in (*facts["matrices"], *facts["outside"])]
    assert sum(shares) == pytest.approx(1)
    before, after = tiny_model().state_dict(), moved(tiny_model()).state_dict()
    total = math.sqrt(sum(float((after[name] - before[name]).norm()) ** 2 for name in before))
    assert facts["displacement"] == pytest.approx(total, rel=1e-5)


def test_padding_and_batches_change_nothing(data: Path):
    base, tuned = tiny_model(), moved(tiny_model())
    one = found(base, tuned, data, batch_tokens=1).facts
    many = found(base, tuned, data, batch_tokens=4096).facts
    for first, second in zip(one["matrices"], many["matrices"], strict=True):
        assert msgspec.structs.astuple(first.leak) == pytest.approx(
            msgspec.structs.astuple(second.leak), rel=1e-4
        )
    assert one["drift"].kl.value == pytest.approx(many["drift"].kl.value, rel=1e-4)


def test_too_few_tokens_leave_it_open_and_say_how_many_are_missing(tmp_path: Path):
    data = general(tmp_path / "few.jsonl", rows=12)
    base = tiny_model()
    tuned = stepped(base, 0.1, unfelt(base, ids_of(halves(data)[0])))
    facts = found(base, tuned, data, target=0.9).facts
    known = sum(map(len, ids_of(halves(data)[0])))
    assert facts["ruling"] == "undecided"
    assert facts["more_calibration"] == max(2 * 64 - known, 0) > 0
    assert facts["more_held_out"] >= 64 - sum(map(len, ids_of(halves(data)[1])))


def test_batches_hold_every_row_once_and_keep_to_their_size(data: Path):
    examples = encode(tiny_tokenizer(), halves(data)[0], max_tokens=64)
    seen = list(batches(examples, batch_tokens=100, pad=0))
    assert sorted(at for batch in seen for at in batch.at) == list(range(len(examples)))
    assert all(batch.input_ids.numel() <= 100 for batch in seen)
    for batch in seen:
        for place, at in enumerate(batch.at):
            assert tuple(batch.input_ids[place][batch.mask[place] == 1].tolist()) == examples[at].ids


# -- folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """base; inside: a step that is not felt; adapter and its merged checkpoint."""
    import peft

    root = tmp_path_factory.mktemp("folders")
    base = tiny_model("llama")
    saved(base, root / "base")
    saved(stepped(base, 0.1, unfelt(base, ids_of(halves(data)[0]))), root / "inside")
    torch.manual_seed(2)
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "down_proj"], modules_to_save=["lm_head"], init_lora_weights=False
    )
    adapted = peft.get_peft_model(copy.deepcopy(base), config)
    with torch.no_grad():
        adapted.base_model.model.lm_head.modules_to_save["default"].weight.add_(0.01)
    adapted.save_pretrained(root / "adapter")
    saved(adapted.merge_and_unload(), root / "merged")
    return root


def test_an_adapter_is_certified_as_its_merged_checkpoint(folders: Path, data: Path):
    adapter = certify(folders / "base", folders / "adapter", data)
    merged = certify(folders / "base", folders / "merged", data)
    assert (adapter.tuned.kind, merged.tuned.kind) == ("adapter", "checkpoint")
    assert adapter.ruling == merged.ruling == "outside"
    assert [parameter.name for parameter in adapter.outside] == ["lm_head.weight"]
    changed = [matrix for matrix in adapter.matrices if matrix.norm]
    assert {matrix.kind for matrix in changed} == {"self_attn.q_proj", "mlp.down_proj"}
    for one, other in zip(adapter.matrices, merged.matrices, strict=True):
        assert one.norm == pytest.approx(other.norm, rel=1e-5)
        assert one.stable_rank == pytest.approx(other.stable_rank, rel=1e-4)
        if one.leak and other.leak:
            assert one.leak.held_out == pytest.approx(other.leak.held_out, rel=1e-4)
            assert one.effective_rank <= 2.001
    assert adapter.drift.kl.value == pytest.approx(merged.drift.kl.value, rel=1e-4)


def test_a_certificate_survives_its_json(folders: Path, data: Path, tmp_path: Path):
    certificate = certify(folders / "base", folders / "inside", data, settings=Settings(target=0.5))
    assert certificate.ruling == "inside"
    file = tmp_path / "certificate.json"
    file.write_text(to_json(certificate), encoding="utf-8")
    assert from_json(file) == certificate
    assert str(tmp_path.parent) not in to_json(certificate)  # names of folders, no paths of this machine


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format="other"), "this is no certificate"),
        (lambda d: d.update(version=99), "version 99"),
        (lambda d: d.pop("drift"), "no whole certificate"),
        (lambda d: d.update(extra=1), "no whole certificate"),
    ],
)
def test_a_file_that_is_no_certificate_is_refused(change, said, folders, data, tmp_path):
    document = json.loads(to_json(certify(folders / "base", folders / "base", data)))
    change(document)
    file = tmp_path / "other.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        from_json(file)


def test_the_same_weights_are_certified_as_unchanged(folders: Path, data: Path):
    certificate = certify(folders / "base", folders / "base", data)
    assert certificate.ruling == "unchanged"
    assert verdict(certificate).startswith("Nothing was changed")
    assert certificate.drift.kl.value == 0
    assert certificate.drift.agreement.value == 1
    assert certificate.base.sha256 == certificate.tuned.sha256


def test_rounding_to_the_storage_type_is_no_change(folders: Path, data: Path, tmp_path: Path):
    tuned = tiny_model("llama")
    saved(tuned.to(torch.bfloat16), tmp_path / "bf16")
    certificate = certify(folders / "base", tmp_path / "bf16", data)
    assert certificate.ruling == "unchanged"
    assert certificate.rounded == len(tuned.state_dict()) - 5  # norms of ones are the same in both
    assert any("storage type" in note for note in certificate.notes)


def test_a_setting_that_changes_what_the_weights_compute_is_named(folders: Path, data: Path, tmp_path: Path):
    tuned = tiny_model("llama")
    tuned.config.rms_norm_eps = 1e-2
    certificate = certify(folders / "base", saved(tuned, tmp_path / "eps"), data)
    assert certificate.settings == ("rms_norm_eps",)
    assert certificate.ruling == "outside"
    assert "rms_norm_eps" in details(certificate)[0]


def test_another_shape_or_vocabulary_names_the_tensor(folders: Path, data: Path, tmp_path: Path):
    larger = tiny_model("llama")
    larger.resize_token_embeddings(104, mean_resizing=False)
    with pytest.raises(InputError, match=r"embed_tokens\.weight has the shapes \(96, 32\) and \(104, 32\)"):
        certify(folders / "base", saved(larger, tmp_path / "larger"), data)
    deeper = saved(tiny_model("llama", layers=3), tmp_path / "deeper")
    with pytest.raises(InputError, match=r"model\.layers\.2\.\S+ is in TUNED alone"):
        certify(folders / "base", deeper, data)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_not_finite_name_the_tensor(number, folders, data, tmp_path):
    broken = tiny_model("llama")
    with torch.no_grad():
        broken.model.layers[1].mlp.up_proj.weight[3, 4] = number
    with pytest.raises(InputError, match=r"layers\.1\.mlp\.up_proj\.weight of TUNED .* not finite"):
        certify(folders / "base", saved(broken, tmp_path / "broken"), data)


def test_an_adapter_for_another_model_is_refused_and_not_taken_for_empty(
    folders: Path, data: Path, tmp_path: Path
):
    import peft

    config = peft.LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[2])
    peft.get_peft_model(tiny_model("llama", layers=3), config).save_pretrained(tmp_path / "deep")
    with pytest.raises(InputError, match="adapter"):
        certify(folders / "base", tmp_path / "deep", data)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"])
    peft.get_peft_model(tiny_model("llama", layers=3), config).save_pretrained(tmp_path / "deeper")
    with pytest.raises(InputError, match=r"layers\.2\S+ has no counterpart in BASE"):
        certify(folders / "base", tmp_path / "deeper", data)
    peft.get_peft_model(tiny_model("llama", width=64), config).save_pretrained(tmp_path / "wide")
    with pytest.raises(InputError, match="has another shape in BASE"):
        certify(folders / "base", tmp_path / "wide", data)


def test_an_adapter_of_pickles_is_refused(folders: Path, data: Path, tmp_path: Path):
    (tmp_path / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "adapter" / name.replace("safetensors", "bin")).write_bytes(
            (folders / "adapter" / name).read_bytes()
        )
    with pytest.raises(InputError, match=r"there is no adapter_model\.safetensors"):
        certify(folders / "base", tmp_path / "adapter", data)
    with pytest.raises(InputError, match="BASE is an adapter"):
        certify(folders / "adapter", folders / "base", data)


# -- the split


def test_a_prompt_is_never_on_both_sides(tmp_path: Path):
    file = general(tmp_path / "a.jsonl", rows=60)
    file.write_text(file.read_text() * 2)
    known, unseen, _ = read_split(file, 0.3)
    assert len(known) + len(unseen) == 120
    assert not {row["prompt"] for row in known} & {row["prompt"] for row in unseen}
    assert read_split(file, 0.3)[1] == unseen


def test_held_out_rows_of_a_second_file_that_were_calibrated_on_are_left_out(tmp_path: Path):
    first, second = general(tmp_path / "a.jsonl", rows=30), general(tmp_path / "b.jsonl", rows=40)
    second.write_text(second.read_text() + general(tmp_path / "c.jsonl", rows=5, seed=9).read_text())
    known, unseen, notes = read_split(first, second)
    assert (len(known), len(unseen)) == (30, 15)
    assert "30 held-out rows were left out" in notes[0]


def test_answers_start_where_the_prompt_ends(tmp_path: Path):
    rows = [
        {"prompt": "w1 w2", "completion": "w3 w4 w5"},
        {"prompt": "w1 w2"},
        {"prompt": "w1 w2", "chosen": "w7"},
    ]
    spoken = encode(tiny_tokenizer(), rows, max_tokens=64)
    assert [(len(one.ids), one.answer, one.answered) for one in spoken] == [
        (5, 2, True),
        (2, 1, False),
        (3, 2, True),
    ]
    assert encode(tiny_tokenizer(), rows[:1], max_tokens=3)[0].ids == spoken[0].ids[:3]


# -- words


def test_the_last_words_name_matrices_where_they_are_enough():
    assert words.short_kinds(["self_attn.q_proj", "mlp.up_proj"]) == {
        "self_attn.q_proj": "q_proj",
        "mlp.up_proj": "up_proj",
    }
    assert words.short_kinds(["attn.c_proj", "mlp.c_proj"]) == {
        "attn.c_proj": "attn.c_proj",
        "mlp.c_proj": "mlp.c_proj",
    }
