"""Names of modules as people read them."""

__all__ = ["readable"]


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
