"""The parameters as frozen, strict, documented types; their defaults are the profile `embedded`.

A parameter is a field here, with its default and its meaning, and nowhere else: files in
`profiles/` hold what differs, `params.yaml` holds the whole of the profile in use. Unknown keys,
wrong types and impossible combinations are errors that name the key. Every field that a stage reads
is a DVC parameter of that stage, so a change re-runs what it concerns and no more.
"""

from lookalike.config.arms import ARM_NAME, ArmConfig, ArmPolicy
from lookalike.config.base import Section
from lookalike.config.data import DATA_SET_NAME, DataConfig, RenderedConfig, Source
from lookalike.config.filtering import FilterConfig, Threshold
from lookalike.config.gan import AdaConfig, GanConfig, Transform
from lookalike.config.judging import EvaluateConfig, GatesConfig, RegistryConfig
from lookalike.config.reading import checked, left_out, load_config, parse_config, read_yaml
from lookalike.config.reid import PACKAGED, RESNET50, ReidConfig, ReidLossConfig, ReidScheduleConfig
from lookalike.config.synthesis import (
    KINDS,
    EncoderConfig,
    GenerateConfig,
    Group,
    PersonsConfig,
    VariationsConfig,
)
from lookalike.config.whole import Config

__all__ = [
    "ARM_NAME",
    "DATA_SET_NAME",
    "KINDS",
    "PACKAGED",
    "RESNET50",
    "AdaConfig",
    "ArmConfig",
    "ArmPolicy",
    "Config",
    "DataConfig",
    "EncoderConfig",
    "EvaluateConfig",
    "FilterConfig",
    "GanConfig",
    "GatesConfig",
    "GenerateConfig",
    "Group",
    "PersonsConfig",
    "RegistryConfig",
    "ReidConfig",
    "ReidLossConfig",
    "ReidScheduleConfig",
    "RenderedConfig",
    "Section",
    "Source",
    "Threshold",
    "Transform",
    "VariationsConfig",
    "checked",
    "left_out",
    "load_config",
    "parse_config",
    "read_yaml",
]
