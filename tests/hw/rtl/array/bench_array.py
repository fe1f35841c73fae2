"""cocotb cases for elements, arrays and channel-wise units; expectations are NumPy's integers."""

import random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.contract.timing import pe_latency, sum_latency
from sim.streams import cycles, start
from tests.hw.rtl.array.designs import ARRAYS, ELEMENTS, MAXIMA, PRODUCTS, SUMS

OUTPUTS = 60


def joined(values, bits):
    """Integers as one word, the first in the low bits."""
    return sum((int(value) & ((1 << bits) - 1)) << bits * i for i, value in enumerate(values))


def parted(word, bits, count):
    """The signed integers in a word, the first from the low bits."""
    return np.array([wrapped((word >> bits * i) & ((1 << bits) - 1), bits) for i in range(count)])


def wrapped(value, bits):
    """Two's complement of ``bits`` bits."""
    half = 1 << bits - 1
    return (int(value) + half) % (2 * half) - half


def random_acts(shape, bits):
    """Signed codes, every fourth at an end of the range."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    acts = np.random.randint(low, high + 1, shape)
    return np.where(np.random.random(shape) < 0.25, np.random.choice([low, high], shape), acts)


class Steps:
    """Drives one part's steps, with gaps, and collects its results with their cycles."""

    def __init__(self, dut, name, result, gap_rate, latency):
        np.random.seed(random.getrandbits(32))
        self.dut = dut
        self.name = name
        self.result = result
        self.gap_rate = gap_rate
        self.latency = latency
        self.cycle = 0
        self.results = []
        self.last_steps = set()

    def port(self, port):
        return getattr(self.dut, f"{self.name}_{port}")

    async def begin(self):
        await start(self.dut, inputs=[f"{self.name}_valid"])
        cocotb.start_soon(self._collect())

    async def _collect(self):
        held = None
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1
            if int(self.port("valid").value) and int(self.port("last").value):
                self.last_steps.add(self.cycle)
            word = int(self.port(self.result).value)
            if self.cycle - self.latency in self.last_steps:
                self.results.append(word)
            else:
                assert held in (None, word), "the result did not hold until the next"
            held = word

    async def output(self, steps):
        """One output: a list of dicts of port values. Ports hold garbage between the steps."""
        for index, values in enumerate(steps):
            while random.random() < self.gap_rate:
                # Elements are told of a last step only where there is one.
                last = random.getrandbits(1) if self.name not in ELEMENTS else 0
                self._drive(valid=0, first=random.getrandbits(1), last=last)
                for port in values:
                    self._drive(**{port: random.getrandbits(len(self.port(port)))})
                await RisingEdge(self.dut.clk)
            self._drive(valid=1, first=index == 0, last=index == len(steps) - 1, **values)
            await RisingEdge(self.dut.clk)
        self._drive(valid=0, last=0)

    def _drive(self, **values):
        for port, value in values.items():
            self.port(port).value = int(value)

    async def finish(self):
        """The results' words, each of which came when it was to."""
        await cycles(self.dut, self.latency + 2)
        return self.results


def weight_table(kind, options):
    """Code -> weight, and code -> whether its product is inverted."""
    bits = options["weight_bits"]
    if kind == "v":
        values = [0] + [sign << shift for sign in (1, -1) for shift in range(2 ** (bits - 1) - 1)]
        return {value & ((1 << options["stored_bits"]) - 1): (value, 0) for value in values}
    table = {}
    for code in range(1 << bits):
        index, negative = code % (1 << bits - 1), code >> (bits - 1)
        magnitude = 1 << index - 1 if index else 0
        table[code] = (-magnitude if negative else magnitude, negative)
    return table


def extreme_steps(lanes, bits, codes, repeats):
    """All lanes at one end of the range with one code, for every code."""
    for act in (-(1 << bits - 1), (1 << bits - 1) - 1, -1, 0):
        for code in codes:
            yield np.full((repeats, lanes), act), np.full((repeats, lanes), code)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(name=list(ELEMENTS))
