"""Run a patch right after its target has been imported.

A finder in front of ``sys.meta_path`` knows the names of the targets. For one of them it lets the other finders find
the module and puts a delegating loader around the one found. The delegating loader takes itself out again before the
module's code runs, so that ``__loader__``, ``__spec__.loader``, ``importlib.reload``, ``inspect.getsource`` and
``importlib.resources`` see what they see without us. (Replacing ``loader.exec_module`` instead recurses without end
when another agent's loader does the same.)

Installed at interpreter start, hence standard library only, and only what is loaded by then.
"""

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_targets: dict[str, str] = {}
_patched: "dict[str, ModuleType]" = {}
_waiting: "dict[int, list[tuple[str, ModuleType]]]" = {}
"""By thread: the patches to be applied, the first of which is being applied."""


def install(targets: "Mapping[str, str]") -> None:
    """Have each target patched when it is imported, or now if it already is.

    Args:
        targets: name of a module -> ``"package.module:function"``. The function is called with the target module. It
            must bear being called again, as a target that is removed from ``sys.modules`` and imported anew is
            patched anew.
    """
    _targets.update(targets)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # pyright: ignore[reportArgumentType]
    for name in targets:
        module = sys.modules.get(name)
        if module is not None:
            _patch(name, module)


def uninstall() -> None:
    """Forget all targets and take the finder out; what has been patched stays so."""
    _targets.clear()
    _patched.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def _patch(name: str, module: "ModuleType") -> None:
    if _patched.get(name) is module or name not in _targets:
        return
    _patched[name] = module
    me = get_ident()
    if me in _waiting:  # a patch imports what it needs, maybe another target, which must wait until this one is done
        _waiting[me].append((name, module))
        return
    _waiting[me] = [(name, module)]
    try:
        for waiting in _waiting[me]:
            _apply(*waiting)
    finally:
        del _waiting[me]


def _apply(name: str, module: "ModuleType") -> None:
    from backspan._guard import guard  # imports typing and more: not at interpreter start

    with guard(f"patch of {name}"):
        where, _, attribute = _targets[name].partition(":")
        __import__(where)
        getattr(sys.modules[where], attribute)(module)


class _Finder:
    """Finds nothing itself: wraps the loader of what the other finders find."""

    def __init__(self) -> None:
        self._busy: set[tuple[int, str]] = set()

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """The other finders' spec for a target, with our loader around its loader; None for anything else."""
        key = (get_ident(), name)
        if name not in _targets or key in self._busy:
            return None
        self._busy.add(key)  # other agents' finders ask all finders again, us included
        try:
            spec = self._ask_others(name, path, target)
        finally:
            self._busy.discard(key)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)  # pyright: ignore[reportAttributeAccessIssue]
        return spec

    def _ask_others(self, name: str, path: "Sequence[str] | None", target: "ModuleType | None") -> "ModuleSpec | None":
        for finder in tuple(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                return spec
        return None


class _Loader:
    """Stands in front of the real loader until the module's code runs; everything else goes straight through."""

    def __init__(self, loader: "Any") -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        """Let the real loader create the module, if it wants to."""
        create = getattr(self._loader, "create_module", None)
        return create(spec) if create else None

    def exec_module(self, module: "ModuleType") -> None:
        """Put the real loader back, run the module, then patch it."""
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        spec: Any = module.__spec__
        if spec is not None and spec.loader is self:
            spec.loader = self._loader
        self._loader.exec_module(module)
        _patch(module.__name__, module)
