"""scripts.mutation: every kind of change, a copy and not the checkout, a journal that goes on."""

import ast
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from nbqnn_train.graph.errors import NbqnnError
from scripts.mutation import run as mutation
from scripts.mutation.changes import changes
from scripts.mutation.run import choose, read_journal, run_mutants, sources
from scripts.mutation.tests import find_tests

ROOT = Path(__file__).parents[2]
SAMPLE = '''"""Module ü."""
from x import y
WIDE = {"a": 3}

@dataclass(frozen=True)
class C:
    ends = dict(zip(a, b, strict=True))

def f(a: int = 2) -> "int":
    """Doc."""
    if a > 7:
        raise ValueError(f"not {a + 1}, " + "above 7")
    m.d.sync += [a.eq(1), b.eq(-a)]
    with m.If(a & b):
        m.d.comb += Signal(4, init=5)
    return a[1:] and not b
'''


def test_every_kind_of_change():
    found = {(one.kind, one.before, one.after) for one in changes(SAMPLE)}
    for change in (
        ("constant", "3", "4"),
        ("constant", "2", "1"),
        ("operator", "a > 7", "(a >= 7)"),
        ("condition", "a > 7", "(not (a > 7))"),
        ("statement", "[a.eq(1), b.eq(-a)]", "[b.eq(-a)]"),
        ("operator", "-a", "(a)"),
        ("condition", "a & b", "~(a & b).any()"),
        ("operator", "a & b", "(a | b)"),
        ("reset", "Signal(4, init=5)", "Signal(4)"),
        ("slice", "a[1:]", "a[1 + 1:]"),
        ("operator", "a[1:] and not b", "(a[1:] or not b)"),
        ("operator", "not b", "(b)"),
    ):
        assert change in found
    assert {kind for kind, _, _ in found} == {
        "constant", "operator", "condition", "statement", "reset", "slice"
    }  # fmt: skip
    for one in changes(SAMPLE):
        changed = one.apply(SAMPLE)
        ast.parse(changed)
        assert changed != SAMPLE
        # Messages, imports, annotations and checks are as they were.
        for kept in (
            'f"not {a + 1}, " + "above 7"',
            "from x import y",
            "a: int",
            "frozen=True",
            "strict=True",
            '"""Module ü."""',
        ):
            assert kept in changed


def test_ports_become_narrower_only():
    text = "super().__init__({'a': In(3), 'b': Out(range(9)), 'c': In(f(2))})\n"
    found = {(one.before, one.after) for one in changes(text) if one.kind == "constant"}
    assert found == {("3", "2"), ("9", "10"), ("9", "8"), ("2", "3"), ("2", "1")}


