"""In which bank of the activation memory a word lies, and which words share one."""

import numpy as np

__all__ = ["bank_of", "may_meet"]


def bank_of(word: int | np.ndarray, banks: int) -> int | np.ndarray:
    """The bank of a word: ``word % banks``, with bit 0 inverted in odd rows.

    ``banks`` is a power of two. The row in the bank is ``word // banks``, so words never share one.
    Thanks to the inversion, words that are two apart fill all banks before a bank repeats.
    """
    return word % banks ^ (word // banks & 1)


def may_meet(difference: int | np.ndarray, banks: int) -> bool | np.ndarray:
    """Whether two words that far apart can be in the same bank, wherever the first one is.

    They are if all bits of the banks' numbers agree. The bits above bit 0 are those of the words,
    so a word and the other differ by -1, 0 or 1 modulo ``banks``, and in bit 0 only: a difference
    of 1 is from an even word, of -1 from an odd one. A difference that is 0 modulo ``banks`` leaves
    bit 0 as it is, so the rows must be both even or both odd: 0 modulo ``2 * banks``. One of 1 or
    -1 changes bit 0, so one of the rows must be odd and the other even; there is no carry from
    bit 0, so that is ``banks + 1`` or ``banks - 1`` modulo ``2 * banks``.
    """
    rest = difference % (2 * banks)
    return (rest == 0) | (rest == banks - 1) | (rest == banks + 1)
