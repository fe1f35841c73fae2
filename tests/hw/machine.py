"""What a program's commands do, one after the other, in plain integers: no cycles, no waits.

Quick, so that many random programs can be looked at; the Verilated accelerator says the rest.
"""

from collections.abc import Iterator

import numpy as np

from hw.contract.banks import bank_of
from hw.contract.isa import Compute, Load, Memory, Product, Region, Store, Unit, read_commands
from hw.contract.program import Program
from hw.contract.words import PRE_SHIFT, param_fields, table_shape, word_beats

__all__ = ["run_program"]


def run_program(program: Program, codes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Codes (batch, C, H, W) of outputs and traced tensors, from those of the inputs by name."""
    machine = _Machine(program)
    for port in program.inputs:
        images = [np.reshape(image, (-1, *_map_of(image))) for image in codes[port.name]]
        if program.blocks is not None:
            images = [program.blocks.apply(image) for image in images]
        layout = port.layout
        stacked = np.concatenate(images, axis=1)
        stacked = stacked.reshape(layout.channels, layout.height, layout.width)
        packed = layout.pack(program.config, stacked).reshape(-1)
        machine.regions[Region.INPUT][port.offset : port.offset + packed.size] = packed
    machine.run()
    found = {}
    for region, ports in ((Region.OUTPUT, program.outputs), (Region.SCRATCH, program.traced)):
        for port in ports:
            size = port.layout.host_bytes(program.config)
            image = machine.regions[region][port.offset : port.offset + size]
            values = port.layout.unpack(program.config, image)
            found[port.name] = np.stack(np.split(values, program.batch, axis=1))
    return found


def _map_of(image: np.ndarray) -> tuple[int, int]:
    return image.shape[1:] if image.ndim == 3 else (1, 1)


def _signed(value: int | np.ndarray, bits: int = 16) -> int | np.ndarray:
    return (value & ((1 << bits) - 1)) - ((value >> (bits - 1) & 1) << bits)


class _Machine:
    def __init__(self, program: Program):
        self.program = program
        self.config = c = program.config
        self.regions = {region: np.zeros(1 << 20, np.uint8) for region in Region}
        parameters = np.frombuffer(program.parameters, np.uint8)
        self.regions[Region.PARAMETERS] = np.concatenate([parameters, np.zeros(4096, np.uint8)])
        depths = {
            Memory.ACT: c.act_depth,
            Memory.WEIGHT: c.weight_depth,
            Memory.PARAM: c.param_depth,
            **({Memory.TABLE: table_shape(c).words} if c.tables else {}),
        }
        self.memories = {
            memory: np.random.default_rng(1).integers(
                0, 256, (depth, self.word_bytes(memory)), np.uint8
            )
            for memory, depth in depths.items()
        }
        #: Of each unit: the sums of the group before.
        self.sums: dict[Unit, np.ndarray] = {}

    def word_bytes(self, memory: Memory) -> int:
        return word_beats(self.config, memory) * self.config.axi_beat_bits // 8

    def run(self) -> None:
        for command in read_commands(self.program.commands):
            if isinstance(command, Load | Store):
                self.transfer(command)
            elif isinstance(command, Compute):
                self.compute(command)

    def transfer(self, command: Load | Store) -> None:
        memory = self.memories[Memory(command.memory)]
        size = self.word_bytes(Memory(command.memory))
        ports = self.config.axi_ports
        for row in range(command.rows):
            begin = (command.offset + row * command.offset_stride) * ports
            outside = self.regions[Region(command.region)][begin : begin + command.words * size]
            words = command.base + row * command.base_stride + np.arange(command.words)
            if isinstance(command, Load):
                memory[words] = outside.reshape(-1, size)
            else:
                outside[:] = memory[words].reshape(-1)

    def fields(self, memory: Memory, word: int, count: int, bits: int) -> np.ndarray:
        """So many unsigned fields of a word, from the low bits upwards."""
        unpacked = np.unpackbits(self.memories[memory][word], bitorder="little")
        return unpacked[: count * bits].reshape(count, bits) @ (1 << np.arange(bits))

    def products(self, words: np.ndarray, stored: np.ndarray) -> np.ndarray:
        """Of activations and stored weights, as the lanes give them: inverted, not negated."""
        if self.config.pe == "multiply":
            return words * _signed(stored, self.config.stored_weight_bits)
        bits = self.config.weight_bits
        index, sign = stored & ((1 << bits - 1) - 1), stored >> (bits - 1)
        shifted = np.where(index > 0, words << np.maximum(index - 1, 0), 0)
        return np.where(sign == 1, ~shifted, shifted)

    def positions(self, c: Compute) -> Iterator[tuple[int, int, int, int]]:
        """(row, column, word of the input, word of the output) of each."""
        row, column, origin, out = _signed(c.row), _signed(c.column), c.in_base, c.out_base
        for index in range(c.positions):
            yield row, column, origin, out
            if (index + 1) % c.out_width:
                column += _signed(c.column_step)
                origin += _signed(c.column_step)
                out += c.out_step
            else:
                row, column = row + _signed(c.row_step), _signed(c.column)
                origin, out = origin + _signed(c.origin_wrap), out + _signed(c.out_wrap)

    def taps(self, c: Compute) -> Iterator[tuple[int, int, int, int]]:
        """(pass, row, column, word) of each, from the window's corner on."""
        word = 0
        for group in range(c.channel_groups):
            for row in range(c.kernel_h):
                for column in range(c.kernel_w):
                    yield group, row * _signed(c.tap_row), column * _signed(c.tap_column), word
                    word += _signed(c.tap_column) if column + 1 < c.kernel_w else 0
                word += _signed(c.tap_row_origin) if row + 1 < c.kernel_h else 0
            word += _signed(c.tap_group_origin)

    def compute(self, c: Compute) -> None:
        positions = np.array(list(self.positions(c)))
        taps = np.array(list(self.taps(c)))
        self.check_banks(c, positions)
        for group in range(c.filter_groups):
            rows = positions[:, None, 0] + taps[:, 1]
            # A step takes this word and, with several taps, those beside it.
            beside = np.arange(self.config.depthwise_taps if c.adds & 4 else 1)[:, None, None]
            words = beside + positions[:, None, 2] + taps[:, 3] + group * _signed(c.group_origin)
            columns = beside + positions[:, None, 1] + taps[:, 2]
            inside = (rows >= 0) & (rows < c.in_height) & (columns >= 0) & (columns < c.in_width)
            if c.product:
                sums = self.group_products(c, group, positions[:, 2], inside[0])
            else:
                words = words % self.config.act_depth
                sums = self.group_sums(c, group, words, inside, taps[:, 0])
            self.drain(c, group, positions[:, 3], sums)

    def check_banks(self, c: Compute, positions: np.ndarray) -> None:
        """Words that are read or written together are in different banks, or the same word."""
        banks, turn = self.config.banks, self.config.post_positions
        for begin in range(0, len(positions), c.pixels):
            group = positions[begin : begin + c.pixels]
            read = set((group[:, 2] % (1 << 16)).tolist())
            assert len({bank_of(word, banks) for word in read}) == len(read), c
            for first in range(0, len(group), turn):
                out = group[first : first + turn, 3]
                assert len(set(bank_of(out, banks).tolist())) == len(out), c

    def group_sums(
        self, c: Compute, group: int, words: np.ndarray, inside: np.ndarray, passes: np.ndarray
    ) -> np.ndarray:
        """(positions, channels) of one filter group.

        words, inside : (taps of a step, positions, steps); passes : (steps,)
        """
        config, unit = self.config, Unit(c.unit)
        bits = config.act_bits
        lowest = -(1 << bits - 1) if c.pad >> bits - 1 & 1 else 0
        used = dict.fromkeys(words.ravel().tolist())
        codes = {
            word: _signed(self.fields(Memory.ACT, word, config.lanes, bits), bits) for word in used
        }
        values = np.array([codes[word] for word in words.ravel().tolist()], np.int64)
        values = np.where(inside[..., None], values.reshape(*words.shape, -1), lowest)
        if unit is Unit.MAX:
            return values[0].max(axis=1)
        spread, _, steps = words.shape
        first = c.weight_base + (group * steps if c.weight_step else 0)
        filters = config.filters if unit is Unit.ARRAY else spread
        adds, grows = c.adds & 1, c.adds >> 1 & 1
        assert not c.adds & 3 or (c.filter_groups == 1 and c.positions <= c.pixels)
        sums = self.sums[unit] if adds else 0
        for step in range(steps):
            stored = self.fields(
                Memory.WEIGHT, first + step, filters * config.lanes, config.stored_weight_bits
            ).reshape(filters, config.lanes)
            starts = (step > 0 and passes[step] != passes[step - 1]) or (step == 0 and grows)
            if unit is Unit.SUM:
                sums = sums << config.radix_bits if starts else sums
                for tap, weights in enumerate(stored):
                    sums = sums + self.products(values[tap, :, step], weights)
            else:
                sums = sums + self.products(values[0, :, step, None], stored).sum(axis=-1)
        self.sums[unit] = sums
        return sums

    def group_products(
        self, c: Compute, group: int, origins: np.ndarray, inside: np.ndarray
    ) -> np.ndarray:
        """As :meth:`group_sums`, of a product: the factor is a number, not its digits."""
        config, bits = self.config, self.config.act_bits
        assert c.channel_groups == 1 + config.factor_digits
        assert c.kernel_h == 1
        # The second step of a digit reads padding.
        assert inside[:, 0].all()
        assert c.kernel_w == 1 or not inside[:, 1].any()
        origins = origins + group * _signed(c.group_origin)
        shared = c.product & Product.SHARED
        factors = np.full_like(origins, c.factor) if shared else origins + c.factor

        def codes(words: np.ndarray) -> np.ndarray:
            found = [
                self.fields(Memory.ACT, word, config.lanes, bits)
                for word in (words % config.act_depth).tolist()
            ]
            return _signed(np.array(found), bits)

        half = 1 << bits - 1
        unsigned = half if c.product & Product.UNSIGNED else 0
        return (codes(factors) + unsigned) * (codes(origins) + half * (c.kernel_w - 1))

    def looked_up(self, code: int, shift: int) -> int:
        """The table's stored code for a stored code."""
        words, codes = table_shape(self.config)
        bits = self.config.act_bits
        stored = code & ((1 << bits) - 1)
        if bits > 8:
            moved = stored << shift & ((1 << bits) - 1)
            row = np.unpackbits(self.memories[Memory.TABLE][moved >> bits - 8], bitorder="little")
            number = sum(int(bit) << i for i, bit in enumerate(row[: 2 * bits + 1]))
            knot, rise = _signed(number, bits), _signed(number >> bits, bits + 1)
            part = (moved & (1 << bits - 8) - 1) * rise
            return knot + (part + (1 << bits - 9) >> bits - 8)
        return int(self.fields(Memory.TABLE, stored % words, codes, bits)[stored // words])

    def drain(self, c: Compute, group: int, outs: np.ndarray, sums: np.ndarray) -> None:
        config = self.config
        lanes, bits = config.post_lanes, config.act_bits
        kinds = param_fields(config)
        size = sum(kinds.values())
        for chunk in range(c.chunks):
            number = group * c.chunks + chunk
            word = self.memories[Memory.PARAM][c.param_base + (number if c.param_step else 0)]
            unpacked = np.unpackbits(word, bitorder="little")
            place = c.sub + number
            plane, sub = divmod(place, config.lanes // lanes)
            for lane in range(lanes):
                own = unpacked[lane * size : (lane + 1) * size].tolist()
                params, at = {}, 0
                for name, width in kinds.items():
                    params[name] = sum(bit << i for i, bit in enumerate(own[at : at + width]))
                    at += width
                addend = _signed(params["addend"], kinds["addend"])
                scale = params.get("multiplier", 1 << PRE_SHIFT)
                channel = chunk * lanes + lane
                if channel >= sums.shape[1]:
                    continue
                for position, out in enumerate(outs.tolist()):
                    code = (int(sums[position, channel]) * scale + addend) >> params["shift"]
                    code = min(max(code, _signed(c.low)), _signed(c.high))
                    code = self.looked_up(code, c.table >> 1) if c.table else code
                    target = (out + plane * _signed(c.out_plane)) % config.act_depth
                    self.write(target, sub * lanes + lane, code & ((1 << bits) - 1))

    def write(self, word: int, lane: int, code: int) -> None:
        bits = self.config.act_bits
        stored = int.from_bytes(self.memories[Memory.ACT][word].tobytes(), "little")
        stored &= ~(((1 << bits) - 1) << lane * bits)
        stored |= code << lane * bits
        content = stored.to_bytes(self.memories[Memory.ACT].shape[1], "little")
        self.memories[Memory.ACT][word] = np.frombuffer(content, np.uint8)
