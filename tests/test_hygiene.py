"""Habits that a linter does not know: sizes, docstrings, no sleeping tests, no trace of one machine, one README."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import REPO

MODULE_LINES = 400
FUNCTION_LINES = 60

#: Paths that exist on one machine only. Written in pieces so that this file does not hold them itself.
FOREIGN_PATHS = tuple("/" + name + "/" for name in ("work", "farm", "root", "home/[a-z]+", "Users"))


def product_files() -> list[Path]:
    """Modules of the product."""
    return sorted((REPO / "nimify_tui").rglob("*.py"))


def test_files() -> list[Path]:
    """Modules of the tests."""
    return sorted((REPO / "tests").rglob("*.py"))


test_files.__test__ = False  # type: ignore[attr-defined]  # a helper, whatever its name looks like


def text_files() -> list[Path]:
    """Everything in the tree that people read, as git sees it (tracked, or new and not ignored)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = listed.stdout.split("\0")
    if listed.returncode != 0:  # an unpacked archive has no git
        names = [str(path.relative_to(REPO)) for path in [*product_files(), *test_files()]]
    suffixes = {".py", ".md", ".toml", ".tcss", ".txt", ".json", ".yaml", ".yml", ".sh", ""}
    paths = [REPO / name for name in names if name]
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a module, inner ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def place(path: Path, line: int) -> str:
    """`file:line` for a complaint."""
    return f"{path.relative_to(REPO) if path.is_relative_to(REPO) else path.name}:{line}"


def long_modules(paths: list[Path]) -> list[str]:
    """Modules above the limit: a sign of two jobs in one room."""
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return [f"{place(path, count)}: {count} lines" for path, count in counts.items() if count > MODULE_LINES]


def long_functions(paths: list[Path]) -> list[str]:
    """Functions above the limit."""
    wrong = []
    for path in paths:
        for node in functions(ast.parse(path.read_text(encoding="utf-8"))):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                wrong.append(f"{place(path, node.lineno)}: {node.name} has {lines} lines")
    return wrong


def undocumented(paths: list[Path]) -> list[str]:
    """Public modules, classes, functions and methods without a docstring.

    Private is what starts with an underscore, what stands inside a function, and what a name that
    starts with an underscore holds. Textual's handlers (`on_...`, `watch_...`, `compose` ...) document
    themselves; overloads have their docstring at the implementation.
    """
    wrong = []
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name != "__init__.py" or tree.body:
            wrong += [] if ast.get_docstring(tree) else [f"{place(path, 1)}: module"]
        wrong += [f"{place(path, line)}: {name}" for name, line in bare_definitions(tree, "")]
    return wrong


_TEXTUAL = re.compile(
    r"(on|watch|validate|compute|key|action)_.+|compose|render|render_line|check_action|get_content_.+"
    r"|(connection|data|eof)_(made|lost|received)"  # asyncio.Protocol
)


def bare_definitions(node: ast.Module | ast.ClassDef, inside: str) -> Iterator[tuple[str, int]]:
    """Public definitions directly in a module or class (and in public classes of it) without a docstring."""
    for each in node.body:
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or each.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator).partition("(")[0] for decorator in each.decorator_list}
        excused = bool(inside and _TEXTUAL.fullmatch(each.name)) or any(
            name.endswith((".setter", ".deleter", "overload", "override")) or name == "on" for name in decorators
        )
        if ast.get_docstring(each) is None and not excused:
            yield f"{inside}{each.name}", each.lineno
        if isinstance(each, ast.ClassDef):
            yield from bare_definitions(each, f"{inside}{each.name}.")


def unannotated(paths: list[Path]) -> list[str]:
    """Functions with a parameter or a result that has no type."""
    wrong = []
    for path in paths:
        for node in functions(ast.parse(path.read_text(encoding="utf-8"))):
            names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names += [extra for extra in (node.args.vararg, node.args.kwarg) if extra is not None]
            bare = [arg.arg for arg in names if arg.annotation is None and arg.arg not in {"self", "cls"}]
            bare += ["result"] if node.returns is None else []
            wrong += [f"{place(path, node.lineno)}: {node.name}({', '.join(bare)})"] if bare else []
    return wrong


