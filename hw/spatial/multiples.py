"""A number times a constant, as additions: canonical signed digits."""

__all__ = ["signed_digits"]


def signed_digits(number: int) -> list[tuple[int, int]]:
    """(shift, sign) of the digits of a positive number, no two of them side by side.

    No other way of writing it as a sum of signed powers of two has fewer.
    """
    digits, shift = [], 0
    while number:
        if number & 1:
            sign = 2 - (number & 3)
            digits.append((shift, sign))
            number -= sign
        number >>= 1
        shift += 1
    return digits
