"""hw.contract.banks: a place for every word, and which differences share a bank."""

import numpy as np
import pytest

from hw.contract.banks import bank_of, may_meet


@pytest.mark.parametrize("banks", [2, 4, 8, 16, 32])
def test_all_differences(banks):
    """Against all places of the first word; the pattern repeats after two rows."""
    firsts = np.arange(4 * banks, 8 * banks)
    for difference in range(-4 * banks, 4 * banks + 1):
        meet = (bank_of(firsts, banks) == bank_of(firsts + difference, banks)).any()
        assert may_meet(difference, banks) == meet, difference


@pytest.mark.parametrize("banks", [2, 4, 8, 16, 32])
def test_every_word_has_a_place(banks):
    words = np.arange(8 * banks)
    places = {(int(bank_of(word, banks)), int(word) // banks) for word in words}
    assert places == {(bank, row) for bank in range(banks) for row in range(8)}
    assert [bank_of(int(word), banks) for word in words] == bank_of(words, banks).tolist()


@pytest.mark.parametrize("step", [1, 2])
def test_words_one_and_two_apart(step):
    """As many in a row as there are banks less one, wherever they begin."""
    for banks in (4, 8, 16):
        assert not any(may_meet(step * ahead, banks) for ahead in range(1, banks - 1))
