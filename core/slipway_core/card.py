"""The model card: the only thing a person writes about a model.

A card says what a model is for, what goes in and comes out, how images are prepared, how it is batched and how
exactly the converted model must agree with its source. It is read from ``<name>.toml``; a card that cannot be
true cannot be built, and the error names the key, the value and what is allowed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from slipway_core.batching import Batching
from slipway_core.errors import InvalidCard
from slipway_core.images import ImageSpec
from slipway_core.tensors import Datatype

Task = Literal["classification", "regression", "ranking"]
NET_SUFFIX = "_net"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        raise ValueError("a name starts with a letter and has at most 64 letters, digits, '_' and '-'")
    return name


PlainName = Annotated[str, AfterValidator(_plain_name)]


def _callable_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
        raise ValueError("it is written package.module:callable, or torchvision:model")
    return name


class Feature(_Frozen):
    """One column of a tabular model's input, in the order in which the model was trained."""

    name: str = Field(min_length=1, max_length=200)
    unit: str = ""
    datatype: Datatype = "FP32"
    optional: bool = Field(default=False, description="a missing value reaches the model as NaN")
    example: float | int | str | bool | None = None
    description: str = ""


class Output(_Frozen):
    """What comes out. ``labels`` has one name per class, in the order of the probabilities."""

    labels: tuple[str, ...] = ()
    labels_file: Path | None = Field(default=None, description="one label a line; instead of labels")
    unit: str = Field(default="", description="of a regressor's value")

    @model_validator(mode="after")
    def _labels_are_unique(self) -> Output:
        if len(set(self.labels)) != len(self.labels):
            twice = next(label for label in self.labels if self.labels.count(label) > 1)
            raise ValueError(f"labels must be unique, {twice!r} is there twice")
        return self


class Instances(_Frozen):
    """Triton's instance group: how many copies of the model run, and where.

    ``intra_op_threads`` is what one copy may use of the CPU; 0 leaves it to the runtime.
    """

    count: int = Field(default=1, ge=1, le=128)
    kind: Literal["auto", "cpu", "gpu"] = "auto"
    intra_op_threads: int = Field(default=1, ge=0, le=1024)


class Tolerance(_Frozen):
    """Converted and source outputs agree when ``|a-b| <= absolute + relative * |b|``."""

    absolute: float = Field(default=1e-5, ge=0)
    relative: float = Field(default=1e-4, ge=0)


class Source(_Frozen):
    """The trained model's files; relative paths start at the working directory.

    ``kind`` is one that export knows (``slipway_export.sources``). ``samples`` is an ``.npz`` with the array ``inputs``
    (rows, or uint8 images), or for an image model a folder of image files; the parity gate compares on them.
    ``summary`` is the training run's summary, which goes into the manifest.

    ``factory`` is what builds a torch model whose file holds weights alone: ``package.module:callable``, or
    ``torchvision:<model>``, which needs no file: it has the published ``weights`` of that name, or none at all.
    """

    kind: PlainName
    path: Path | None = None
    samples: Path | None = None
    summary: Path | None = None
    output: Literal["logits", "probabilities", "value"] | None = Field(
        default=None, description="what a torch or onnx model's first output is"
    )
    factory: Annotated[str, AfterValidator(_callable_name)] | None = None
    arguments: dict[str, JsonValue] = Field(default={}, description="of the factory, by keyword")
    weights: str | None = Field(default=None, description="the name of weights that torchvision publishes")

    @property
    def file(self) -> Path:
        """The trained model's file. Raises :class:`InvalidCard` where the model has none."""
        if self.path is None:
            raise InvalidCard("source.path", ..., f"this needs a model of a file, the card's is {self.origin}")
        return self.path

    @property
    def torchvision(self) -> str | None:
        """The name of torchvision's model, where it is one."""
        module, _, name = (self.factory or "").partition(":")
        return name if module == "torchvision" else None

    @property
    def origin(self) -> str:
        """Where the model comes from, for a person: what builds it, and what file or weights it is given."""
        held = str(self.path) if self.path else f"weights {self.weights}" if self.weights else "no weights"
        return f"{self.factory} with {held}" if self.factory else held

    @model_validator(mode="after")
    def _holds_together(self) -> Source:
        if self.factory is not None and self.kind != "torch":
            raise ValueError(f"factory builds a torch model; with kind = {self.kind!r} there is none")
        if self.arguments and self.factory is None:
            raise ValueError("arguments are the factory's; name source.factory too")
        if self.weights is not None and self.torchvision is None:
            raise ValueError("weights names what torchvision publishes; it goes with factory = 'torchvision:...'")
        if self.weights is not None and self.path is not None:
            raise ValueError("give path (a file of weights) or weights (torchvision's own), not both")
        if self.path is None and self.torchvision is None:
            raise ValueError("path is required: the trained model's file")
        return self