async def dot_products(dut, name):
    """Sums less one for every inverted product, modulo the accumulator's width."""
    options = ELEMENTS[name]
    lanes, bits, acc_bits = options["lanes"], options["act_bits"], options["acc_bits"]
    stored_bits = options["stored_bits"]
    table = weight_table(name[0], options)
    codes = list(table)
    bench = Steps(dut, name, "acc", 0.0, pe_latency(lanes))
    await bench.begin()
    stimuli = list(extreme_steps(lanes, bits, codes, 1))
    for _ in range(OUTPUTS):
        count = random.choice([1, 1, 2, 3, random.randrange(1, 20)])
        stimuli.append((random_acts((count, lanes), bits), np.random.choice(codes, (count, lanes))))
    # The longest sums that there are, whose accumulator wraps.
    stimuli += extreme_steps(lanes, bits, (codes[-1], codes[len(codes) // 2 - 1]), 40)
    expected = []
    for number, (acts, chosen) in enumerate(stimuli):
        # First all back to back, then with gaps.
        bench.gap_rate = 0.0 if number < len(stimuli) // 2 else 0.4
        weights = np.array([[table[code][0] for code in row] for row in chosen])
        inverted = sum(table[code][1] for code in chosen.reshape(-1))
        expected.append(wrapped((acts * weights).sum() - inverted, acc_bits))
        await bench.output(
            [
                {"act": joined(act, bits), "weight": joined(code, stored_bits)}
                for act, code in zip(acts, chosen, strict=True)
            ]
        )
    words = await bench.finish()
    assert [wrapped(word, acc_bits) for word in words] == expected


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(name=list(ARRAYS), gap_rate=[0.0, 0.4])
async def arrays(dut, name, gap_rate):
    """Every filter meets every pixel, and nothing else."""
    c = ARRAYS[name]
    options = {"weight_bits": c.weight_bits, "stored_bits": c.stored_weight_bits}
    table = weight_table("s" if c.pe == "shift" else "v", options)
    bench = Steps(dut, f"array_{name}", "acc", gap_rate, pe_latency(c.lanes) + 1)
    await bench.begin()
    expected = []
    for _ in range(OUTPUTS):
        # Short enough for the accumulator.
        count = random.randrange(1, 6)
        acts = random_acts((count, c.pixels, c.lanes), c.act_bits)
        codes = np.random.choice(list(table), (count, c.filters, c.lanes))
        weights = np.vectorize(lambda code: table[code][0])(codes)
        inverted = np.vectorize(lambda code: table[code][1])(codes).sum((0, 2))
        sums = np.einsum("spl,sfl->pf", acts, weights) - inverted
        expected.append([wrapped(value, c.acc_bits) for value in sums.reshape(-1)])
        await bench.output(
            [
                {
                    "act": joined(act.reshape(-1), c.act_bits),
                    "weight": joined(code.reshape(-1), c.stored_weight_bits),
                }
                for act, code in zip(acts, codes, strict=True)
            ]
        )
    words = await bench.finish()
    results = [list(parted(word, c.acc_bits, c.filters * c.pixels)) for word in words]
    assert results == expected


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(name=list(MAXIMA), gap_rate=[0.0, 0.4])
async def maxima(dut, name, gap_rate):
    c = MAXIMA[name]
    bench = Steps(dut, f"max_{name}", "max", gap_rate, 2)
    await bench.begin()
    expected = []
    for _ in range(OUTPUTS):
        acts = random_acts((random.randrange(1, 10), c.pixels * c.lanes), c.act_bits)
        expected.append(list(acts.max(0)))
        await bench.output([{"act": joined(act, c.act_bits)} for act in acts])
    words = await bench.finish()
    assert [list(parted(word, c.act_bits, c.pixels * c.lanes)) for word in words] == expected


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(name=list(SUMS), gap_rate=[0.0, 0.4])
async def sums(dut, name, gap_rate):
    """Every channel has its own weights, every pixel its own sum, of its word and further ones."""
    c = SUMS[name]
    taps = c.depthwise_taps
    options = {"weight_bits": c.weight_bits, "stored_bits": c.stored_weight_bits}
    table = weight_table("s" if c.pe == "shift" else "v", options)
    bench = Steps(dut, f"sum_{name}", "sum", gap_rate, sum_latency(c))
    await bench.begin()
    if c.products:
        bench.port("factor").value = 0
    expected = []
    for _ in range(OUTPUTS):
        count = random.randrange(1, 10)
        acts = random_acts((count, c.read_words, c.lanes), c.act_bits)
        codes = np.random.choice(list(table), (count, taps, c.lanes))
        weights = np.vectorize(lambda code: table[code][0])(codes)
        inverted = np.vectorize(lambda code: table[code][1])(codes).sum(0)
        totals = np.zeros((c.pixels, c.lanes), int)
        for pixel, tap in np.ndindex(c.pixels, taps):
            if not tap or pixel < c.tap_pixels:
                totals[pixel] += (acts[:, pixel + tap] * weights[:, tap]).sum(0) - inverted[tap]
        expected.append([wrapped(value, c.acc_bits) for value in totals.reshape(-1)])
        await bench.output(
            [
                {
                    "act": joined(act.reshape(-1), c.act_bits),
                    "weight": joined(code.reshape(-1), c.stored_weight_bits),
                }
                for act, code in zip(acts, codes, strict=True)
            ]
        )
    words = await bench.finish()
    results = [list(parted(word, c.acc_bits, c.lanes * c.pixels)) for word in words]
    assert results == expected


#: Flags of a step, as bits.
PRODUCT, DIGIT, TAKE, TURN, NEGATE, UNSIGNED = (1 << bit for bit in range(6))


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(name=list(PRODUCTS), gap_rate=[0.0, 0.4])
async def products(dut, name, gap_rate):
    """Activations times activations; either may be stored less half its range."""
    c = PRODUCTS[name]
    bench = Steps(dut, f"sum_{name}", "sum", gap_rate, sum_latency(c))
    await bench.begin()
    half = 1 << c.act_bits - 1
    expected = []
    for _ in range(4 * OUTPUTS):
        moved, factor = (random_acts((c.read_words, c.lanes), c.act_bits) for _ in range(2))
        unsigned, wide = random.getrandbits(1), random.getrandbits(1)
        products = (moved + wide * half) * (factor + unsigned * half)
        products = products[: c.pixels].reshape(-1)
        expected.append([wrapped(value, c.acc_bits) for value in products])
        lowest = np.full_like(moved, -half)
        common = PRODUCT | unsigned * UNSIGNED
        steps = [(factor, common | TAKE, 0)] + [(lowest, common | NEGATE, 0)] * wide
        for _ in range(c.factor_digits):
            turn = common | DIGIT | TURN
            if wide:
                steps += [(moved, common | DIGIT, 1), (lowest, turn | NEGATE, 0)]
            else:
                steps.append((moved, turn, 1))
        await bench.output(
            [
                {
                    "act": joined(act.reshape(-1), c.act_bits),
                    "weight": random.getrandbits(c.depthwise_taps * c.lanes * c.stored_weight_bits),
                    "factor": flags,
                    "grow": grow,
                }
                for act, flags, grow in steps
            ]
        )
    words = await bench.finish()
    bench.port("factor").value = bench.port("grow").value = 0
    results = [list(parted(word, c.acc_bits, c.lanes * c.pixels)) for word in words]
    assert results == expected
