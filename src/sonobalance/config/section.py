"""The base of every group of settings."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """Base of every group of settings: immutable, and unknown names are refused.

    Where a setting may be absent, the word `none` takes away what a run or a TOML file gave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _none_takes_away(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[info.field_name or ""].annotation
        return None if type(None) in get_args(kind) and str(value) == "none" else value
