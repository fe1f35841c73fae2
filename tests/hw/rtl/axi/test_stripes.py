# amaranth: UnusedElaboratable=no
"""hw.rtl.axi.stripes: refusals and names; tests/hw/test_axi_ports has the rest."""

import pytest

from hw.rtl.axi.stripes import StripedReader, StripedWriter

OPTIONS = {
    "ports": 2,
    "address_width": 32,
    "data_width": 64,
    "outstanding": 4,
    "length_width": 16,
}


@pytest.mark.parametrize("component", [StripedReader, StripedWriter])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "Ports must be 1 or more, not 0"),
        ("2", TypeError, "Ports must be an integer, not '2'"),
    ],
)
def test_refused_ports(component, value, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        component(**OPTIONS | {"ports": value})


@pytest.mark.parametrize("component", [StripedReader, StripedWriter])
def test_module_names_differ(component):
    names = {
        component(**OPTIONS | {option: value}).module_name
        for option, value in (
            ("ports", 2), ("ports", 4), ("address_width", 40), ("data_width", 128),
            ("outstanding", 8), ("length_width", 8), ("burst_beats", 4),
        )
    }  # fmt: skip
    assert len(names) == 7
