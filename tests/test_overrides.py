"""Abstract or final: no class of the package overrides a concrete method of another class of the package."""

import importlib
import inspect
import pkgutil

import pytest

ROOMS = ["models", "guides", "networks"]

# A constructor extends its base's; the others are generated for each dataclass.
EXEMPT = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__"}


def classes(room):
    """Every class that is defined in a module of the room."""
    package = importlib.import_module(f"pyrovae.{room}")
    modules = [package] + [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]
    return {
        item
        for module in modules
        for item in vars(module).values()
        if inspect.isclass(item) and item.__module__ == module.__name__
    }


def methods(cls):
    """The methods and properties in the body of a class, and whether each is abstract."""
    kinds = (property, classmethod, staticmethod)
    return {
        name: getattr(item, "__isabstractmethod__", False)
        for name, item in vars(cls).items()
        if (inspect.isfunction(item) or isinstance(item, kinds)) and name not in EXEMPT
    }


def overrides(cls):
    """The concrete methods of base classes of the package that a class overrides."""
    for base in cls.__mro__[1:]:
        if base.__module__.startswith("pyrovae."):
            concrete = {name for name, abstract in methods(base).items() if not abstract}
            yield from (f"{cls.__name__}.{name} overrides {base.__name__}'s" for name in concrete & set(methods(cls)))


@pytest.mark.parametrize("room", ROOMS)
def test_no_concrete_method_is_overridden(room):
    found = classes(room)
    assert found
    assert [text for cls in found for text in overrides(cls)] == []


def test_an_override_is_found():
    class Base:
        def told(self):
            return 1

        @property
        def seen(self):
            return 2

    Base.__module__ = "pyrovae.somewhere"
    child = type("Child", (Base,), {"told": lambda self: 3, "seen": property(lambda self: 4), "own": lambda self: 5})
    assert sorted(overrides(child)) == ["Child.seen overrides Base's", "Child.told overrides Base's"]
