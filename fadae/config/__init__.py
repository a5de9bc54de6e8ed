"""What a job can be asked for, as values and as options; loads no library of numbers."""

from fadae.config.files import FILE, TOP, FileSettings, load_recipe, load_settings, recipe_names
from fadae.config.job import (
    DEFAULT_ITEM,
    SECTIONS,
    EncodeConfig,
    ExtractConfig,
    IngestConfig,
    Job,
    JobConfig,
    Limits,
    Settings,
    TrainConfig,
    WhichFailures,
    changed_settings,
    load_config,
)
from fadae.config.options import Declared, Section, check, check_value, declared, option

__all__ = [
    "DEFAULT_ITEM",
    "FILE",
    "SECTIONS",
    "TOP",
    "Declared",
    "EncodeConfig",
    "ExtractConfig",
    "FileSettings",
    "IngestConfig",
    "Job",
    "JobConfig",
    "Limits",
    "Section",
    "Settings",
    "TrainConfig",
    "WhichFailures",
    "changed_settings",
    "check",
    "check_value",
    "declared",
    "load_config",
    "load_recipe",
    "load_settings",
    "option",
    "recipe_names",
]
