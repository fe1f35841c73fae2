"""nbqnn_train.graph.results: there and back, what is left out, what is refused."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from nbqnn_train.graph.results import Evaluation, Result, ResultError, named


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Found(Result):
    kind: ClassVar[str] = "found"
    derived: ClassVar[tuple[str, ...]] = ("count",)

    parts: tuple[Part, ...]
    sizes: dict[str, int]
    counts: dict[int, int]
    colour: str = named("class")
    first: Part | None
    note: str | None = None

    @property
    def count(self) -> int:
        return len(self.parts)


FOUND = Found(
    parts=(Part(name="a", share=1.0), Part(name="b", share=0.5)),
    sizes={"x": 3},
    counts={-2: 5},
    colour="red",
    first=None,
)


def test_there_and_back():
    written = json.loads(json.dumps(FOUND.to_json()))
    assert written == {
        "kind": "found",
        "parts": [{"name": "a", "share": 1.0}, {"name": "b", "share": 0.5}],
        "sizes": {"x": 3},
        "counts": {"-2": 5},
        "class": "red",
        "first": None,
        "count": 2,
    }
    assert Found.from_json(written) == FOUND
    # Of another version: fields that are new, whole numbers where fractions may be.
    written["parts"][0] |= {"share": 1, "colour": "red"}
    assert Found.from_json(written) == FOUND
    noted = replace(FOUND, note="so", first=FOUND.parts[0])
    assert Found.from_json(noted.to_json()) == noted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "lost"}, "result must be of kind 'found', not 'lost'"),
        ({"parts": 3}, "result.parts must be a list, not '3'"),
        ({"parts": [{"name": "a"}]}, r"result.parts\[0\]: field 'share' is missing"),
        ({"parts": [{"name": 1, "share": 0.1}]}, r"result.parts\[0\].name must be of type str, "),
        ({"sizes": {"x": "many"}}, "result.sizes.x must be of type int, not 'many'"),
        ({"sizes": {"x": True}}, "result.sizes.x must be of type int, not 'True'"),
        ({"counts": {"x": 3}}, "result.counts: key must be a whole number, not 'x'"),
        ({"first": []}, r"result.first must be a table, not '\[\]'"),
    ],
)
def test_refused(change, message):
    with pytest.raises(ResultError, match=f"^{message}"):
        Found.from_json(FOUND.to_json() | change)


@pytest.mark.parametrize("content", [None, [], "found", 1])
def test_what_is_no_table(content):
    with pytest.raises(ResultError, match=r"^result must be of kind 'found', not None$"):
        Found.from_json(content)


def test_a_field_is_read_as_its_json_has_it():
    result = Evaluation(accuracy=0.5, images=4)
    assert (result["kind"], result["accuracy"], result["images"]) == ("evaluate", 0.5, 4)
    assert "accuracy" in result
    assert "nothing" not in result
    with pytest.raises(KeyError):
        result["nothing"]


def test_files(tmp_path):
    FOUND.write(tmp_path / "found.json")
    assert Found.read(tmp_path / "found.json") == FOUND
    (tmp_path / "half.json").write_text('{"kind": ')
    with pytest.raises(ResultError, match=r"^result '.*half.json' cannot be read: it is no JSON$"):
        Found.read(tmp_path / "half.json")
    with pytest.raises(ResultError, match=r"^result '.*gone.json' cannot be read: No such file"):
        Found.read(tmp_path / "gone.json")
