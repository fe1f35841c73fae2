"""Names of modules, boards and tools as people read them."""

__all__ = ["board_title", "component", "readable", "tool_title"]

_TOOLS = {"vivado": "Vivado", "yosys": "Yosys"}

#: Names of instances that are short for something.
_INSTANCES = {
    "": "accelerator",
    "act_memory": "activation memory",
    "compute": "compute engine",
    "drain": "requantizers, drain",
    "fetch": "command fetch",
    "load": "load engine",
    "maximum": "maxima",
    "param_memory": "parameter memory",
    "reader": "AXI reader",
    "store": "store engine",
    "sums": "sums of maps",
    "walker": "position walker",
    "writer": "AXI writer",
}


def board_title(name: str) -> str:
    """A board as its maker writes it: "zcu102" is the ZCU102."""
    return "Ultra96" if name == "ultra96" else name.upper()


def tool_title(name: str) -> str:
    """A tool as its authors write it."""
    return _TOOLS.get(name, name)


def component(path: str) -> str:
    """An instance by its path: "core.act_memory" is the activation memory."""
    name = path.rpartition(".")[2]
    return _INSTANCES.get(name, name.replace("_", " "))


def readable(name: str) -> str:
    """A module's name without its parameters: "requantizer × 16"."""
    module, times, count = name.removeprefix("nbqnn_").partition(" × ")
    words = []
    for word in module.split("_"):
        if any(letter.isdigit() for letter in word) or word in ("shift", "multiply", "scale"):
            break
        words.append(word)
    # The text before a number is the name of a parameter.
    if len(words) > 1 and len(words) < len(module.split("_")) and words[-1] in ("bits", "width"):
        words = words[:-2]
    return " ".join(words) + times + count