def sleeping(paths: list[Path]) -> list[str]:
    """Calls of `time.sleep` and of `asyncio.sleep` with more than 0: a test waits for what it waits for."""
    wrong = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            zero = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if name in {"time.sleep", "sleep"} or (name == "asyncio.sleep" and not zero):
                wrong.append(f"{place(path, node.lineno)}: {ast.unparse(node)}")
    return wrong


def losing_cancels(paths: list[Path]) -> list[str]:
    """Calls of `asyncio.wait_for`: before Python 3.12 one that is done at the moment of a cancel loses the cancel.

    The task then runs on, and who waits for its end waits for ever; `async with asyncio.timeout()` does not.
    """
    wrong = []
    for path in paths:
        calls = [each for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(each, ast.Call)]
        lost = [each for each in calls if ast.unparse(each.func) == "asyncio.wait_for"]
        wrong += [f"{place(path, each.lineno)}: {ast.unparse(each)}" for each in lost]
    return wrong


def swallowing(paths: list[Path]) -> list[str]:
    """Handlers of everything that do nothing, and `suppress(Exception)`."""
    wrong = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                caught = "BaseException" if node.type is None else ast.unparse(node.type)
                idle = all(isinstance(each, ast.Pass | ast.Continue) for each in node.body)
                if caught in {"Exception", "BaseException"} and idle:
                    wrong.append(f"{place(path, node.lineno)}: except {caught} without a deed")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                caught_all = {ast.unparse(each) for each in node.args} & {"Exception", "BaseException"}
                wrong += [f"{place(path, node.lineno)}: {ast.unparse(node)}"] if caught_all else []
    return wrong


def silencing(paths: list[Path]) -> list[str]:
    """Comments that silence linter or type checker without a code, or with nothing after it that says why."""
    bare = re.compile(r"#\s*(noqa(?!: ?[A-Z])|type:\s*ignore(?!\[))")
    reasonless = re.compile(r"#\s*(noqa: ?[A-Z0-9, ]+|type:\s*ignore\[[^\]]+\])\s*$")
    wrong = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if (bare.search(line) or reasonless.search(line)) and "re.compile" not in line:
                wrong.append(f"{place(path, number)}: {line.strip()}")
    return wrong


def machine_paths(paths: list[Path]) -> list[str]:
    """Lines that name a folder of one machine."""
    pattern = re.compile("|".join(FOREIGN_PATHS))
    wrong = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if found := pattern.search(line):
                wrong.append(f"{place(path, number)}: {found.group()}")
    return wrong


def unfinished(paths: list[Path]) -> list[str]:
    """Words that say that something is not done."""
    pattern = re.compile(r"#\s*(TO" + r"DO|FIX" + r"ME|XXX)\b|\braise NotImplemented" + r"Error\b")
    wrong = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            wrong += [f"{place(path, number)}: {line.strip()}"] if pattern.search(line) else []
    return wrong


def test_sizes() -> None:
    assert long_modules([*product_files(), *test_files()]) == []
    assert long_functions(product_files()) == []


def test_public_names_are_documented() -> None:
    assert undocumented(product_files()) == []


def test_everything_is_annotated() -> None:
    assert unannotated([*product_files(), *test_files()]) == []


def test_tests_do_not_sleep() -> None:
    load = REPO / "tests" / "bench" / "programs"  # not tests: a load has a rate, and so has to let time pass
    assert sleeping([path for path in test_files() if not path.is_relative_to(load)]) == []


def test_nothing_is_swallowed_or_silenced() -> None:
    every = [*product_files(), *test_files()]
    assert swallowing(every) == []
    assert silencing(every) == []


def test_no_cancel_is_lost() -> None:
    assert losing_cancels(product_files()) == []


def test_nothing_is_left_unfinished() -> None:
    assert unfinished([*product_files(), *test_files()]) == []


