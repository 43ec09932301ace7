"""Imports point up the house's list only, and the core stays light."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import entrostat

ROOT = Path(entrostat.__file__).parent
ORDER = [
    "lazy",
    "unloaded",
    "texts",
    "registry",
    "files",
    "trainers",
    "clip",
    "mask",
    "entropy",
    "importance",
    "advantage",
    "mismatch",
    "student",
    "estimate",
    "schedule",
    "plant",
    "response",
    "reach",
    "strategies",
    "objectives",
    "statefile",
    "dump",
    "doctor",
    "verify",
    "data",
    "engines",
    "lab",
    "report",
    "evaluation",
    "diagnose",
    "reproduce",
    "cli",
    "__main__",
]
CORE = ORDER[: ORDER.index("response") + 1]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def rooms():
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room != "__init__":
            yield room, path


def test_imports_point_up_only():
    for room, path in rooms():
        assert room in ORDER, f"{path}: a new room: put it in its place in ORDER"
        for module in imported(path):
            if module.startswith("entrostat."):
                other = module.split(".")[1]
                assert ORDER.index(other) <= ORDER.index(room), f"{path} imports {module}, which is below it"


def test_the_maths_imports_torch_and_jaxtyping_alone():
    for room, path in rooms():
        if room not in CORE and room != "strategies":
            continue
        for module in imported(path):
            top = module.split(".")[0]
            allowed = top in {"torch", "jaxtyping", "numpy"} or top in sys.stdlib_module_names
            own = top == "entrostat" and (room != "strategies" or module.split(".")[1] in [*CORE, "strategies"])
            assert allowed or own, f"{path} imports {module}"


def test_importing_the_package_does_not_load_a_trainer():
    heavy = ("transformers", "trl", "plotly", "rich", "tyro")
    code = f"import sys, entrostat; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def needs():
    """Of each module, the others of the package that it imports, at its top or inside a function."""
    paths = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        paths[".".join(parts).removesuffix(".__init__")] = path
    graph = {}
    for module, path in paths.items():
        graph[module] = set()
        for node in runs(ast.parse(path.read_text())):
            graph[module] |= {name for name in named(node) if name in paths and name != module}
    return graph


def runs(node):
    """The nodes of a tree, but for what only a type checker reads."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from runs(child)


def named(node):
    """What an import statement loads: `from package import module` loads a module too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_needs_itself_through_others():
    graph = needs()
    # a package loads its modules, and they load it before themselves: that is no circle
    for module, others in graph.items():
        others -= {name for name in others if module.startswith(f"{name}.")}
    # the walk sees what is imported inside functions
    assert {"entrostat.lab.source", "entrostat.lab.recipe"} <= graph["entrostat.cli.train"] | graph[
        "entrostat.lab.train"
    ]
    graphlib.TopologicalSorter(graph).prepare()


def test_shapes_are_checked_wherever_they_are_annotated(pytestconfig):
    *checked, _ = pytestconfig.getoption("jaxtyping_packages").split(",")
    for path in ROOT.rglob("*.py"):
        module = ".".join(("entrostat", *path.relative_to(ROOT).with_suffix("").parts))
        if "jaxtyping" in imported(path):
            assert any(f"{module}.".startswith(f"{each}.") for each in checked), f"{module}: add it to pyproject.toml"
