"""The names that programs may import, and what they are called with: none goes and none changes unnoticed.

What is new passes. After a change that is meant, ``python -m tests.test_public_api`` writes ``public_api.json`` anew.
"""

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

RECORD = Path(__file__).with_name("public_api.json")

# Of these modules the classes and functions in `__all__`.
MODULES = (
    "dip_lightning",
    "dip_lightning.callbacks",
    "dip_lightning.data",
    "dip_lightning.models",
    "dip_lightning.module",
    "dip_lightning.priors",
    "dip_lightning.problems",
    "dip_lightning.problems.data_terms",
    "dip_lightning.stopping",
)
# What `Detection` and the benchmarks compute with, rather than what a rule of one's own needs.
INTERNAL = {f"dip_lightning.stopping.{name}" for name in ("choose", "disagree", "lag_of", "patience_after")}


def signature(function: Any) -> str:
    """Names, kinds and defaults of the arguments; types are spelled differently by each version of Python and NumPy."""
    try:
        found = inspect.signature(function)
    except ValueError:  # made in C
        return "(...)"
    arguments = []
    for argument in found.parameters.values():
        default = getattr(argument.default, "__name__", argument.default)  # of a function, the address would be told
        if argument.default is not argument.empty:
            argument = argument.replace(default=default)
        arguments.append(argument.replace(annotation=argument.empty))
    return str(found.replace(parameters=arguments, return_annotation=found.empty))


def is_public(kind: type, name: str) -> bool:
    """Whether a member is ours: not Lightning's or torch's, which may be overridden here or not."""
    others = [base for base in kind.__mro__ if not base.__module__.startswith("dip_lightning")]
    return not name.startswith("_") and not any(hasattr(base, name) for base in others)


def describe(found: Any) -> str | dict[str, str]:
    """The signature of a function; of a class that of its making and of its public methods, and its properties."""
    if not inspect.isclass(found):
        return signature(found)
    members = {"__init__": signature(found)}
    for name in filter(lambda name: is_public(found, name), dir(found)):
        member = getattr(found, name)
        members[name] = signature(member) if callable(member) else "attribute"
    return members


def public_api() -> dict[str, Any]:
    members: dict[str, Any] = {}
    for module in map(importlib.import_module, MODULES):
        members |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    return {
        name: describe(found) for name, found in sorted(members.items()) if callable(found) and name not in INTERNAL
    }


@pytest.mark.parametrize(("name", "before"), json.loads(RECORD.read_text(encoding="utf-8")).items())
def test_what_programs_import_is_as_it_was(name: str, before: str | dict[str, str]) -> None:
    module, _, attribute = name.rpartition(".")
    now = describe(getattr(importlib.import_module(module), attribute))
    if isinstance(now, dict) and isinstance(before, dict):
        now = {key: value for key, value in now.items() if key in before}
    assert now == before


if __name__ == "__main__":
    RECORD.write_text(json.dumps(public_api(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