def test_tree_names_no_machine() -> None:
    files = text_files()
    assert REPO / "pyproject.toml" in files or not (REPO / ".git").exists()
    assert machine_paths(files) == []


SABOTAGE = {
    "long module": (long_modules, "X = 1\n" * (MODULE_LINES + 1)),
    "long function": (long_functions, "def f() -> None:\n" + "    print()\n" * FUNCTION_LINES),
    "long method": (long_functions, "class A:\n    def f(self) -> None:\n" + "        print()\n" * FUNCTION_LINES),
    "no module docstring": (undocumented, "X = 1\n"),
    "no docstring": (undocumented, '"""M."""\ndef f() -> None:\n    pass\n'),
    "no docstring in it": (undocumented, '"""M."""\nclass A:\n    """A."""\n    def f(self) -> None:\n        pass\n'),
    "a handler outside a class": (undocumented, '"""M."""\ndef on_mount() -> None:\n    pass\n'),
    "no result": (unannotated, "def f(a: int):\n    pass\n"),
    "no type": (unannotated, "async def f(*a) -> None:\n    pass\n"),
    "sleep": (sleeping, "import time\ntime.sl" + "eep(1)\n"),
    "asynchronous sleep": (sleeping, "import asyncio\nasync def f() -> None:\n    await asyncio.sleep(0.1)\n"),
    "a cancel may be lost": (losing_cancels, "import asyncio\nX = asyncio.wait_for(Y, 1)\n"),
    "swallowed": (swallowing, "try:\n    X = 1\nexcept Exception:\n    pass\n"),
    "swallowed bare": (swallowing, "try:\n    X = 1\nexcept:\n    pass\n"),
    "suppressed": (swallowing, "import contextlib\nwith contextlib.suppress(Exception):\n    pass\n"),
    "bare ignore": (silencing, "X = 1  # type:" + " ignore\n"),
    "ignore without a reason": (silencing, "X = 1  # type:" + " ignore[misc]\n"),
    "bare noqa": (silencing, "X = 1  # no" + "qa\n"),
    "noqa without a reason": (silencing, "X = 1  # no" + "qa: E501\n"),
    "machine path": (machine_paths, "X = '" + "/ro" + "ot/x'\n"),
    "unfinished": (unfinished, "# TO" + "DO later\n"),
    "not implemented": (unfinished, "raise NotImplemented" + "Error\n"),
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_sabotage_each_bad_habit_is_seen(what: str, tmp_path: Path) -> None:
    check, text = SABOTAGE[what]
    path = tmp_path / "bad.py"
    path.write_text(text, encoding="utf-8")
    assert len(check([path])) == 1


def test_a_good_module_has_no_complaint(tmp_path: Path) -> None:
    path = tmp_path / "good.py"
    path.write_text(
        '"""M."""\nimport contextlib\n\nclass A:\n    """A."""\n\n    def on_mount(self) -> None:\n        pass\n\n'
        "    def _own(self) -> None:\n        with contextlib.suppress(OSError):\n            print(1)\n"
        "X = 1  # type: ignore[misc]  # because\n",
        encoding="utf-8",
    )
    for check in (long_modules, long_functions, undocumented, unannotated, sleeping, swallowing, silencing, unfinished):
        assert check([path]) == [], check.__name__


def readme_commands() -> list[str]:
    """The lines of README that make an environment: one runs the main job, one passes the tests."""
    lines = (REPO / "README.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("python3 -m venv ")]


def test_readme_has_two_commands_and_ci_calls_the_second() -> None:
    demo, tests = readme_commands()
    assert demo.endswith(".venv/bin/nimify-tui demo")
    assert tests.endswith(".venv/bin/pytest")
    ci = (REPO / ".ci" / "run").read_text(encoding="utf-8")
    assert f'tests="{tests}"' in ci
    assert 'bash -c "$tests"' in ci
    assert (REPO / ".ci" / "run").stat().st_mode & 0o111 == 0o111
