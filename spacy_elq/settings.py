"""Settings: one validated class for each part of the component, and what they have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_origin

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from .concurrency import Mutex
from .errors import ElqError, Errors
from .types import Entity

# Values of `mentions`; any other value is the key of a span group whose spans are the mentions.
FIND = "find"
ENTS = "ents"

# pydantic's type of an error → what the message says is expected.
EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "a dictionary",
}
# Held while a setting is replaced, or a change by another thread could be lost.
CHANGING = Mutex()
AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def plain(value: Any) -> Any:
    """RETURNS (Any): The value as JSON holds it: numpy's numbers and arrays, paths and tuples are
    replaced."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class Settings(BaseModel):
    """Settings of one part. Each is written down once, as a field with its default and bounds.

    An object never changes: `changed` returns another one, so a call that runs keeps the settings
    that it began with, and a refused value changes nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __init__(self, **values: Any) -> None:
        """RAISES (ElqError): If a value is not allowed, or there is no setting of that name."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _elq_error(error.errors()[0]) from None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        return plain(values)

    def changed(self, **values: Any) -> Self:
        """RETURNS (Settings): The same settings except for these values.
        RAISES (ElqError): As when they are made."""
        return type(self)(**{**dict(self), **values})


def _not_nan(value: float) -> float:
    if value != value:
        raise PydanticCustomError("float_type", "not a number")
    return value


# Types of settings. Infinity is a number, NaN is not.
Number = Annotated[float, AfterValidator(_not_nan)]
Count = Annotated[int, Field(ge=1)]


def _elq_error(error: ErrorDetails) -> ElqError:
    """RETURNS (ElqError): pydantic's error with the name of the setting and a code."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    name = ".".join(map(str, error["loc"]))
    if isinstance(value, float) and value != value:
        kind = "float_type"
    if isinstance(context.get("error"), ElqError):
        return context["error"]
    if kind == "extra_forbidden":
        return ElqError(Errors.ELQ332.format(name=name))
    if kind == "literal_error" and isinstance(value, str):
        return ElqError(Errors.ELQ110.format(name=name, value=value, of=context["expected"]))
    if kind == "greater_than_equal":
        return ElqError(Errors.ELQ112.format(name=name, value=value, least=context["ge"]))
    if kind == "less_than_equal":
        expected = f"at most {context['le']}"
    elif kind == "literal_error":
        expected = context["expected"]
    else:
        expected = EXPECTED.get(kind, error["msg"])
    return ElqError(Errors.ELQ122.format(name=name, value=value, expected=expected))


def takes(settings: type[Settings]) -> Callable[[AnyFunction], AnyFunction]:
    """A decorator for a function with `**settings`: spaCy's config system, which reads signatures,
    sees one argument for each setting in their place.

    settings (type[Settings]): The class that the function passes them to.
    """

    def with_signature(function: AnyFunction) -> AnyFunction:
        signature = inspect.signature(function, eval_str=True)
        parameters = [p for p in signature.parameters.values() if p.kind != p.VAR_KEYWORD]
        for name, field in settings.model_fields.items():
            # A wrong choice is left to the class, whose message names the choices.
            type_ = str if get_origin(field.annotation) is Literal else field.annotation
            argument = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=type_)
            parameters.append(argument.replace(default=field.default))
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return with_signature


def changes(configured: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """RETURNS (dict): For each setting that was changed after the component was made: the value
    in the config, and the value now."""
    return {
        name: [configured.get(name), value]
        for name, value in now.items()
        if configured.get(name) != value
    }


def restore(configured: Mapping[str, Any], stored: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Settings after loading. A value that was changed before saving is kept, unless the config
    has another value than it had then: the caller overrode it in `spacy.load`.

    RETURNS (dict): All settings.
    """
    restored = dict(configured)
    for name, (then, value) in stored.items():
        if restored.get(name) == then:
            restored[name] = value
    return restored


def as_list(values: Iterable[Any], what: str) -> list[Any]:
    """RETURNS (list): The values.
    RAISES (ElqError): If it is a single value. A string or a dict can be iterated over too, but
        its parts are never the values that the caller meant.

    what (str): What the values are, for the message.
    """
    if isinstance(values, (str, bytes, Mapping, Entity)) or not isinstance(values, Iterable):
        raise ElqError(Errors.ELQ270.format(what=what, found=type(values).__name__))
    return list(values)
