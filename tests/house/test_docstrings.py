"""Every parameter of a public function, class or method is named in its docstring."""

import inspect
import re

# The arguments of the contract of a pair, which docs and README explain once.
CONTRACT = {"self", "cls", "model", "guide", "data", "batch", "x"}


def test_everything_public_has_a_docstring(modules, none):
    bare = [f"{name}.{value.__name__}" for name, value in public(modules) if not inspect.getdoc(value)]
    none(bare, "everything public has a docstring")


def test_parameters_of_functions_are_documented(modules, none):
    found = []
    for name, value in public(modules):
        if inspect.isfunction(value):
            found += missing(f"{name}.{value.__name__}", parameters(value), own(value))
    none(found, "a docstring names every parameter")


def test_parameters_of_classes_are_documented(modules, none):
    found = []
    for name, value in public(modules):
        if inspect.isclass(value):
            build = vars(value).get("__init__") or vars(value).get("__new__")
            if inspect.isfunction(build) and build.__module__ != "typing":  # a protocol is never built
                found += missing(f"{name}.{value.__name__}", parameters(build), own(value) + own(build))
    none(found, "a docstring names every parameter")


def test_parameters_of_methods_are_documented(modules, none):
    found = []
    for name, value in public(modules):
        for method, function in methods(value) if inspect.isclass(value) else ():
            docs = own(function) + own(value) + inherited(value, method)
            found += missing(f"{name}.{value.__name__}.{method}", parameters(function), docs)
    none(found, "a docstring names every parameter")


def public(modules):
    """The functions and classes that a module defines and exports, each with the name of its module."""
    for name, module in modules.items():
        if not name.rpartition(".")[2].startswith("_"):
            for value in (getattr(module, public) for public in getattr(module, "__all__", [])):
                if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == name:
                    yield name, value


def methods(value):
    """The public methods that a class defines, without those of a base class outside the package, except `forward`."""
    for name, member in vars(value).items():
        function = getattr(member, "__func__", member)  # of a class method or a static one
        foreign = any(hasattr(base, name) for base in value.__mro__ if not ours(base))
        private = name.startswith("_") and name != "__call__"
        if inspect.isfunction(function) and not private and (not foreign or name == "forward"):
            yield name, function


def ours(value):
    return value.__module__.split(".")[0] == "pyrovae"


def own(value):
    """The docstring of a function or a class, without those of its bases."""
    return vars(value).get("__doc__") or "" if inspect.isclass(value) else value.__doc__ or ""


def inherited(value, method):
    """The docstrings of a method in the bases of a class: an implementation is documented where it is declared."""
    return "".join(own(vars(base)[method]) for base in value.__mro__[1:] if ours(base) and method in vars(base))


def parameters(function):
    names = inspect.signature(function).parameters
    return [name for name in names if name not in CONTRACT and not name.startswith("_")]


def missing(where, names, docstring):
    unnamed = [name for name in names if not re.search(rf"\b{name}\b", docstring)]
    return [f"{where}: {', '.join(unnamed)}"] if unnamed else []
