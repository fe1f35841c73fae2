"""The activation memory: words in interleaved banks, for the array, the drain and transfers."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.config import AcceleratorConfig
from hw.contract.structure import DRAIN_CHOICE, memory_parts
from hw.contract.timing import ACTIVATION_READ_LATENCY
from hw.rtl.cells.choice import Choice
from hw.rtl.cells.delay import delayed
from hw.rtl.cells.one_hot import number_of
from hw.rtl.cells.union import Union
from hw.rtl.component import Component
from hw.rtl.memory.ports import (
    ActDrainSignature,
    ActLoadSignature,
    ActReadSignature,
    ActStoreSignature,
    bank_number,
    word_layout,
)

__all__ = ["ActivationBank", "ActivationMemory"]


class ActivationBank(Component):
    """One bank: a read, and a write of some chunks of a word per cycle. Reads take two cycles.

    A chunk is in one memory, or in two where that takes fewer block memories.
    """

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
        words = data.ArrayLayout(self.chunk_bits, self.chunks)
        written, read_word = (Signal(words, name=name) for name in ("written", "read_word"))
        m.d.comb += Value.cast(written).eq(self.write_data)
        low = 0
        for number, bits in enumerate(memory_parts(self.chunk_bits, self.depth)):
            memory = Memory(shape=bits * self.chunks, depth=self.depth, init=[])
            m.submodules[f"memory_{number}" if number else "memory"] = memory
            write, read = memory.write_port(granularity=bits), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.write_address),
                write.data.eq(Cat(written[i][low:][:bits] for i in range(self.chunks))),
                write.en.eq(self.write_enable),
                read.addr.eq(self.read_address),
                read.en.eq(1),
            ]
            for chunk in range(self.chunks):
                part = read.data[chunk * bits :][:bits]
                m.d.comb += read_word[chunk][low:][:bits].eq(part)
            low += bits
        m.d.data += self.read_data.eq(read_word)
        return m


class ActivationMemory(Component):
    """``act_depth`` words of ``lanes`` activations, word w in bank ``bank_of(w, banks)``.

    *The array* reads up to ``config.read_words`` words per cycle, one for each pixel and perhaps
    neighbours. The compiler puts them into different banks; if two are in one bank, the lower pixel
    gets its word. A padded pixel gets the padding code in every lane.

    *Stores* read one word per cycle, from a bank that the array does not read in that cycle.

    *The drain* writes a chunk into each of ``post_positions`` words per cycle. It never waits; the
    compiler puts the words into different banks.

    *Loads* write one word per cycle, into a bank that the drain does not write in that cycle. The
    drain announces its banks one cycle ahead.

    Reads take ``self.latency`` cycles. A load's word can be read three cycles after its address, a
    drain's four.

    Members
    -------
    read : ``In(ActReadSignature(config))``
    read_data : ``Out(data.ArrayLayout(word_layout(config), read_words))``, ``latency`` cycles later
    store : ``In(ActStoreSignature(config))``
    drain : ``In(ActDrainSignature(config))``
    load : ``In(ActLoadSignature(config))``
    """

    #: Bank multiplexer, block RAM, its output register, pixel multiplexer.
    latency = ACTIVATION_READ_LATENCY

    config_fields = (
        *("lanes", "pixels", "post_lanes", "post_positions", "act_bits", "act_depth"),
        "taps_name",
    )

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "read": In(ActReadSignature(config)),
            "read_data": Out(data.ArrayLayout(word_layout(config), config.read_words)),
            "store": In(ActStoreSignature(config)),
            "drain": In(ActDrainSignature(config)),
            "load": In(ActLoadSignature(config)),
        })  # fmt: skip

    def build(self) -> Module:
        m = Module()
        drained = self._drained(m)
        self._answer_transfers(m, drained)
        words = self._banks(m, self._writes(m, drained))
        lowest = self._late(m, "pad_lowest", self.read.pad_lowest)
        for pixel in range(self.config.read_words):
            self._read_pixel(m, pixel, words, lowest)
        bank = self._late(m, "store_bank", self._bank_of(self.store.address))
        m.d.data += Value.cast(self.store.data).eq(self._chosen(m, "store", words, bank))
        return m

    def _bank_of(self, address: Value) -> Value:
        return bank_number(self.config, address)

    def _row_of(self, address: Value) -> Value:
        return address[(self.config.banks - 1).bit_length() :]

    def _late(self, m: Module, name: str, value: Value, less: int = 0) -> Value:
        """The value in the cycle in which a bank's word is chosen, or ``less`` cycles earlier."""
        return delayed(m, (name,), (value,), self.latency - 1 - less, domain="data")[0]

    def _drained(self, m: Module) -> Signal:
        """A bit for each bank: the drain's addresses of one cycle ago are in it.

        It comes from a register because a transfer's request is late in the cycle.
        """
        drained = Signal(self.config.banks)
        pairs = list(zip(self.drain.valid, self._drain_addresses(), strict=True))
        m.d.sync += drained.eq(
            Cat(
                Cat(valid & (self._bank_of(address) == bank) for valid, address in pairs).any()
                for bank in range(self.config.banks)
            )
        )
        return drained

    def _drain_addresses(self) -> list[Value]:
        return [self.drain.address[i] for i in range(self.config.post_positions)]

    def _read_addresses(self) -> list[Value]:
        return [self.read.address[pixel] for pixel in range(self.config.read_words)]

    def _answer_transfers(self, m: Module, drained: Signal) -> None:
        bank = self._bank_of(self.store.address)
        m.d.comb += [
            self.store.ready.eq(
                ~Cat(
                    self.read.valid[pixel] & (self._bank_of(address) == bank)
                    for pixel, address in enumerate(self._read_addresses())
                ).any()
            ),
            self.load.ready.eq(~drained.bit_select(self.load.bank, 1)),
        ]

    def _banks(self, m: Module, writes: list[tuple[Value, Value, Value]]) -> list[Value]:
        """Adds the banks with these writes; returns the words that they read."""
        c = self.config
        chunk_bits, chunks = c.post_lanes * c.act_bits, c.lanes // c.post_lanes
        words = []
        for number, (enable, write_row, write_data) in enumerate(writes):
            bank = ActivationBank(
                chunk_bits=chunk_bits, chunks=chunks, depth=c.act_depth // c.banks
            )
            m.submodules[f"bank_{number}"] = bank
            row = self._row_of(self.store.address)
            # A padded pixel occupies its bank, too: which pixels are padded is known too late.
            for pixel, address in reversed(list(enumerate(self._read_addresses()))):
                wants = self.read.valid[pixel] & (self._bank_of(address) == number)
                row = Mux(wants, self._row_of(address), row)
            m.d.data += [
                bank.read_address.eq(row),
                bank.write_address.eq(write_row),
                bank.write_data.eq(write_data),
            ]
            m.d.sync += bank.write_enable.eq(enable)
            words.append(bank.read_data)
        return words

    def _chosen(self, m: Module, name: str, words: list[Value], bank: Value) -> Value:
        """The word of the bank with number ``bank``."""
        choice = Choice(ways=len(words), width=self.config.act_word_bits)
        m.submodules[f"choice_{name}"] = choice
        m.d.comb += [
            *(way.eq(word) for way, word in zip(choice.words, words, strict=True)),
            choice.select.eq(bank),
        ]
        return choice.chosen

    def _read_pixel(self, m: Module, pixel: int, words: list[Value], lowest: Value) -> None:
        """Reads a pixel's word, or its padding; without a read the word before stays.

        In padding all bits but the sign are zero. The registers' resets clear them, which takes no
        tables.
        """
        c = self.config
        bank = self._late(m, f"bank_of_{pixel}", self._bank_of(self.read.address[pixel]))
        (asked,) = delayed(m, (f"asked_{pixel}",), (self.read.valid[pixel],), 1)
        (read,) = delayed(m, (f"read_{pixel}",), (asked,), self.latency - 2, far=True)
        padded = self._late(m, f"padded_{pixel}", self.read.padded[pixel] & asked, less=1)
        word = data.View(word_layout(c), self._chosen(m, f"{pixel}", words, bank))
        lanes = [word[lane] for lane in range(c.lanes)]

        signs = Choice(ways=2, width=c.lanes)
        m.submodules[f"sign_choice_{pixel}"] = signs
        m.d.comb += [
            signs.words[0].eq(Cat(lane[-1] for lane in lanes)),
            signs.words[1].eq(lowest.replicate(c.lanes)),
            signs.select.eq(padded),
        ]
        sign = Signal(c.lanes, name=f"sign_{pixel}")
        code = Signal(data.ArrayLayout(c.act_bits - 1, c.lanes), name=f"code_{pixel}")
        with m.If(read):
            m.d.data += [
                sign.eq(signs.chosen),
                Value.cast(code).eq(Cat(lane[:-1] for lane in lanes)),
            ]
        with m.If(padded):
            m.d.data += Value.cast(code).eq(0)
        for lane in range(c.lanes):
            m.d.comb += self.read_data[pixel][lane].eq(Cat(code[lane], sign[lane]))

    def _writes(self, m: Module, drained: Signal) -> list[tuple[Value, Value, Value]]:
        """Enables, row and word for each bank, two cycles after a transfer's address.

        Rows travel beside the data. For each bank, registers that the addresses have set choose one
        of up to ``DRAIN_CHOICE`` positions of the drain. Such choices and the transfer are then
        combined by OR; all but one of them are zero.
        """
        c = self.config
        chunks = c.lanes // c.post_lanes
        names = [f"drain_row_{i}" for i in range(c.post_positions)]
        addresses = self._drain_addresses()
        rows = delayed(m, names, [self._row_of(a) for a in addresses], 2, domain="data")
        words = [Cat(self.drain.data[i], row) for i, row in enumerate(rows)]
        names = [f"drain_bank_{i}" for i in range(c.post_positions)]
        banks = delayed(m, names, [self._bank_of(a) for a in addresses], 1, domain="data")
        valid, sub = delayed(m, ("drain_valid", "drain_sub"), (self.drain.valid, self.drain.sub), 1)
        names = ("load_row", "load_word")
        load = (self._row_of(self.load.address), Value.cast(self.load.data))
        load_row, load_word = delayed(m, names, load, 2, domain="data")
        drain_enable = Signal(chunks)
        m.d.comb += drain_enable.eq(1 << sub if chunks > 1 else 1)
        writes = []
        for number in range(c.banks):
            here = [valid[i] & (bank == number) for i, bank in enumerate(banks)]
            loaded = self.load.valid & (self.load.bank == number)
            loaded = loaded & ~drained[number]
            enables = Mux(drained[number], drain_enable, loaded.replicate(chunks))
            names = (f"enable_{number}", f"loads_{number}")
            enable, loads = delayed(m, names, (enables, loaded), 2)
            terms = self._drain_terms(m, number, here, words, drained[number])
            row, word = self._combined(m, number, terms, (load_row, load_word), loads)
            writes.append((enable, row, word))
        return writes

    def _drain_terms(
        self, m: Module, number: int, here: list[Value], words: list[Value], drained: Value
    ) -> list[Value]:
        """Chunks and rows of the drain for a bank. At most one of them is not zero."""
        terms = []
        for first in range(0, len(here), DRAIN_CHOICE):
            some = here[first : first + DRAIN_CHOICE]
            chosen = words[first]
            if len(some) > 1:
                which = number_of(some)
                select = Signal(len(which), name=f"select_{number}_{first}")
                m.d.data += select.eq(which)
                chosen = Array(words[first : first + DRAIN_CHOICE])[select]
            clear = Signal(name=f"clear_{number}_{first}")
            term = Signal(len(chosen), name=f"drained_{number}_{first}")
            m.d.data += [
                clear.eq(~(drained if len(here) <= DRAIN_CHOICE else Cat(*some).any())),
                term.eq(chosen),
            ]
            with m.If(clear):
                m.d.data += term.eq(0)
            terms.append(term)
        return terms

    def _combined(
        self, m: Module, number: int, terms: list[Value], load: tuple[Value, Value], loads: Value
    ) -> tuple[Value, Value]:
        """Row and word that a bank is written with: the OR of the drain's terms and the load's."""
        chunk_bits = self.config.post_lanes * self.config.act_bits
        load_row, load_word = load
        combined = []
        for name, low, width, parts in (
            ("row", chunk_bits, len(load_row), load_row),
            ("data", 0, chunk_bits, load_word),
        ):
            union = Union(terms=len(terms), count=len(parts) // width, width=width)
            m.submodules[f"{name}_{number}"] = union
            m.d.comb += [
                Value.cast(union.common).eq(Cat(term[low : low + width] for term in terms)),
                Value.cast(union.parts).eq(parts),
                union.enable.eq(loads),
            ]
            combined.append(Value.cast(union.combined))
        return combined[0], combined[1]
