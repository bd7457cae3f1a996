"""Model files: one safetensors file with a network's weights, what it is, and how it was trained.

The *architecture* is all that decides how the network is built. It is read strictly, and a field
that an older file lacks has the default that such files mean. The *recipe* (parameters, seeds,
origin, licence) is there to be read; no network fails to load because of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lookalike.arguments import weights_file
from lookalike.errors import UserError
from lookalike.files import replacing

Network = TypeVar("Network", bound=nn.Module)
Settings = TypeVar("Settings")
Kind = Literal["reid", "stylegan3", "encoder", "latents"]
NAMES: dict[object, str] = {
    "reid": "a re-ID model",
    "stylegan3": "a StyleGAN3",
    "encoder": "an encoder",
    "latents": "latents of images",
}
METADATA_KEY = "lookalike"
VERSION = 2  # of the metadata; a new one needs a step like `_of_version_1`
# Of version 1, in which the architecture's fields stood among others.
FIELDS_1: dict[object, tuple[str, ...]] = {
    "reid": (
        *("num_classes", "height", "width", "embedding_dim", "dropout"),
        *("last_stride", "pooling", "ibn", "bnneck"),
    ),
    "stylegan3": ("generator", "discriminator", "classes"),
    "encoder": ("height", "width", "channels", "steps", "generator"),
}


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds.

    Attributes:
        architecture: as JSON; `read_settings` makes types of it.
        recipe: as JSON; nothing in it is checked.
        tensors: on the CPU, by name.
    """

    architecture: dict[str, Any]
    recipe: dict[str, Any]
    tensors: dict[str, Tensor]


def save_model(
    path: Path,
    kind: Kind,
    tensors: Mapping[str, Tensor],
    architecture: Mapping[str, Any],
    recipe: Mapping[str, Any],
) -> None:
    """Write a model file, atomically.

    Raises:
        UserError: it cannot be written there; says why.
    """
    metadata = {"version": VERSION, "kind": kind, "architecture": architecture, "recipe": recipe}
    save_weights(path, tensors, metadata)


def load_model(path: Path, kind: Kind) -> SavedModel:
    """Read a model file of this version or an older one; nothing in it is executed.

    Raises:
        UserError: the file is missing, damaged, of another kind or of a newer version.
    """
    tensors, metadata = load_weights(path)
    version = metadata.get("version", 1)
    if type(version) is int and version > VERSION:
        raise UserError(
            f"{path} is a model file of version {version}, and this lookalike reads up to "
            f"{VERSION}: update lookalike"
        )
    try:
        found = metadata if version == VERSION else _of_version_1(metadata)
    except (KeyError, TypeError) as error:
        raise unreadable(path, error) from error
    if found.get("kind") != kind:
        holds = NAMES.get(str(found.get("kind")), "something else")
        raise UserError(f"{path} holds {holds}, not {NAMES[kind]}")
    architecture, recipe = found.get("architecture"), found.get("recipe")
    if type(architecture) is not dict:
        raise unreadable(path, ValueError("it does not say what it holds"))
    return SavedModel(architecture, recipe if type(recipe) is dict else {}, tensors)


def read_settings(settings: type[Settings], given: object, name: str) -> Settings:
    """A dataclass of settings from JSON that nobody vouches for; `name` stands in messages.

    Raises:
        ValueError: a field is unknown, missing, of another type or out of range; one line.
    """
    if type(given) is not dict:
        raise ValueError(f"it does not say which {name} it holds")
    unknown = sorted(given.keys() - {field.name for field in fields(settings)})  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"{name}.{ascii(unknown[0])[1:-1]} is unknown here")
    try:
        return TypeAdapter(settings).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([name, *map(str, first["loc"])])
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def build_fitting(build: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """The network that `build` makes, with the tensors of `state`.

    Built without memory first, so that nothing of a size that a file merely claims is allocated.

    Raises:
        ValueError: sizes that cannot be built; a name or a shape that is not the network's.
    """
    try:
        with torch.device("meta"):
            shapes = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    except (ArithmeticError, RuntimeError, TypeError) as error:
        raise ValueError(f"no network has such sizes: {one_line(error)}") from error
    extra = [ascii(name)[1:-1] for name in sorted(state.keys() - shapes.keys())]
    if extra:
        raise ValueError(f"tensors without counterpart: {', '.join(extra[:3])}")
    for name, shape in shapes.items():
        found = tuple(state[name].shape) if name in state else "absent"
        if found != shape:
            raise ValueError(f"{name} is {found}, its settings demand {shape}")
    network = build()
    network.load_state_dict(state)
    return network


def unreadable(path: Path, error: Exception) -> UserError:
    """What to say of a model file with such contents."""
    reason = one_line(error) if isinstance(error, ValueError) else repr(error)
    return UserError(
        f"{path} cannot be read: {reason}; it is damaged or a newer lookalike's: update lookalike, "
        "make it again, or get it from where it came from"
    )


def one_line(error: Exception) -> str:
    """The message of a library's error, at most 300 characters of it."""
    return " ".join(str(error).split())[:300]


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata into one safetensors file, atomically.

    Raises:
        UserError: it cannot be written there; says why.
    """
    # Cloned, because safetensors refuses tensors that share storage.
    copies = {name: t.detach().cpu().clone().contiguous() for name, t in sorted(tensors.items())}
    try:
        with replacing(path) as partial:
            partial.unlink(missing_ok=True)  # of a run that was killed
            partial.touch()
            rights = partial.stat().st_mode  # any new file's; safetensors lets its owner alone read
            save_file(copies, partial, {METADATA_KEY: json.dumps(metadata, sort_keys=True)})
            partial.chmod(rights)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write {path}: {error}; look at its folder, its rights and the free space"
        ) from error


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_weights` wrote; nothing in the file is executed.

    Raises:
        UserError: the file is missing, damaged or not one of ours.
    """
    weights_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            if type(metadata) is not dict:
                raise ValueError("its metadata are no table")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a weights file of lookalike: {error}") from error


def _of_version_1(old: dict[str, Any]) -> dict[str, Any]:
    """The metadata of version 1, in which every kind had places of its own, as version 2's."""
    if old.get("format") == "lookalike-reid":
        kind: object = "reid"
        given = old["config"] | {"num_classes": len(old["classes"])}
        recipe = {"reid": old["config"], "classes": old["classes"], "score": old.get("score")}
    else:
        kind, given = old.get("kind"), old
        recipe = old.get("provenance", {}) if kind == "stylegan3" else old
    architecture = {name: given[name] for name in FIELDS_1.get(kind, ()) if name in given}
    return {"kind": kind, "architecture": architecture, "recipe": recipe}
