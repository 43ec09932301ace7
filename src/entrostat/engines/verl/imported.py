"""Something to do once another module has been imported, without importing it.

verl loads plug-ins in every process. A plug-in that registers something must not import
the registry's module for it: that takes seconds, and most processes never need it.
"""

import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def when_imported(name: str, act: Callable[[], object]) -> None:
    """Calls `act` right after the module's first import, or now if it is over.

    An error of `act` is logged as a warning: the import is somebody else's, who may not
    use us at all.
    """
    if name in sys.modules:
        _try(name, act)
    else:
        sys.meta_path.insert(0, _Watch(name, act))


class _Watch(MetaPathFinder):
    """Finds nothing itself: it has the others find the module, and adds to its
    execution."""

    def __init__(self, name: str, act: Callable[[], object]):
        self._name = name
        self._act = act

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            _try(self._name, self._act)

        spec.loader.exec_module = execute_and_act
        return spec


def _try(name: str, act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:
        logging.getLogger("entrostat").warning(
            "entrostat's plug-in does not fit this verl (%s): %s", name, error
        )
