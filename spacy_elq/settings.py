"""Settings of the component: attributes that a caller may change between two calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Setting:
    """An attribute kept in the component's `cfg`. A value that is not allowed is refused at once,
    and the old one stays."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, component: Any, owner: type | None = None) -> Any:
        return self if component is None else component.cfg[self.name]

    def __set__(self, component: Any, value: Any) -> None:
        component.check_settings({**component.cfg, self.name: value})
        component.cfg[self.name] = value


def changes(configured: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """RETURNS (dict): Of the settings that were changed since the component was made: the value
    that the config gave, and the value now."""
    return {name: [value, now[name]] for name, value in configured.items() if now[name] != value}


def restore(configured: Mapping[str, Any], stored: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Settings after loading: what was changed before saving, unless the config has another value
    than it had then, as when a caller overrides it in `spacy.load`.

    RETURNS (dict): All settings.
    """
    restored = dict(configured)
    for name, (then, value) in stored.items():
        if restored.get(name) == then:
            restored[name] = value
    return restored
