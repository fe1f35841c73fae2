"""In which bank of the activation memory a word lies, and which words share one."""

import numpy as np

__all__ = ["bank_of", "may_meet"]


def bank_of(word: int | np.ndarray, banks: int) -> int | np.ndarray:
    """The bank of a word: ``word % banks``, with bit 0 inverted in odd rows.

    ``banks`` is a power of two. The row in the bank is ``word // banks``, so no two words share a
    row of a bank. Thanks to the inversion, words two apart fill all banks before a bank repeats.
    """
    return word % banks ^ (word // banks & 1)


def may_meet(difference: int | np.ndarray, banks: int) -> bool | np.ndarray:
    """Whether two words that are ``difference`` apart can be in the same bank.

    They are in the same bank if all bits of the banks' numbers agree. A bank's number has the low
    bits of the word, except that bit 0 is inverted in odd rows. So two words of a bank differ,
    modulo ``banks``, in bit 0 at most: the difference is 0, 1 or -1.

    - Difference 0 modulo ``banks``: bit 0 of both words is the same. So both rows are even or both
      are odd: the difference is 0 modulo ``2 * banks``.
    - Difference 1 from an even word, or -1 from an odd one: bit 0 of the words is not the same. So
      one row is even and the other is odd. No carry leaves bit 0, so the difference is
      ``banks + 1`` or ``banks - 1`` modulo ``2 * banks``.
    """
    rest = difference % (2 * banks)
    return (rest == 0) | (rest == banks - 1) | (rest == banks + 1)
