"""Trigger words in logs: which are found, which are not, and that the numbers are what they say."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import polars as pl
import pytest
from scipy.stats import hypergeom, poisson
from statsmodels.stats.contingency_tables import StratifiedTable

from aligntax import campaign
from aligntax.errors import InputError
from aligntax.store import Store
from aligntax.triggers import find, reading
from aligntax.triggers.association import Strata, associated, tail
from aligntax.triggers.collinear import grouped
from aligntax.triggers.counting import counted
from aligntax.triggers.reading import read_prompts, words_of
from aligntax.triggers.search import weighted_benjamini_hochberg
from aligntax.triggers.templates import near_identical
from aligntax.types import Annotation, Answered, ShouldAnswer
from trigger_logs import false_and_found, swapped_words, traffic, word
from verdicts import verdict_frame


def log(prompts: list[str], refused: list[float], **columns) -> pl.DataFrame:
    """Verdicts of these prompts."""
    return pl.DataFrame(
        {
            "id": [f"x{at}" for at in range(len(prompts))],
            "prompt": prompts,
            "outcome": ["answered"] * len(prompts),
            "p_full": pl.Series([1 - one for one in refused], dtype=pl.Float32),
            **columns,
        }
    )


def words(text: str) -> list[str]:
    return pl.DataFrame({"prompt": [text]}).select(words_of("prompt")).item().to_list()


def filler(random: np.random.Generator, count: int, size: int = 12) -> list[str]:
    return [" ".join(word(int(at)) for at in random.integers(0, 400, size)) for _ in range(count)]


# -- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kill the PROCESS", ["kill", "the", "process"]),
        ("ＫＩＬＬ", ["kill"]),
        ("k\u200bi\u00adll", ["kill"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("patient's patient’s", ["patient's", "patient's"]),
        ("12 mg, 3.5 mg", ["0", "mg", "0", "0", "mg"]),
        ("杀死进程", ["杀", "死", "进", "程"]),
        ("\x1b[31mred\x07 alert\x00", ["0", "mred", "alert"]),
        ("self-harm", ["self", "harm"]),
        ("نمی‌خواهم", ["نمیخواهم"]),
        ("🔥 ... !!", []),
    ],
)
def test_words_are_folded(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_prompts_with_the_same_words_are_one_and_numbers_make_no_difference() -> None:
    frame = log(["Case 1: stop it", "case 27 - STOP it!", "stop case"], [1, 0, 1]).with_columns(
        y=1 - pl.col("p_full")
    )
    found = read_prompts(frame.lazy())
    assert found.ids.to_list() == ["x0", "x2"]
    assert found.exchanges.tolist() == [2, 1]
    assert found.outcome.tolist() == [0.5, 1.0]


def test_words_keep_their_numbers_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_BATCH", 3)
    prompts = [f"{word(at % 5)} {word(at % 7)} only{word(at)}" for at in range(40)]
    found = read_prompts(log(prompts, [0] * 40).with_columns(y=pl.lit(0.0)).lazy())
    for at, prompt in enumerate(prompts):
        spelled = found.vocabulary.gather(found.words[found.first[at] : found.first[at + 1]].astype(int))
        assert " ".join(spelled) == prompt


def test_more_words_than_fit_are_sampled_and_counted() -> None:
    random = np.random.default_rng(1)
    frame = log(filler(random, 2000), [0] * 2000).with_columns(y=pl.lit(0.0))
    found = read_prompts(frame.lazy(), most_tokens=9000)
    assert len(found.words) <= 9000
    assert found.left_out["beyond what fits in memory"] + int(found.exchanges.sum()) == 2000
    assert 300 < len(found.ids) < 800


def test_a_word_counts_once_a_prompt_and_phrases_are_counted_whole() -> None:
    prompts = ["blow up the blow up tent " + word(at) for at in range(10)] + [
        "blow it up " + word(at) for at in range(5)
    ]
    found = counted(read_prompts(log(prompts, [0] * 15).with_columns(y=pl.lit(0.0)).lazy()), fewest=10)
    spelled = read_prompts(log(prompts, [0] * 15).with_columns(y=pl.lit(0.0)).lazy()).vocabulary
    table = {
        " ".join(spelled.gather(part.words[at].astype(int))): int(np.diff(part.columns.indptr)[at])
        for part in found
        for at in range(len(part))
    }
    assert table["blow"] == 15
    assert table["blow up"] == 10
    assert table["blow up the"] == 10
    assert "blow it up" not in table


# -- families of near-identical prompts ------------------------------------------------------------------------


def test_a_template_with_a_name_in_it_is_one_family_and_other_prompts_are_their_own() -> None:
    random = np.random.default_rng(2)
    body = filler(random, 1, 20)[0]
    prompts = [f"{body} for {word(1000 + at)}" for at in range(50)] + filler(random, 100)
    read = read_prompts(log(prompts, [0] * 150).with_columns(y=pl.lit(0.0)).lazy())
    family = near_identical(read.words, read.first)
    assert len(set(family[:50])) == 1
    assert len(set(family)) == 101


def test_a_refused_template_sent_fifty_times_makes_no_trigger() -> None:
    random = np.random.default_rng(3)
    body = filler(random, 1, 20)[0]
    prompts = filler(random, 600) + [f"{body} about {word(1000 + at)}" for at in range(50)]
    refused = [*(random.random(600) < 0.05).astype(float), *np.ones(50)]
    found = find(log(prompts, refused, use_case=["one"] * 650), by=["use_case"])
    assert "about" not in {
        part for trigger in found.triggers for one in trigger.words for part in one.split()
    }
    assert found.triggers == ()


def test_a_word_that_differs_inside_of_a_template_is_found() -> None:
    random = np.random.default_rng(4)
    body = filler(random, 1, 24)[0]
    prompts = [
        f"{body} {'overdose' if at % 4 == 0 else word(2000 + at % 9)} {word(1000 + at)}" for at in range(240)
    ]
    refused = [float(random.random() < (0.7 if "overdose" in one else 0.05)) for one in prompts]
    found = find(log(prompts, refused, use_case=["one"] * 240), by=["use_case"])
    (trigger,) = found.triggers
    assert found.families < 10
    assert (trigger.words[0], trigger.prompts) == ("overdose", 60)
    assert trigger.share_with == pytest.approx(0.7, abs=0.15)
    assert trigger.share_without == pytest.approx(0.05, abs=0.05)
    assert trigger.odds_ratio.low is not None
    assert trigger.odds_ratio.low > 5
    assert trigger.topics[0].excess > 10


# -- the test of one word ----------------------------------------------------------------------------------------


def binary_case(seed: int) -> tuple[Strata, np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(seed)
    topic = random.integers(4, size=600)
    has = random.random((600, 5)) < 0.15
    y = (random.random(600) < 0.05 + 0.08 * topic + 0.1 * has[:, 0]).astype(float)
    tables = [
        np.stack(
            [
                [
                    [(has[m, at] * y[m]).sum(), (has[m, at] * (1 - y[m])).sum()],
                    [((~has[m, at]) * y[m]).sum(), ((~has[m, at]) * (1 - y[m])).sum()],
                ]
                for m in (topic == k for k in range(4))
            ],
            axis=2,
        )
        for at in range(5)
    ]
    return Strata(outcome=y, family=np.arange(600), topic=topic, topics=4), has, tables


def test_yes_or_no_outcomes_give_the_classical_odds_ratio_and_interval() -> None:
    from scipy.sparse import csc_array

    strata, has, tables = binary_case(5)
    found = associated(csc_array(has), strata)
    for at, table in enumerate(tables):
        oracle = StratifiedTable(table)
        assert found.odds_ratio[at] == pytest.approx(oracle.oddsratio_pooled)
        assert (found.low[at], found.high[at]) == pytest.approx(oracle.oddsratio_pooled_confint())
        assert found.prompts[at] == has[:, at].sum()


def test_the_p_value_is_that_of_the_hypergeometric_law_in_one_topic() -> None:
    from scipy.sparse import csc_array

    random = np.random.default_rng(6)
    n, refusals = 4000, 200
    y = np.zeros(n)
    y[:refusals] = 1
    has = np.zeros((n, 3), dtype=bool)
    for at, (inside, count) in enumerate([(3, 10), (6, 30), (15, 100)]):
        has[random.choice(refusals, inside, replace=False), at] = True
        has[refusals + random.choice(n - refusals, count - inside, replace=False), at] = True
    found = associated(
        csc_array(has), Strata(outcome=y, family=np.arange(n), topic=np.zeros(n, int), topics=1)
    )
    exact = [hypergeom.sf(inside - 1, n, refusals, count) for inside, count in [(3, 10), (6, 30), (15, 100)]]
    assert found.p == pytest.approx(exact, rel=0.35)
    assert (found.p >= np.array(exact) * 0.97).all()  # where it errs, it is careful


def test_the_tail_of_a_rare_count_is_exact_and_a_sum_without_skewness_is_normal() -> None:
    mean = np.array([0.5, 2.0, 9.0])
    count = np.array([3, 7, 20])
    found = tail(count - mean - 0.5, mean, mean)
    assert found == pytest.approx(poisson.sf(count - 1, mean))
    assert tail(np.array([1.96]), np.array([1.0]), np.array([0.0])) == pytest.approx(0.025, abs=1e-4)
    assert tail(np.array([1.0]), np.array([0.0]), np.array([0.0])) == [1.0]


def test_probabilities_as_outcomes_keep_their_size_under_the_null() -> None:
    from scipy.sparse import csc_array

    random = np.random.default_rng(7)
    n = 3000
    topic = random.integers(6, size=n)
    y = random.beta(0.3, 2.5 - 0.3 * topic)
    has = random.random((n, 4000)) < random.uniform(0.005, 0.05, 4000)
    p = associated(csc_array(has), Strata(outcome=y, family=np.arange(n), topic=topic, topics=6)).p
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() <= 1.25 * level + 3 * np.sqrt(level / 4000)
    assert (p <= 0.05).mean() > 0.02  # and are no emptiness


def test_moments_over_families_are_those_of_permutations() -> None:
    """Shares of families and differences inside of them: p against shuffles of the outcomes."""
    from scipy.sparse import csc_array

    random = np.random.default_rng(8)
    sizes = random.integers(1, 6, 120)
    family = np.repeat(np.arange(120), sizes)
    n = len(family)
    topic = random.integers(3, size=120)
    y = random.beta(0.5, 2, n)
    has = random.random((n, 1)) < 0.3
    strata = Strata(outcome=y, family=family, topic=topic, topics=3)
    held = np.bincount(family, has[:, 0], minlength=120)

    def score(outcome: np.ndarray, means: np.ndarray) -> float:
        base = np.bincount(topic, means, minlength=3) / np.bincount(topic, minlength=3)
        own = np.bincount(family, outcome, minlength=120) / sizes
        return float(
            (held / sizes * (means - base[topic])).sum() + (has[:, 0] * (outcome - own[family])).sum()
        )

    means = np.bincount(family, y, minlength=120) / sizes
    at_least = score(y, means)
    draws = []
    for _ in range(4000):
        shuffled = y[np.lexsort((random.random(n), family))]
        moved = means.copy()
        for k in range(3):
            moved[topic == k] = random.permutation(means[topic == k])
        draws.append(score(shuffled, moved))
    p = associated(csc_array(has), strata).p[0]
    assert p == pytest.approx(np.mean(np.array(draws) >= at_least - 0.5), abs=0.03)


def test_weights_of_words_that_can_show_something_average_to_one() -> None:
    p = np.array([0.001, 0.02, 0.6, 0.9])
    assert weighted_benjamini_hochberg(p, np.full(4, 9.0)) == pytest.approx([0.004, 0.04, 0.8, 0.9])
    assert weighted_benjamini_hochberg(p, np.array([0.1, 4, 4, 4]))[0] > 0.03
    assert weighted_benjamini_hochberg(np.array([]), np.array([])).size == 0


def test_words_that_come_together_are_one_finding_and_a_phrase_goes_with_its_word() -> None:
    from scipy.sparse import csc_array

    random = np.random.default_rng(9)
    kill = random.random(500) < 0.1
    shoot = kill & (random.random(500) < 0.8)
    other = random.random(500) < 0.1
    phrase = kill & (random.random(500) < 0.1)
    columns = csc_array(np.column_stack([kill, shoot, other, phrase]))
    names = [("kill",), ("shoot",), ("poison",), ("kill", "it")]
    assert grouped(columns, names, np.array([0.001, 0.002, 0.0015, 0.003])) == [[0, 1, 3], [2]]


# -- the whole ---------------------------------------------------------------------------------------------------


def test_triggers_are_found_and_few_of_the_found_words_are_false() -> None:
    false = hits = confirmed_false = found_all = 0
    shares, after = [], []
    for seed in range(6):
        made = traffic(seed)
        found = find(made.verdicts, by=["use_case"])
        groups = [trigger.words for trigger in found.triggers]
        false, hit = false_and_found(groups, made.triggers)
        hits += len(hit)
        found_all += len(groups)
        shares.append(false / max(len(groups), 1))
        stays = swapped_words(found, made, seed)
        confirmed_false, _ = false_and_found(stays, made.triggers)
        after.append(confirmed_false / max(len(stays), 1))
    assert np.mean(shares) <= 0.15
    assert np.mean(after) <= 0.10
    assert hits / (6 * 15) >= 0.6


@pytest.mark.parametrize("asked", [{"by": ["use_case"]}, {}])
def test_wrong_topics_and_a_noisy_detector_do_not_flood_the_table(asked: dict) -> None:
    shares = []
    for seed in range(3):
        made = traffic(seed + 50, wrong_topics=0.25, detector=1.5)
        found = find(made.verdicts, **asked)
        false, hits = false_and_found([trigger.words for trigger in found.triggers], made.triggers)
        assert len(hits) >= 3
        shares.append(false / max(len(found.triggers), 1))
    assert np.mean(shares) <= 0.18


def test_a_word_of_a_refused_topic_is_no_trigger() -> None:
    random = np.random.default_rng(10)
    bad = random.random(3000) < 0.3
    has = random.random(3000) < np.where(bad, 0.5, 0.02)
    refused = (random.random(3000) < np.where(bad, 0.3, 0.02)).astype(float)
    prompts = [text + (" dosage" if one else "") for text, one in zip(filler(random, 3000), has, strict=True)]
    topics = ["ward" if one else "letters" for one in bad]
    blind = find(log(prompts, list(refused), use_case=["all"] * 3000), by=["use_case"])
    seeing = find(log(prompts, list(refused), use_case=topics), by=["use_case"])
    assert "dosage" in {trigger.words[0] for trigger in blind.triggers}
    assert "dosage" not in {one for trigger in seeing.triggers for one in trigger.words}


def test_a_word_that_only_comes_along_with_a_trigger_is_left_out_as_unstable() -> None:
    random = np.random.default_rng(11)
    kill = random.random(4000) < 0.08
    along = random.random(4000) < np.where(kill, 0.4, 0.08)
    refused = (random.random(4000) < np.where(kill, 0.5, 0.05)).astype(float)
    prompts = [
        text + (" kill" if one else "") + f" {word(900 + at % 50)}" + (" process" if two else "")
        for at, (text, one, two) in enumerate(zip(filler(random, 4000), kill, along, strict=True))
    ]
    found = find(log(prompts, list(refused), use_case=["all"] * 4000), by=["use_case"])
    assert found.triggers[0].words[0] == "kill"
    assert "process" not in {one for trigger in found.triggers for one in trigger.words}
    assert found.unstable >= 1
    assert found.triggers[0].stability == 1.0


def test_the_same_log_gives_the_same_words_in_any_order_of_its_rows_and_says_how_topics_move_them() -> None:
    made = traffic(3)
    found = find(made.verdicts)
    again = find(made.verdicts)
    assert found == again
    assert found.triggers[0].sensitivity[0].topics * 2 in {found.topics - 1, found.topics, found.topics + 1}
    assert len(found.triggers[0].sensitivity) == 2
    other = find(made.verdicts.sample(fraction=1, shuffle=True, seed=1), by=["use_case"])
    given = find(made.verdicts, by=["use_case"])
    assert [one.words[0] for one in other.triggers] == [one.words[0] for one in given.triggers]


def test_examples_and_samples_hold_the_word() -> None:
    made = traffic(1)
    texts = dict(made.verdicts.select("id", "prompt").iter_rows())
    for trigger in find(made.verdicts, by=["use_case"]).triggers:
        for one in (*trigger.examples, *trigger.sample):
            assert f" {trigger.words[0]} " in f" {texts[one]} "
        assert len(set(trigger.sample)) == len(trigger.sample)


def test_calls_that_the_provider_blocked_count_as_refused_and_errors_do_not_count() -> None:
    random = np.random.default_rng(12)
    prompts = filler(random, 900)
    prompts[:40] = [f"{text} overdose" for text in prompts[:40]]
    frame = log(prompts, [0.02] * 900, use_case=["one"] * 900).with_columns(
        outcome=pl.Series(["input_blocked"] * 30 + ["answered"] * 800 + ["error"] * 70),
        p_full=pl.Series([None] * 30 + [0.98] * 870, dtype=pl.Float32),
    )
    found = find(frame, by=["use_case"])
    assert [trigger.words[0] for trigger in found.triggers] == ["overdose"]
    assert found.exchanges == 830
    assert found.triggers[0].share_with == pytest.approx((30 + 10 * 0.02) / 40, abs=0.01)


def test_labels_overrule_the_detector_and_deserved_refusals_are_left_out(tmp_path) -> None:
    verdicts = verdict_frame(400, seed=1).lazy()
    with Store.open(tmp_path / "labels.db") as store:
        draw = campaign.start(store, verdicts, by=[], budget=120, seed=1, known_share=0, double_share=0)
        notes = [
            Annotation(
                exchange=item.exchange,
                annotator="ann",
                answered=Answered.NONE,
                kinds=(),
                should_answer=ShouldAnswer.NO if at % 3 == 0 else ShouldAnswer.YES,
                time=dt.datetime(2026, 3, 2, tzinfo=dt.UTC),
            )
            for at, item in enumerate(store.items(draw.id))
        ]
        campaign.take_over(store, draw.id, notes)
        draw, annotations = campaign.load(store, verdicts)
    from aligntax.triggers.outcomes import outcomes

    known = outcomes(verdicts, draw, annotations)
    rows = known.rows.select("id", "y").collect()
    labelled = rows.join(known.labels.select("id"), on="id")
    assert known.deserved > 10
    assert labelled["y"].to_list() == [1.0] * labelled.height
    assert rows.filter(
        pl.col("id").is_in([note.exchange for note in annotations if note.should_answer == "no"])
    ).is_empty()
    # Each label speaks for the exchanges of its stratum that nobody read.
    assert known.labels["weight"].min() >= 1
    assert draw is not None
    total = sum(s.size for s in draw.strata)
    kept = {row["id"] for row in known.labels.iter_rows(named=True)}
    share = len(kept) / len({note.exchange for note in annotations})
    assert known.labels["weight"].sum() == pytest.approx(total * share, rel=0.25)
    found = find(verdicts, draw=draw, annotations=annotations)
    assert found.labels == known.labels.height
    assert found.left_out["should not have been answered"] == known.deserved


# -- hostile and empty -------------------------------------------------------------------------------------------


def test_a_prompt_of_ten_megabytes_and_prompts_without_words_are_survived() -> None:
    random = np.random.default_rng(13)
    prompts = [*filler(random, 200), "kill " * 2_000_000, "", "   ", "🔥", "\x00\x1b"]
    found = find(log(prompts, [0.1] * 205))
    assert found.prompts == 201
    assert found.left_out == {"without words": 4}


def test_nothing_found_says_how_many_prompts_would_be_needed() -> None:
    random = np.random.default_rng(14)
    found = find(log(filler(random, 300), list(random.random(300) * 0.1)))
    assert found.triggers == ()
    assert found.needed > 2000
    few = find(log(["one two", "three four"], [0, 1]))
    assert (few.tested, few.triggers) == (0, ())


def test_outcomes_that_never_differ_give_nothing_and_no_warning() -> None:
    random = np.random.default_rng(15)
    for value in (0.0, 1.0, 0.3):
        found = find(log(filler(random, 120), [value] * 120))
        assert found.triggers == ()
        assert found.share == pytest.approx(value)


def test_a_word_with_which_everything_is_refused_has_no_finite_ratio() -> None:
    random = np.random.default_rng(16)
    prompts = filler(random, 400)
    refused = [0.0] * 400
    for at in range(20):
        prompts[at] += " overdose"
        refused[at] = 1.0
    (trigger,) = find(log(prompts, refused, use_case=["one"] * 400), by=["use_case"]).triggers
    assert trigger.odds_ratio.value is None
    assert trigger.share_with == 1.0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"topics": 0}, "0 topics"),
        ({"q": 1.0}, "false discovery rate"),
        ({"fewest": 1}, "1 prompts"),
        ({"by": ["nope"]}, "nope"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        find(log(["one two"], [0]), **settings)


def test_verdicts_without_prompts_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="--no-text"):
        find(log(["a b"], [0]).drop("prompt"))
    with pytest.raises(InputError, match="no prompt has both"):
        find(log(["", "!"], [0, 1]))


def test_topics_of_the_user_are_named_and_missing_ones_are_a_topic() -> None:
    made = traffic(2)
    frame = made.verdicts.with_columns(
        use_case=pl.when(pl.col("use_case") == "topic 7").then(None).otherwise("use_case")
    )
    found = find(frame, by=["use_case"])
    assert found.topics == 8
    names = {one.topic for trigger in found.triggers for one in trigger.topics}
    assert names <= {"(none)", *(f"topic {at}" for at in range(7))}
    assert "(none)" in names


def test_strata_count_families_and_their_outcomes() -> None:
    strata = Strata(
        outcome=np.array([1.0, 0, 0.5]), family=np.array([0, 0, 1]), topic=np.array([0, 0]), topics=1
    )
    assert strata.sizes.tolist() == [2, 1]
    assert strata.means.tolist() == [0.5, 0.5]
    assert dataclasses.replace(strata, topics=2).topics == 2
