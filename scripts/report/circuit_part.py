"""Sections on circuits."""

from dataclasses import asdict

from hw.spatial.build import SpatialBuild
from nbqnn_train.pages import Section, html_table
from sim.results import CircuitSimulationResult

__all__ = ["circuit_section", "circuit_simulation_section"]


def circuit_section(name: str, described: SpatialBuild) -> Section:
    """The circuit that ``generate --spatial`` wrote."""
    rows = [{"field": field, "value": value} for field, value in asdict(described).items()]
    return Section("Circuit", [html_table(rows, {"field": "", "value": ""})], name)


def circuit_simulation_section(name: str, result: CircuitSimulationResult) -> Section:
    """Whether the circuit's codes are the interpreter's, and how fast it is."""
    cycles = max(result.cycles_per_image, 1)
    text = (
        f"<p>{result.images} images at full rate and with stalls, {result.mismatches} unlike the "
        f"interpreter; {result.cycles_per_image:,.0f} cycles per image, latency {result.latency} "
        f"cycles; {1e6 * result.clock_mhz / cycles:,.0f} images a second at {result.clock_mhz} MHz "
        f"(estimated to reach {result.estimated_mhz:,.0f} MHz).</p>"
    )
    return Section("Simulation of the circuit", [text], name)
