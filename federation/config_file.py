"""Reading TOML configuration into pydantic models with errors that name file, field and value."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from federation.errors import ConfigError, FedprintError

Model = TypeVar("Model", bound=BaseModel)


def read_config(path: Path, model: type[Model]) -> Model:
    """Return the configuration in a TOML file.

    Args:
        path: The file.
        model: What it must hold.

    Raises:
        ConfigError: If the file is missing, no TOML, or breaks a rule of the model.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"configuration {path} cannot be read: {error.strerror}", remedy="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", remedy="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", remedy="correct that line") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            f"{path}: {describe(error)}",
            remedy="correct the file; `fedprint init simulation` writes a commented example",
        ) from error
    except FedprintError as error:
        raise ConfigError(f"{path}: {error.problem}", remedy=error.remedy) from error


def describe(error: ValidationError) -> str:
    """Return every complaint of a validation as ``field: complaint``, separated by semicolons."""
    complaints = error.errors()
    places = [complaint["loc"] for complaint in complaints]
    return "; ".join(
        f"{'.'.join(map(str, complaint['loc'])) or 'file'}: {_plain(complaint['msg'])}"
        for complaint in complaints
        if not (complaint["type"] == "too_short" and _has_complaints_below(complaint["loc"], places))
    )


def _has_complaints_below(place: tuple[int | str, ...], places: Sequence[tuple[int | str, ...]]) -> bool:
    """A list whose items are wrong is also called too short, which it is not."""
    return any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _plain(message: str) -> str:
    return message.replace("Extra inputs are not permitted", "unknown key").removeprefix("Value error, ")
