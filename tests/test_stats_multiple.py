"""Adjusted p-values: a worked table, an oracle, and the error rates that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from aligntax.errors import InputError
from aligntax.stats.multiple import benjamini_hochberg, holm

BOTH = pytest.mark.parametrize(
    ("adjust", "name"), [(benjamini_hochberg, "fdr_bh"), (holm, "holm")], ids=["bh", "holm"]
)


def test_a_table_worked_by_hand():
    p_values = [0.04, 0.01, 0.03, 0.02]
    # Holm: .01 * 4 = .04, .02 * 3 = .06, .03 * 2 = .06, .04 * 1 -> .06 (never under the one before it).
    assert holm(p_values) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # Benjamini and Hochberg: .01 * 4 / 1, .02 * 4 / 2, .03 * 4 / 3, .04 * 4 / 4: all .04.
    assert benjamini_hochberg(p_values) == pytest.approx([0.04] * 4)


def test_the_published_example_of_benjamini_and_hochberg():
    # Their 15 p-values of a thrombolysis trial: four are rejected at .05 by their procedure, three by Bonferroni's.
    p_values = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
    ]
    assert (benjamini_hochberg(p_values) <= 0.05).sum() == 4
    assert (holm(p_values) <= 0.05).sum() == 3


@BOTH
def test_they_agree_with_statsmodels_ties_and_ends_included(adjust, name):
    random = np.random.default_rng(4)
    for count in (1, 2, 7, 60):
        p_values = np.round(random.random(count) ** 3, 2)
        assert adjust(p_values) == pytest.approx(multipletests(p_values, method=name)[1])


@BOTH
def test_nothing_tested_is_nothing_found(adjust, name):
    assert adjust([]).tolist() == []


@BOTH
@pytest.mark.parametrize("p_values", [[0.1, float("nan")], [1.2], [-0.1], [[0.1]]])
def test_what_is_no_p_value_is_refused(adjust, name, p_values):
    with pytest.raises(InputError, match="between 0 and 1"):
        adjust(p_values)


def test_the_error_rates_are_what_they_promise():
    random = np.random.default_rng(5)
    any_false, false_share, unadjusted = [], [], []
    for _ in range(1500):
        p_values = random.random(20)
        p_values[:5] = random.random(5) * 1e-3  # five effects that are there
        any_false.append((holm(p_values)[5:] <= 0.1).any())
        unadjusted.append((p_values[5:] <= 0.1).any())
        found = benjamini_hochberg(p_values) <= 0.1
        false_share.append(found[5:].sum() / max(found.sum(), 1))
    assert np.mean(any_false) <= 0.115
    assert np.mean(false_share) <= 0.1
    assert np.mean(false_share) == pytest.approx(0.1 * 15 / 20, abs=0.012)  # what the theorem says it is
    assert np.mean(unadjusted) > 0.7  # without them a false find is the rule
