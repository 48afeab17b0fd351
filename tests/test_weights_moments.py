"""Second moments: what is counted, and that nothing but the real tokens and the model decides the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch

from aligntax.errors import InputError
from aligntax.weights.batches import own_answers, texts_of
from aligntax.weights.linears import linears
from aligntax.weights.null_space.moments import Moments, batches_of, collect, leak, merge, relative_change
from aligntax.weights.null_space.sketch import Sketch
from tiny_models import LAYOUTS, tiny_model, tiny_tokenizer

torch.set_num_threads(1)

LENGTHS = (3, 9, 5, 12, 1, 7, 7, 10)


def texts(seed: int = 0, lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, 96, (length,), generator=generator).tolist() for length in lengths]


def padded(rows: list[list[int]], *, left: bool, more: int = 0, pad: int = 0) -> dict[str, Any]:
    width = max(map(len, rows)) + more
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for at, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[at, place], mask[at, place] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}


def alike(first: Moments, second: Moments, tolerance: float = 1e-5) -> bool:
    return first.tokens == second.tokens and all(
        (first.of(name) - second.of(name)).norm() <= tolerance * second.of(name).norm()
        for name in second.groups
    )


def one_by_one(model: Any, rows: list[list[int]]) -> Moments:
    return collect(model, [padded([row], left=False) for row in rows])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("left", [False, True])
def test_pads_do_not_enter(layout: str, left: bool):
    model = tiny_model(layout)
    alone = one_by_one(model, texts())
    assert alone.tokens == sum(LENGTHS)
    for more, pad in ((0, 0), (11, 0), (4, 57)):  # also where the pad is an ordinary token
        assert alike(collect(model, [padded(texts(), left=left, more=more, pad=pad)]), alone)


def test_a_moment_is_the_mean_product_of_what_the_linear_reads():
    model, seen = tiny_model("gpt2"), []
    name = "transformer.h.1.mlp.c_proj"
    linear = linears(model)[name]
    linear.module.register_forward_pre_hook(lambda _, given: seen.append(given[0][0].double()))
    moments = one_by_one(model, texts())
    x = torch.cat(seen[-len(LENGTHS) :])
    assert torch.allclose(moments.of(name), x.T @ x / len(x), rtol=1e-5, atol=1e-8)
    assert moments.norms[name] == pytest.approx(float(x.square().sum(1).mean().sqrt()), rel=1e-6)


@pytest.mark.parametrize("layout", ["llama", "phi", "gpt2"])
def test_linears_of_a_group_share_one_moment(layout: str):
    model = tiny_model(layout)
    moments = one_by_one(model, texts())
    assert set(moments.groups) == set(linears(model))
    assert set(moments.sums) == {linear.group for linear in linears(model).values()}


def test_some_linears_alone_are_what_they_are_among_all():
    model = tiny_model()
    kept = ["model.layers.1.self_attn.k_proj", "model.layers.0.mlp.down_proj"]
    some, every = collect(model, [padded(texts(), left=True)], kept=kept), one_by_one(model, texts())
    assert set(some.groups) == set(kept)
    assert len(some.sums) == 2
    for name in kept:
        assert torch.allclose(some.of(name), every.of(name), rtol=1e-4, atol=1e-7)
    with pytest.raises(InputError, match="do not cover"):
        some.of("model.layers.1.mlp.down_proj")


@pytest.mark.parametrize("size", [1, 3, 8])
def test_batches_do_not_matter(size: int):
    model = tiny_model("qwen2")
    batches = [padded(texts()[at : at + size], left=True) for at in range(0, len(LENGTHS), size)]
    found, alone = collect(model, batches), one_by_one(model, texts())
    assert alike(found, alone)
    assert found.data == alone.data


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_merge_into_what_one_would_have_read(ranks: int):
    model = tiny_model()
    parts = [one_by_one(model, texts()[rank::ranks]) for rank in range(ranks)]
    whole = one_by_one(model, texts())
    for order in (parts, parts[::-1]):
        together = order[0]
        for part in order[1:]:
            together = merge(together, part)
        assert alike(together, whole, 1e-12)
        assert (together.data, together.rows) == (whole.data, whole.rows)
    with pytest.raises(InputError, match="different models"):
        merge(whole, one_by_one(tiny_model(seed=4), texts()))


def test_training_mode_and_dropout_do_not_enter():
    model = tiny_model("gpt2")
    alone = one_by_one(model, texts())
    model.train()
    assert alike(one_by_one(model, texts()), alone, 1e-12)
    assert model.training


def test_the_file_holds_all_of_it(tmp_path: Path):
    moments = one_by_one(tiny_model(), texts())
    moments.save(tmp_path / "moments.safetensors")
    again = Moments.load(tmp_path / "moments.safetensors")
    assert alike(again, moments, 0)
    assert (again.groups, again.data, again.model, again.rows) == (
        moments.groups, moments.data, moments.model, moments.rows,
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["moments.safetensors"]


def test_files_that_are_none_are_refused(tmp_path: Path):
    path = tmp_path / "moments.safetensors"
    with pytest.raises(InputError, match="no such file"):
        Moments.load(path)
    one_by_one(tiny_model(), texts()).save(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="broken"):
        Moments.load(path)
    path.write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match="broken"):
        Moments.load(path)
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"not a file of aligntax\.moments"):
        Moments.load(tmp_path / "model.safetensors")


class Killed(Exception):
    pass


def until_killed(batches: list[dict[str, Any]], after: int) -> Any:
    yield from batches[:after]
    raise Killed


@pytest.mark.parametrize("other_size", [2, 3])
def test_a_killed_pass_goes_on_where_it_was_saved(tmp_path: Path, other_size: int):
    model, partial = tiny_model(), tmp_path / "partial"
    batches = [padded(texts()[at : at + 2], left=True) for at in range(0, 8, 2)]
    with pytest.raises(Killed):
        collect(model, until_killed(batches, 3), partial=partial, every=2)
    assert Moments.load(partial).rows == 4  # the third batch was read after the last save
    calls: list[int] = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    other = [padded(texts()[at : at + other_size], left=True) for at in range(0, 8, other_size)]
    resumed = collect(model, other, partial=partial, every=2)
    assert len(calls) == 1 + 2  # the look at the groups, and two batches rather than three or four
    whole = one_by_one(tiny_model(), texts())
    assert alike(resumed, whole)
    assert (resumed.data, resumed.rows) == (whole.data, whole.rows)
    assert not partial.exists()


def test_a_partial_file_of_other_data_or_another_model_is_refused(tmp_path: Path):
    model, partial = tiny_model(), tmp_path / "partial"
    batches = [padded([row], left=True) for row in texts()]
    with pytest.raises(Killed):
        collect(model, until_killed(batches, 3), partial=partial, every=1)
    with pytest.raises(InputError, match="other data"):
        collect(model, [padded([row], left=True) for row in texts(seed=3)], partial=partial)
    with pytest.raises(InputError, match="other data"):
        collect(model, batches[:2], partial=partial)  # fewer rows than were read
    with pytest.raises(InputError, match="another model"):
        collect(tiny_model(seed=2), batches, partial=partial)


def test_a_sketch_bounds_every_direction():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 60, generator=generator).double() * torch.logspace(1, -2, 60)
    sketch = Sketch.empty(60, size=20).add(x[:150]).merge(Sketch.empty(60, size=20).add(x[150:]))
    truth, rows = x.T @ x, sketch.held()
    assert len(rows) <= 20
    assert sketch.trace == pytest.approx(float(truth.trace()))
    gap = torch.linalg.eigvalsh(truth - rows.T @ rows)
    assert gap[0] >= -1e-6 * sketch.trace
    assert gap[-1] <= sketch.shed * (1 + 1e-9)
    assert sketch.shed <= float(torch.linalg.eigvalsh(truth)[:-10].sum()) / 10
    assert float(sketch.dense().trace()) == pytest.approx(sketch.trace)
    values, vectors = sketch.spectrum()
    assert torch.allclose(vectors @ torch.diag(values) @ vectors.T, sketch.dense(), atol=1e-8 * sketch.trace)
    outside = torch.linalg.svd(rows)[2][torch.linalg.matrix_rank(rows) :].T
    unheld = float((outside.T @ truth @ outside).trace())
    assert 0 < unheld <= float((outside.T @ sketch.dense() @ outside).trace()) * (1 + 1e-9)


def test_wide_inputs_are_sketched_on_the_same_path(tmp_path: Path):
    model = tiny_model()
    sketched = collect(
        model, [padded([row], left=True) for row in texts()], sketch_above=40
    )  # width 32, MLP 64
    whole = one_by_one(model, texts())
    down = "model.layers.0.mlp.down_proj"
    assert set(sketched.sketches) == {"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"}
    assert (sketched.of(down) - whole.of(down)).norm() <= 1e-4 * whole.of(
        down
    ).norm()  # 54 tokens fit in whole
    sketched.save(tmp_path / "m")
    again = merge(Moments.load(tmp_path / "m"), sketched)
    assert torch.allclose(again.of(down), sketched.of(down), atol=1e-7)
    assert again.norms[down] == pytest.approx(whole.norms[down], rel=1e-5)


def test_leak_by_hand():
    moment = torch.diag(torch.tensor([4.0, 0.0]))
    assert leak(torch.eye(2), moment) == pytest.approx(1)
    assert leak(torch.tensor([[0.0, 5.0]]), moment) == 0
    assert leak(torch.tensor([[5.0, 0.0]]), moment) == pytest.approx(2**0.5)  # sqrt(n_in) at most
    assert leak(torch.zeros(2, 2), moment) == 0
    assert relative_change(torch.tensor([[0.1, 9.0]]), torch.tensor([[1.0, 1.0]]), moment) == pytest.approx(
        0.1
    )


def test_leak_is_the_change_of_the_output():
    generator = torch.Generator().manual_seed(0)
    x, delta = torch.randn(500, 8, generator=generator), torch.randn(3, 8, generator=generator)
    weight, moment = torch.randn(3, 8, generator=generator), x.T @ x / 500
    felt = (x @ delta.T).norm() / (x @ weight.T).norm()
    assert relative_change(delta, weight, moment) == pytest.approx(float(felt), rel=1e-5)


def test_nothing_to_read_is_an_error():
    model = tiny_model()
    with pytest.raises(InputError, match="no token"):
        collect(model, [])
    with pytest.raises(InputError, match="no linear"):
        collect(model, [], kept=["lm_head"])
    with pytest.raises(InputError, match="no tokens"):
        list(batches_of(tiny_tokenizer(), []))


def test_texts_are_prompt_and_completion_with_the_template_or_without():
    tokenizer = tiny_tokenizer()
    given = [{"prompt": "w1 w2", "completion": "w3"}, {"prompt": "w4"}]
    assert texts_of(tokenizer, given) == ["w1 w2 w3 ", "w4 "]
    assert texts_of(tokenizer, given, chat=False) == ["w1 w2 w3", "w4"]
    batch = next(iter(batches_of(tokenizer, texts_of(tokenizer, given), max_tokens=2)))
    assert batch["attention_mask"].sum().item() == 3
    tokenizer.chat_template = None
    assert texts_of(tokenizer, given) == ["w1 w2 w3", "w4"]
    with pytest.raises(InputError, match="no chat template"):
        texts_of(tokenizer, given, chat=True)


def test_a_model_answers_for_itself():
    tokenizer, prompts = tiny_tokenizer(), ["w1 w2 w3", "w4"]
    tokenizer.padding_side = "left"
    together = list(own_answers(tiny_model(), tokenizer, prompts, max_new_tokens=4))
    alone = [
        row for prompt in prompts for row in own_answers(tiny_model(), tokenizer, [prompt], max_new_tokens=4)
    ]
    assert together == alone
    assert [row["prompt"] for row in together] == prompts
    assert any(row["completion"] for row in together)