class ModelCard(_Frozen):
    """Everything slipway knows about a model before it is exported."""

    name: PlainName
    task: Task
    description: str = ""
    source: Source
    inputs: tuple[Feature, ...] = ()
    image: ImageSpec | None = None
    output: Output = Output()
    batching: Batching = Batching()
    instances: Instances = Instances()
    precision: Literal["fp32"] = "fp32"
    tolerance: Tolerance = Tolerance()

    @model_validator(mode="after")
    def _holds_together(self) -> ModelCard:
        if (self.image is None) == (not self.inputs):
            raise ValueError("a card has either [[inputs]] (tabular) or [image], not both and not neither")
        names = [feature.name for feature in self.inputs]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"inputs must have unique names, {twice!r} is there twice")
        if self.task == "classification" and len(self.output.labels) < 2:
            raise ValueError("a classifier needs at least two output.labels (or output.labels_file)")
        if self.task != "classification" and self.output.labels:
            raise ValueError(f"output.labels are for task 'classification'; a model for {self.task} has a value")
        if self.image is not None and self.name.endswith(NET_SUFFIX):
            raise ValueError(f"an image model's name must not end in {NET_SUFFIX!r}: its net takes that name")
        return self

    @property
    def net_name(self) -> str:
        """The Triton model that holds the graph: the card's own name, or ``<name>_net`` for images."""
        return f"{self.name}{NET_SUFFIX}" if self.image else self.name

    def with_weights(self, weights: str) -> ModelCard:
        """The same card with the weights of another file, or with torchvision's of that name (``DEFAULT``).

        Names are written in capitals. Raises :class:`InvalidCard`.
        """
        named = self.source.torchvision is not None and re.fullmatch(r"[A-Z][A-Z0-9_]*", weights)
        chosen = {"path": None, "weights": weights} if named else {"path": weights, "weights": None}
        table = self.model_dump(mode="json")
        return self.from_mapping({**table, "source": {**table["source"], **chosen}}, path="--weights")

    @classmethod
    def from_toml(cls, path: Path) -> ModelCard:
        """Read and check a card; ``labels_file`` is taken relative to the card and read into ``labels``.

        Raises :class:`InvalidCard`, which names the file, the key, the value and what is allowed.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as e:
            raise InvalidCard("card", str(path), f"cannot be read ({e.strerror})") from None
        except UnicodeDecodeError:
            raise InvalidCard("card", path.name, "a card is UTF-8 text", str(path)) from None
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            raise InvalidCard("TOML", _faulty_line(text, str(e)), f"cannot be parsed: {e}", str(path)) from None
        _read_labels_file(table, path)
        card = cls.from_mapping(table, path=str(path))
        if card.name != path.stem:
            raise InvalidCard("name", card.name, f"a card's file is named like its model: {card.name}.toml", str(path))
        return card

    @classmethod
    def from_mapping(cls, table: dict[str, Any], path: str = "") -> ModelCard:
        """Build a card from a parsed TOML table, or raise :class:`InvalidCard`."""
        try:
            return cls.model_validate(table)
        except ValidationError as e:
            raise _invalid(e, path) from None


def _faulty_line(text: str, message: str) -> str:
    at = re.search(r"line (\d+)", message)
    lines = text.splitlines()
    if at and 0 < int(at.group(1)) <= len(lines):
        return lines[int(at.group(1)) - 1].strip()
    return ""


def _read_labels_file(table: dict[str, Any], card_path: Path) -> None:
    output = table.get("output")
    if not isinstance(output, dict) or "labels_file" not in output:
        return
    if output.get("labels"):
        raise InvalidCard(
            "output.labels_file",
            output["labels_file"],
            "give labels or labels_file, not both",
            str(card_path),
        )
    file = card_path.parent / str(output["labels_file"])
    try:
        output["labels"] = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise InvalidCard("output.labels_file", str(file), f"cannot be read ({e})", str(card_path)) from None


def _invalid(error: ValidationError, path: str) -> InvalidCard:
    """The first of pydantic's complaints in a person's words."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "card"
    allowed = first["msg"].removeprefix("Value error, ")
    value: object = first["input"]
    if first["type"] == "missing":
        allowed, value = "this key is required", ...
    elif first["type"] == "extra_forbidden":
        allowed = "there is no such key in a card"
    elif first["type"] == "model_type":
        allowed = "this is a table of keys"
    elif isinstance(value, dict | BaseModel):
        value = ...
    return InvalidCard(key, value, allowed, path)


def find_card(name: str, folders: tuple[Path, ...]) -> Path:
    """The card file of a model: a path to a ``.toml``, or a name looked up in ``folders``, first match wins.

    Raises :class:`InvalidCard` that lists the cards there are.
    """
    if name.endswith(".toml"):
        return Path(name)
    for folder in folders:
        candidate = folder / f"{name}.toml"
        if candidate.is_file() or candidate.is_symlink():  # of a link that leads nowhere, reading it says so
            return candidate
    known = sorted({card.stem for folder in folders if folder.is_dir() for card in folder.glob("*.toml")})
    raise InvalidCard("model", name, f"no such card; there are: {', '.join(known) or 'none'}")
