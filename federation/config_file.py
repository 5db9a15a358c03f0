"""Reading TOML configuration into pydantic models with errors that name file, field and value."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from federation.config_complaints import describe
from federation.errors import ConfigError, FedprintError

Model = TypeVar("Model", bound=BaseModel)


def read_config(path: Path, model: type[Model], *, remedy: str = "correct the file") -> Model:
    """Return the configuration in a TOML file.

    Args:
        path: The file.
        model: What it must hold; its validators find the file's folder as ``base`` in their context.
        remedy: What to do where it breaks a rule.

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
        return model.model_validate(content, context={"base": path.resolve().parent})
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error, content)}", remedy=remedy) from error
    except FedprintError as error:
        raise ConfigError(f"{path}: {error.problem}", remedy=error.remedy) from error
