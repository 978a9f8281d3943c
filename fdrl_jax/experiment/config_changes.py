"""The fields of a config that a workdir fixes, and the ones that may change when its run is resumed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fdrl_jax.utils.untrusted_files import shown

# Groups and fields that may change when a run is resumed, because they do not change what a training step computes.
# Image files may be moved to another path: data.json checks that the images are still the same.
_MAY_CHANGE = ("config.train.", "config.diagnostics", "config.data.path", "config.data.cache", "config.prior.path")


def fixed_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that may not change during a run, by their full names, with the values that JSON stores.

    A full name is, for example, `config.flow.noise`.
    """
    fields = {name: value for name, value in flat(config).items() if not name.startswith(_MAY_CHANGE)}
    return json.loads(json.dumps(fields))


def flat(tree: Any, prefix: str = "config") -> dict[str, Any]:
    """Return all fields of a config by their full names, such as `config.flow.noise`."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {k: v for name, sub in tree.items() for k, v in flat(sub, f"{prefix}.{name}").items()}


def differences(there: Mapping[str, Any], here: Mapping[str, Any], names: Iterable[str] | None = None) -> str:
    """Describe the first three names under which two mappings differ, each with both values; "" without a difference.

    Args:
      there: the stored mapping; its values are reported as "there".
      here: the current mapping; its values are reported as "here".
      names: the names to compare; by default those of both mappings.
    """
    different = [
        f"{name[:100]} is {shown(there.get(name, 'absent'))} there and {shown(here.get(name, 'absent'))} here"
        for name in sorted(there.keys() | here.keys() if names is None else names)
        if there.get(name) != here.get(name)
    ]
    more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
    return "; ".join(different[:3]) + more
