"""The activation memory: interleaved banks of vectors, read by the array, written by the drain."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.timing import ACTIVATION_READ_LATENCY
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.delay import delayed
from hw.rtl.cells.one_hot import number_of
from hw.rtl.cells.union import Union
from hw.rtl.component import Component

__all__ = ["ActivationBank", "ActivationMemory", "activation_address_bits"]

#: Positions that a table chooses from.
_CHOICE = 4


def activation_address_bits(config: AcceleratorConfig) -> int:
    """Bits of the address of a word; the low ones and the next choose the bank."""
    return (config.act_depth - 1).bit_length()


class ActivationBank(Component):
    """One bank: one read and one write of any chunks of a word per cycle, reads take two cycles."""

    def __init__(self, *, chunk_bits: int, chunks: int, depth: int):
        self.chunk_bits = chunk_bits
        self.chunks = chunks
        self.depth = depth
        width = chunk_bits * chunks
        super().__init__({
            "read_address": In(range(depth)),
            "read_data": Out(width),
            "write_address": In(range(depth)),
            "write_data": In(width),
            "write_enable": In(chunks),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        width = self.chunk_bits * self.chunks
        m.submodules.memory = memory = Memory(shape=width, depth=self.depth, init=[])
        write, read = memory.write_port(granularity=self.chunk_bits), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(self.read_address),
            read.en.eq(1),
        ]
        m.d.data += self.read_data.eq(read.data)
        return m


class ActivationMemory(Component):
    """``act_depth`` words of ``lanes`` activations, word w in bank ``bank_of(w, banks)``.

    *Compute reads*: up to ``pixels`` words a cycle, which the compiler arranges to be in different
    banks (of two that are not, the lower pixel gets its word); a padded pixel gets the padding code
    in every lane instead, 0 or the lowest code. *Transfer reads*: one word a cycle from a bank that
    compute does not use (``store_ready``). *Drain writes*: one chunk of ``post_lanes`` activations
    a cycle in each of ``post_positions`` words, always taken; the compiler arranges them to be in
    different banks. *Transfer writes*: one word a cycle, unless the drain writes to the same bank
    (``load_ready``), which it announces a cycle ahead.
    Reads take ``self.latency`` cycles, writes are visible to reads that start three cycles later,
    a drain's to those four cycles after its address.

    Members
    -------
    read_valid : ``In(pixels)``, read_address : ``In(pixels * address bits)``
    read_padded : ``In(pixels)``, a cycle later
    pad_lowest : ``In(1)``, with the addresses
    read_data : ``Out(pixels * lanes * act_bits)``, ``latency`` cycles later
    store_valid : ``In(1)``, ``store_address`` : ``In``, ``store_ready`` : ``Out(1)``
    store_data : ``Out(lanes * act_bits)``, ``latency`` cycles after a cycle with valid and ready
    drain_valid : ``In(post_positions)``, ``drain_address`` : ``In``, as many beside each other;
        ``drain_sub`` : ``In``, the same place in all words
    drain_data : ``In``, as many chunks beside each other, two cycles after their address
    load_valid : ``In(1)``, ``load_address``, ``load_data`` : ``In``, ``load_ready`` : ``Out(1)``
    """

    #: Bank multiplexer, block RAM, its output register, pixel multiplexer.
    latency = ACTIVATION_READ_LATENCY

    config_fields = ("lanes", "pixels", "post_lanes", "post_positions", "act_bits", "act_depth")

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        bits = activation_address_bits(config)
        chunks = config.lanes // config.post_lanes
        super().__init__({
            "read_valid": In(config.pixels),
            "read_padded": In(config.pixels),
            "read_address": In(config.pixels * bits),
            "pad_lowest": In(1),
            "read_data": Out(config.pixels * config.act_word_bits),
            "store_valid": In(1),
            "store_address": In(bits),
            "store_ready": Out(1),
            "store_data": Out(config.act_word_bits),
            "drain_valid": In(config.post_positions),
            "drain_address": In(config.post_positions * bits),
            "drain_sub": In(range(max(2, chunks))),
            "drain_data": In(config.post_positions * config.post_lanes * config.act_bits),
            "load_valid": In(1),
            "load_address": In(bits),
            "load_data": In(config.act_word_bits),
            "load_ready": Out(1),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        c = self.config
        banks, pixels, word = c.banks, c.pixels, c.act_word_bits
        bits = activation_address_bits(c)
        bank_bits = (banks - 1).bit_length()
        chunks = c.lanes // c.post_lanes

        def bank_of(address):
            """As :func:`hw.contract.banks.bank_of`."""
            return Cat(address[0] ^ address[bank_bits], address[1:bank_bits])

        def row_of(address):
            return address[bank_bits:]

        drains = [
            (self.drain_valid[i], self.drain_address.word_select(i, bits))
            for i in range(c.post_positions)
        ]
        # Where the drain writes is known before a transfer asks, which is late in a cycle.
        drained = Signal(banks)
        m.d.sync += drained.eq(
            Cat(
                Cat(valid & (bank_of(address) == b) for valid, address in drains).any()
                for b in range(banks)
            )
        )
        read_address = [self.read_address.word_select(p, bits) for p in range(pixels)]
        # A padded pixel still occupies its bank: which pixels are padded is known late.
        wants = [
            Cat(self.read_valid[p] & (bank_of(read_address[p]) == b) for b in range(banks))
            for p in range(pixels)
        ]
        m.d.comb += [
            self.store_ready.eq(
                ~Cat(
                    self.read_valid[p] & (bank_of(address) == bank_of(self.store_address))
                    for p, address in enumerate(read_address)
                ).any()
            ),
            self.load_ready.eq(~drained.bit_select(bank_of(self.load_address), 1)),
        ]

        writes = self._writes(m, drains, drained, bank_of, row_of)
        outputs = []
        for b, (enable, write_row, write_data) in enumerate(writes):
            bank = ActivationBank(
                chunk_bits=c.post_lanes * c.act_bits, chunks=chunks, depth=c.act_depth // banks
            )
            m.submodules[f"bank_{b}"] = bank
            row = row_of(self.store_address)
            for p in reversed(range(pixels)):
                row = Mux(wants[p][b], row_of(read_address[p]), row)
            m.d.data += [
                bank.read_address.eq(row),
                bank.write_address.eq(write_row),
                bank.write_data.eq(write_data),
            ]
            m.d.sync += bank.write_enable.eq(enable)
            outputs.append(bank.read_data)

        def chosen(name: str, bank):
            """A bank's word."""
            choice = Choice(ways=banks, width=word)
            m.submodules[name] = choice
            m.d.comb += [choice.words.eq(Cat(*outputs)), choice.select.eq(bank)]
            return choice.chosen

        wait = self.latency - 1

        def late(name: str, value, cycles: int = wait):
            return delayed(m, (name,), (value,), cycles, domain="data")[0]

        lowest = late("pad_lowest", self.pad_lowest)
        for p in range(pixels):
            bank = late(f"bank_of_{p}", bank_of(read_address[p]))
            padded = late(f"padded_{p}", self.read_padded[p], wait - 1)
            # All bits but the sign are zero in padding: cleared by the registers' resets, which
            # take no tables.
            sign = Signal(c.lanes, name=f"sign_{p}")
            code = Signal(c.lanes * (c.act_bits - 1), name=f"code_{p}")
            read = chosen(f"choice_{p}", bank)
            word_lanes = [read.word_select(lane, c.act_bits) for lane in range(c.lanes)]
            sign_choice = Choice(ways=2, width=c.lanes)
            m.submodules[f"sign_choice_{p}"] = sign_choice
            m.d.comb += [
                sign_choice.words.eq(
                    Cat((lane[-1] for lane in word_lanes), lowest.replicate(c.lanes))
                ),
                sign_choice.select.eq(padded),
            ]
            m.d.data += [
                sign.eq(sign_choice.chosen),
                code.eq(Cat(lane[:-1] for lane in word_lanes)),
            ]
            with m.If(padded):
                m.d.data += code.eq(0)
            lanes = (
                Cat(code.word_select(lane, c.act_bits - 1), sign[lane]) for lane in range(c.lanes)
            )
            m.d.comb += self.read_data.word_select(p, word).eq(Cat(*lanes))
        bank = late("store_bank", bank_of(self.store_address))
        m.d.data += self.store_data.eq(chosen("choice_store", bank))
        return m

    def _writes(self, m: Module, drains, drained, bank_of, row_of) -> list[tuple]:
        """Enables, row and word for each bank, two cycles after a transfer's address.

        ``drained`` are the banks that the drain's addresses of a cycle ago are in.

        Rows go the same way as data: a drain's beside its chunk, a transfer's beside its word.
        First of four positions one is chosen for each bank, by registers that the addresses have
        set; then they and the transfer are combined, all but one of which are zero.
        """
        c = self.config
        chunks, chunk_bits = c.lanes // c.post_lanes, c.post_lanes * c.act_bits
        (row,) = delayed(
            m, ("drain_row",), (Cat(row_of(address) for _, address in drains),), 2, domain="data"
        )
        row_bits = len(row) // len(drains)
        words = [
            Cat(self.drain_data.word_select(i, chunk_bits), row.word_select(i, row_bits))
            for i in range(len(drains))
        ]
        valid, bank, sub = delayed(
            m,
            ("drain_valid", "drain_bank", "drain_sub"),
            (
                Cat(valid for valid, _ in drains),
                Cat(bank_of(address) for _, address in drains),
                self.drain_sub,
            ),
            1,
        )
        bank_bits = len(bank) // len(drains)
        names = ("load_row", "load_word")
        load_row, load_word = delayed(
            m, names, (row_of(self.load_address), self.load_data), 2, domain="data"
        )
        drain_enable = Signal(chunks)
        m.d.comb += drain_enable.eq(1 << sub if chunks > 1 else 1)
        writes = []
        for b in range(c.banks):
            here = [valid[i] & (bank.word_select(i, bank_bits) == b) for i in range(len(drains))]
            load_here = self.load_valid & (bank_of(self.load_address) == b) & ~drained[b]
            enable, loads = delayed(
                m,
                (f"enable_{b}", f"loads_{b}"),
                (Mux(drained[b], drain_enable, load_here.replicate(chunks)), load_here),
                2,
            )
            terms = []
            for first in range(0, len(drains), _CHOICE):
                some = here[first : first + _CHOICE]
                chosen = words[first]
                if len(some) > 1:
                    number = number_of(some)
                    select = Signal(len(number), name=f"select_{b}_{first}")
                    m.d.data += select.eq(number)
                    chosen = Array(words[first : first + _CHOICE])[select]
                clear = Signal(name=f"clear_{b}_{first}")
                term = Signal(len(chosen), name=f"drained_{b}_{first}")
                m.d.data += [
                    clear.eq(~(drained[b] if len(drains) <= _CHOICE else Cat(*some).any())),
                    term.eq(chosen),
                ]
                with m.If(clear):
                    m.d.data += term.eq(0)
                terms.append(term)
            parts = {}
            for name, low, bits, part in (
                ("data", 0, chunk_bits, load_word),
                ("row", chunk_bits, row_bits, load_row),
            ):
                union = Union(terms=len(terms), count=len(part) // bits, width=bits)
                m.submodules[f"{name}_{b}"] = union
                m.d.comb += [
                    union.common.eq(Cat(term[low : low + bits] for term in terms)),
                    union.parts.eq(part),
                    union.enable.eq(loads),
                ]
                parts[name] = union.combined
            writes.append((enable, parts["row"], parts["data"]))
        return writes