def test_our_own_sources_can_be_changed_anywhere():
    texts = sources(ROOT)
    assert {"hw/rtl/core.py", "hw/compiler/schedule.py"} <= texts.keys()
    mutants = choose(texts, 200, 5)
    assert mutants == choose(texts, 200, 5) != choose(texts, 200, 6)
    assert len({(one.file, one.change) for one in mutants}) == 200
    for one in mutants:
        ast.parse(one.change.apply(texts[one.file]))
        for test in (*find_tests(one.file), *find_tests(one.file, same_programs=True)):
            file, _, name = test.partition("::")
            assert name in (ROOT / file).read_text() if name else (ROOT / file).exists(), test
    with pytest.raises(NbqnnError, match=r"^sources must begin with hw/rtl or .*, not with 'sim'$"):
        sources(ROOT, "sim")
    with pytest.raises(NbqnnError, match=r"^mutants must be 1\.\.\.\d+, not 0$"):
        choose(texts, 0, 1)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A checkout of one source and one test, which does not see all of it."""
    root = tmp_path / "checkout"
    for folder in mutation._COPIED:
        if "." not in folder:
            (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    (root / "hw" / "compiler").mkdir()
    # It makes no programs; those of a change are as different as it is.
    (root / "tests" / "mutation").mkdir()
    (root / "tests" / "mutation" / "programs.py").write_text("print('different')\n")
    (root / "hw" / "compiler" / "part.py").write_text(
        "def twice(x):\n    y = 7\n    return x * 2\n"
    )
    (root / "tests" / "test_part.py").write_text(
        "from hw.compiler.part import twice\ndef test_twice():\n    assert twice(3) == 6\n"
    )
    monkeypatch.setattr(mutation, "find_tests", lambda *_, **__: ("tests/test_part.py",))
    return root


def test_outcomes_and_a_journal_that_goes_on(tree, tmp_path):
    texts, journal = sources(tree), tmp_path / "journal"
    mutants = choose(texts, 5, 1)
    # The budget is spent after the first one.
    first = run_mutants(tree, mutants[:1], 1, journal)
    assert len(first) == 1
    seen = []
    outcomes = run_mutants(tree, mutants, 1, journal, progress=seen.append)
    assert len(outcomes) == 5
    assert seen == outcomes[1:]
    # Nothing uses the 7.
    test = "tests/test_part.py::test_twice"
    assert {(one.line, one.outcome, one.by) for one in outcomes} == {
        (2, "survived", None),
        (3, "killed", test),
    }
    assert sources(tree) == texts
    assert run_mutants(tree, mutants, 1, journal) == outcomes == read_journal(journal, mutants, 1)
    lines = journal.read_text().splitlines()
    assert len(lines) == 6
    # The last line was cut off.
    journal.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])
    assert read_journal(journal, mutants, 1) == outcomes[:-1]
    again = run_mutants(tree, mutants, 1, journal, jobs=2)
    assert [one.outcome for one in again] == [one.outcome for one in outcomes]
    two = run_mutants(tree, mutants, 1, tmp_path / "two", jobs=2)
    assert sorted(one.index for one in two) == [0, 1, 2, 3, 4]
    assert {one.index: one.outcome for one in two} == {one.index: one.outcome for one in outcomes}
    assert read_journal(journal, mutants, 1) == again
    assert run_mutants(tree, mutants, 1, tmp_path / "other", hours=-1) == []
    for content in ("{", "", json.dumps({"seed": 2})):
        journal.write_text(content)
        with pytest.raises(NbqnnError, match=r"^journal '.*' must be of these mutants, but is not"):
            read_journal(journal, mutants, 1)


@pytest.mark.parametrize("says", ["wrong: program 1 of x: KeyError: 2", "same"])
def test_programs_of_a_changed_compiler(tree, tmp_path, monkeypatch, says):
    """Wrong ones are enough; with the same ones no accelerator runs."""
    (tree / "tests" / "mutation" / "programs.py").write_text(f"print({says!r})\n")
    asked = []

    def found(file, *, same_programs=False):
        asked.append(same_programs)
        return ("tests/test_part.py",)

    monkeypatch.setattr(mutation, "find_tests", found)
    (one,) = run_mutants(tree, choose(sources(tree), 1, 1), 1, tmp_path / "journal")
    assert (one.by == says) == says.startswith("wrong")
    assert asked == ([] if says.startswith("wrong") else [True])


def test_tests_that_fail_anyway(tree, tmp_path):
    (tree / "tests" / "test_part.py").write_text("def test():\n    assert False\n")
    with pytest.raises(NbqnnError, match=r"^tests/test_part\.py::test must pass without a change"):
        run_mutants(tree, choose(sources(tree), 1, 1), 1, tmp_path / "journal")


def test_an_interrupted_run_says_nothing_of_what_was_under_way(tree, tmp_path):
    """Its tests end at once, and no line counts them as failed."""
    (tree / "tests" / "test_part.py").write_text("import time\ntime.sleep(100)\n")
    journal = tmp_path / "journal"
    interrupted = threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT))
    # A shell's background jobs begin with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        interrupted.start()
        with pytest.raises(KeyboardInterrupt):
            run_mutants(tree, choose(sources(tree), 2, 1), 1, journal, jobs=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 30
    assert len(journal.read_text().splitlines()) == 1
