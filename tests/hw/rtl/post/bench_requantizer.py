"""cocotb cases for the requantizer: with its params it is the interpreter's requantize."""

import random
from collections import defaultdict, deque

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.compiler import CompileError
from hw.compiler.constants import requantize_params
from hw.contract.timing import requantizer_latency
from hw.contract.words import addend_bits
from nbqnn_train.graph import Requantize, requantize
from sim.streams import start
from tests.hw.rtl.post.designs import POSITIONS, REQUANTIZERS, TERMS

NODES = 40
CHANNELS = 6


def random_node(config, reach):
    """A node whose outputs use a good part of their range, or little of it, or are all saturated.

    ``reach`` (C,) are the largest magnitudes of the channels' accumulators.
    """
    bits = random.randrange(2, config.act_bits + 1)
    signed = random.random() < 0.5
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if random.random() < 0.3:
        low, high = sorted(random.choices(range(low, high + 1), k=2))
    channels = []
    for largest in map(int, reach):
        if config.requant == "shift":
            multiplier = 1 << random.randrange(5)
        else:
            multiplier = random.choice([1, 2, 3, 0xFFFF, random.randrange(1, 1 << 16)])
        wanted = (largest * multiplier).bit_length() - bits
        shift = random.choice([wanted, wanted + random.randrange(-4, 4), random.randrange(48)])
        shift = min(max(shift, 0), 47)
        span = min(largest * multiplier, (1 << 47) - 1)
        bias = random.choice([0, span, -span, random.randint(-span, span)])
        channels.append((multiplier, bias, shift))
    multipliers, biases, shifts = zip(*channels, strict=True)
    return Requantize(
        name="r",
        input="x",
        multiplier=multipliers,
        bias=biases,
        shift=shifts,
        bits=bits,
        signed=signed,
        exponent=0,
        low=low,
        high=high,
    )


def stimuli(node, channel, correction, low, high):
    """Sums of the array: the ends, a few random ones, and all around where the code changes."""
    sums = {low, high, *(random.randint(low, high) for _ in range(12))}
    multiplier, bias, shift = (
        int(values[channel]) for values in (node.multiplier, node.bias, node.shift)
    )
    half = (1 << shift) >> 1
    codes = [node.low, node.high, random.randint(node.low, node.high), node.low - 1, node.high + 1]
    for code in codes:
        # The sum at which this code begins, a tie if one falls on an integer.
        edge = -(-((code << shift) - bias - half) // multiplier) - correction
        sums |= {edge - 1, edge, edge + 1}
    return [value for value in sums if low <= value <= high]


def one_of_the_terms(accs, bits):
    """A number for each position in one of its terms, at random; the others are zero."""
    word = 0
    for position, acc in enumerate(accs):
        term = position * TERMS + random.randrange(TERMS)
        word |= (acc & ((1 << bits) - 1)) << term * bits
    return word


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(name=list(REQUANTIZERS))
async def matches_interpreter(dut, name):
    """Every code, with another channel's parameters in every cycle."""
    config = REQUANTIZERS[name]
    ports = {p: getattr(dut, f"{name}_{p}") for p in ("acc", "param", "low", "high", "code")}
    await start(dut, inputs=[f"{name}_{port}" for port in ports if port != "code"])
    mask = (1 << config.act_bits) - 1
    limit = 1 << config.acc_bits - 1
    compared, refused, ends = 0, 0, 0
    for _ in range(NODES):
        lows = np.array([random.randint(-limit, 0) for _ in range(CHANNELS)])
        highs = np.array([random.randint(0, limit - 1) for _ in range(CHANNELS)])
        lows[0], highs[0] = -limit, limit - 1
        lows[1] = highs[1]  # a channel whose weights are all zero
        span = 1 << config.act_bits + 6
        correction = np.array([random.randint(-span, span) for _ in range(CHANNELS)])
        reach = np.maximum(abs(lows), abs(highs)) + abs(correction)
        node = random_node(config, reach)
        half = 1 << config.act_bits - 1
        offset = half if node.high >= half else 0
        try:
            params = requantize_params(config, "r", node, correction, lows, highs, offset)
        except CompileError:
            refused += 1
            continue
        by_channel = defaultdict(list)
        for channel in range(CHANNELS):
            word = int(params.addend[channel]) & ((1 << addend_bits(config)) - 1)
            word |= int(params.shift[channel]) << addend_bits(config)
            if config.requant == "scale":
                word |= int(params.multiplier[channel]) << addend_bits(config) + 6
            for acc in stimuli(
                node, channel, int(correction[channel]), int(lows[channel]), int(highs[channel])
            ):
                code = requantize(
                    acc + correction[channel],
                    node.multiplier[channel],
                    node.bias[channel],
                    node.shift[channel],
                    node.low,
                    node.high,
                )
                by_channel[channel, word].append((acc, int(code) - offset))
                ends += int(code) in (node.low, node.high)
        ports["low"].value = node.low - offset
        ports["high"].value = node.high - offset
        # A channel's sums, several at a time.
        work = [
            (channel, word, sums[first : first + POSITIONS])
            for (channel, word), sums in by_channel.items()
            for first in range(0, len(sums) - POSITIONS + 1, POSITIONS)
        ]
        random.shuffle(work)
        latency = requantizer_latency(config)
        pipe = deque([None] * latency)
        for item in [*work, *[None] * latency]:
            if item is not None:
                accs = [acc for acc, _ in item[2]]
                ports["acc"].value = one_of_the_terms(accs, config.acc_bits)
                ports["param"].value = item[1]
            await RisingEdge(dut.clk)
            pipe.append(item)
            done = pipe.popleft()
            if done is not None:
                for position, (acc, expected) in enumerate(done[2]):
                    actual = int(ports["code"].value) >> position * config.act_bits & mask
                    assert actual == expected & mask, (
                        f"channel {done[0]} of {node}: sum {acc} gave {actual:#x}, not {expected}"
                    )
                    compared += 1
    assert refused <= NODES // 2
    assert 0.1 * compared < ends < 0.95 * compared
