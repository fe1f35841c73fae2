"""Stored weights: a sign and an index of ``weight_bits - 1`` bits.

Index 0 is zero, index i is ``2**(i - 1)``. A stored weight is ``sign << (weight_bits - 1) |
index``. Weight number j in row-major order has bits ``j * weight_bits`` and up of the section,
which is seen as one little-endian number. Bits left over in the last byte are 0. A sign without an
index (negative zero) does not exist.
"""

import numpy as np

from .errors import GraphError

__all__ = ["pack_weights", "packed_size", "stored_weights", "unpack_weights"]


def packed_size(count: int, weight_bits: int) -> int:
    """Bytes that ``count`` weights take."""
    return (count * weight_bits + 7) // 8


def stored_weights(weight: np.ndarray, weight_bits: int) -> np.ndarray:
    """Stored weights, uint8, of weights that are 0 or signed powers of two."""
    # frexp gives m * 2**e with 0.5 <= m < 1, so e is log2 + 1 for a power of two and 0 for 0.
    index = np.frexp(np.abs(weight).astype(np.float64))[1].astype(np.uint8)
    return index | (weight < 0).astype(np.uint8) << (weight_bits - 1)


def pack_weights(weight: np.ndarray, weight_bits: int) -> bytes:
    """The section that holds ``weight``, of any shape: 0 and signed powers of two in range."""
    codes = stored_weights(weight, weight_bits).reshape(-1)
    # Eight stored weights fill exactly weight_bits bytes.
    groups = np.zeros((-(-codes.size // 8), 8), dtype=np.uint64)
    groups.reshape(-1)[: codes.size] = codes
    word = np.zeros(len(groups), dtype="<u8")
    for number in range(8):
        word |= groups[:, number] << np.uint64(number * weight_bits)
    packed = word.view(np.uint8).reshape(-1, 8)[:, :weight_bits]
    return packed.tobytes()[: packed_size(codes.size, weight_bits)]


def unpack_weights(
    section: bytes | memoryview, weight_bits: int, shape: list[int], what: str
) -> np.ndarray:
    """Weights, int64, of ``shape``.

    Raises :class:`GraphError`, naming ``what``, for a negative zero.
    """
    count = int(np.prod(shape))
    if len(section) != packed_size(count, weight_bits):
        raise AssertionError("the caller compares the sizes")
    groups = -(-count // 8)
    padded = np.zeros(groups * weight_bits, dtype=np.uint8)
    padded[: len(section)] = np.frombuffer(section, dtype=np.uint8)
    word = np.zeros((groups, 8), dtype=np.uint8)
    word[:, :weight_bits] = padded.reshape(groups, weight_bits)
    word = word.view("<u8").reshape(-1)
    codes = np.empty((groups, 8), dtype=np.uint8)
    mask = np.uint64((1 << weight_bits) - 1)
    for number in range(8):
        codes[:, number] = word >> np.uint64(number * weight_bits) & mask
    codes = codes.reshape(-1)
    if codes[count:].any():
        raise GraphError(f"{what}: bits after the last weight must be 0")
    codes = codes[:count]
    sign = 1 << (weight_bits - 1)
    if (codes == sign).any():
        raise GraphError(
            f"{what}: weight number {int(np.argmax(codes == sign))} is a negative "
            "zero, which no code is"
        )
    index = np.arange(sign)
    magnitude = np.where(index, 1 << np.maximum(index - 1, 0), 0)
    return np.concatenate([magnitude, -magnitude])[codes].reshape(shape)
