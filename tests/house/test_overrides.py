"""A class is abstract or final: no concrete method of the package is overridden in the package."""

import inspect

# Python and torch call these on every class.
HOOKS = {"forward", "extra_repr"}


def test_no_concrete_method_is_overridden(classes, none):
    found = [
        f"{value.__module__}.{value.__name__}.{name} overrides {base.__module__}.{base.__name__}.{name}"
        for value in classes
        for name in vars(value)
        if not hook(name) and is_method(vars(value)[name])
        for base in value.__mro__[1:]
        if base.__module__.split(".")[0] == "pyrovae" and is_concrete(vars(base).get(name))
    ]
    none(found, "no concrete method is overridden")


def test_an_abstract_method_keeps_its_class_from_being_built(classes, none):
    """Only a class whose metaclass is ABCMeta enforces `abstractmethod`."""
    loose = [
        f"{value.__module__}.{value.__name__}.{name}"
        for value in classes
        for name, member in vars(value).items()
        if getattr(member, "__isabstractmethod__", False) and not inspect.isabstract(value)
    ]
    none(loose, "an abstract method is enforced")


def hook(name):
    return name in HOOKS or (name.startswith("__") and name.endswith("__"))


def is_method(member):
    return callable(member) or isinstance(member, property | classmethod | staticmethod)


def is_concrete(member):
    return member is not None and is_method(member) and not getattr(member, "__isabstractmethod__", False)
