"""hw.contract.isa: descriptors there and back, and what does not fit in one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.contract.isa import (
    BODIES,
    CHECKSUM,
    DESCRIPTOR_BYTES,
    HEAD,
    Compute,
    End,
    Load,
    Opcode,
    Store,
    pack,
    read_commands,
    unpack,
)
from hw.rtl.command_layouts import body_layout, head_layout

KINDS = {Opcode.END: End, Opcode.LOAD: Load, Opcode.COMPUTE: Compute, Opcode.STORE: Store}


@st.composite
def commands(draw):
    """A command with all fields drawn, negative numbers included, and their unsigned values."""
    kind = draw(st.sampled_from(list(KINDS.values())))
    command, expected = kind(), kind()
    for name, bits in (HEAD | BODIES[kind.opcode]).items():
        if name == "opcode":
            continue
        value = draw(st.integers(-(1 << bits - 1), (1 << bits) - 1))
        setattr(command, name, value)
        setattr(expected, name, value % (1 << bits))
    return command, expected


@given(drawn=commands())
def test_there_and_back(drawn):
    command, expected = drawn
    descriptor = pack(command)
    assert len(descriptor) == DESCRIPTOR_BYTES
    assert unpack(descriptor) == expected
    assert read_commands(2 * descriptor) == [expected, expected]
    assert sum(struct.unpack("<32I", descriptor)) % (1 << 32) == CHECKSUM


def test_first_bytes():
    """The packing is fixed: programs on disk hold it."""
    load = Load(layer=0x1234, wait_load=1, wait_store=0xABCD, offset=0x89ABCDEF, region=3, base=-1)
    expected = "02 00 3412 0100 0000 cdab 0000 efcdab89 03 00 ffff 0000"
    assert pack(load).hex().startswith(expected.replace(" ", ""))
    assert pack(load).endswith(struct.pack("<I", unpack_last(load)))


def unpack_last(command):
    return (CHECKSUM - sum(struct.unpack("<31I", pack(command)[:-4]))) % (1 << 32)


@pytest.mark.parametrize("kind", KINDS.values())
def test_values_that_do_not_fit(kind):
    for name, bits in (HEAD | BODIES[kind.opcode]).items():
        if name == "opcode":
            continue
        for value in (1 << bits, -(1 << bits - 1) - 1):
            command = kind()
            setattr(command, name, value)
            with pytest.raises(
                ValueError,
                match=f"^Field {name} of {kind.__name__} must fit {bits} bits, not be {value}$",
            ):
                pack(command)


@pytest.mark.parametrize("opcode", list(Opcode))
def test_layouts_are_the_tables(opcode):
    """Hardware and packing see each field at the same bits, and all fit beside the checksum."""
    position = head_layout().size
    assert position == sum(HEAD.values())
    assert position + body_layout(opcode).size <= 8 * (DESCRIPTOR_BYTES - 4)
    for name, bits in BODIES[opcode].items():
        field = body_layout(opcode)[name]
        assert (head_layout().size + field.offset, field.width) == (position, bits)
        position += bits


def test_unknown_field():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Load(colour=1)


def test_unknown_opcode():
    with pytest.raises(ValueError, match="0 is not a valid Opcode"):
        unpack(bytes(DESCRIPTOR_BYTES))
