"""What can go wrong, as one tree; every room raises these and nothing else at its edge.

SlipwayError
+-- InvalidCard               a card that cannot be built: key, value, what is allowed
+-- InvalidInput              what a caller sent cannot be predicted on (HTTP 400)
|   +-- UnknownFeature        a row names a feature the model does not have
|   +-- MissingFeature        a row lacks a feature the model needs
|   +-- InvalidValue          a feature's value is not what its datatype allows
|   +-- InvalidImage          bytes that are no image, or an image that is refused
|   +-- BatchTooLarge         more rows than the model takes in one request
+-- ModelNotFound             Triton serves no such model, or not that version (HTTP 404)
+-- WrongTask                 the model exists and cannot do what was asked (HTTP 400)
+-- ServerUnavailable         nothing answers at the address (HTTP 503)
+-- DeadlineExceeded          no answer in time (HTTP 504)
+-- InferenceFailed           Triton took the request and could not compute it (HTTP 500)
|   +-- WorkerDied            its Python worker is dead; Triton still calls it ready
+-- UnsupportedByServer       Triton cannot do that (HTTP 501)
+-- Overloaded                the queue is full (HTTP 503)
+-- ExportFailed              a model could not be converted
|   +-- ParityFailed          the converted model answers differently from its source
|   +-- SourceNotFound        the trained model's file is not there
|   +-- UntrustedSource       the trained model's file holds code or types that are not allowed
+-- PublishFailed             the version could not be written; the old one is untouched
|   +-- ContractChanged       inputs, outputs or labels differ from the published ones
+-- RepositoryBroken          a model repository that Triton would not serve
+-- CannotServe               this machine or this configuration cannot run Triton now
+-- TrainingFailed            the recipe cannot use its data
+-- MissingExtra              an optional part of slipway is not installed

Facts are kept in attributes (and in ``args``, so that errors survive pickling); prose is made in ``__str__``.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class SlipwayError(Exception):
    """Base of everything a user of slipway can be told."""


class InvalidCard(SlipwayError):
    """A model card that cannot be built. ``path`` is empty for a card that came from no file.

    ``value`` is ``...`` where several keys contradict each other; ``allowed`` then names them.
    """

    def __init__(self, key: str, value: object, allowed: str, path: str = "") -> None:
        super().__init__(key, value, allowed, path)
        self.key, self.value, self.allowed, self.path = key, value, allowed, path

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        if self.value is ...:
            return f"{where}{self.key}: {self.allowed}"
        return f"{where}{self.key} = {self.value!r} is not valid: {self.allowed}"


class InvalidInput(SlipwayError):
    """What a caller sent cannot be predicted on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


_SHOWN = 60


def _short(value: object) -> str:
    """A value that somebody sent, as it is shown in a line: never longer than a glance."""
    shown = repr(value[: _SHOWN * 2]) if isinstance(value, str) else repr(value)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""


class UnknownFeature(InvalidInput):
    """A row names a feature the model does not have. ``row`` counts from 0."""

    def __init__(self, row: int, name: str, known: Sequence[str]) -> None:
        SlipwayError.__init__(self, row, name, tuple(known))
        self.row, self.name, self.known = row, name, tuple(known)

    def __str__(self) -> str:
        return (
            f"row {self.row}: unknown feature {_short(self.name)}; {_suggestion(self.name[:_SHOWN], self.known)}"
            f"the model's features are {', '.join(self.known)}"
        )


class MissingFeature(InvalidInput):
    """A row lacks a feature the model needs. ``row`` counts from 0; ``given`` are the names the row has."""

    def __init__(self, row: int, name: str, given: Sequence[str]) -> None:
        SlipwayError.__init__(self, row, name, tuple(given))
        self.row, self.name, self.given = row, name, tuple(given)

    def __str__(self) -> str:
        close = get_close_matches(self.name, [name for name in self.given if len(name) <= _SHOWN], n=1, cutoff=0.5)
        hint = f" (the row has {close[0]!r})" if close else ""
        return f"row {self.row}: feature {self.name!r} is missing{hint}"


class InvalidValue(InvalidInput):
    """A feature's value is not what its datatype allows. ``row`` counts from 0."""

    def __init__(self, row: int, name: str, value: object, expected: str) -> None:
        SlipwayError.__init__(self, row, name, value, expected)
        self.row, self.name, self.value, self.expected = row, name, value, expected

    def __str__(self) -> str:
        return f"row {self.row}: feature {self.name!r} must be {self.expected}, got {_short(self.value)}"


class InvalidImage(InvalidInput):
    """Bytes that are no image, or an image that is refused. ``file`` is a name or a position."""

    def __init__(self, file: str, reason: str) -> None:
        SlipwayError.__init__(self, file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class BatchTooLarge(InvalidInput):
    """More rows than the model takes in one request."""

    def __init__(self, model: str, rows: int, limit: int) -> None:
        SlipwayError.__init__(self, model, rows, limit)
        self.model, self.rows, self.limit = model, rows, limit

    def __str__(self) -> str:
        return (
            f"{self.rows} rows are more than model {self.model!r} takes in one request ({self.limit}); "
            f"send at most {self.limit}, or use predict, which splits and joins them"
        )


class ModelNotFound(SlipwayError):
    """Triton serves no such model, or not that version."""

    def __init__(self, model: str, version: str = "", available: Sequence[str] = ()) -> None:
        super().__init__(model, version, tuple(available))
        self.model, self.version, self.available = model, version, tuple(available)

    def __str__(self) -> str:
        which = (
            f"model {self.model!r} has no live version {self.version!r}"
            if self.version
            else (f"no model {self.model!r} is served")
        )
        close = get_close_matches(self.model, self.available, n=1, cutoff=0.5)
        if not self.version and close:
            return f"{which}; did you mean {close[0]!r}?"
        offered = f"; available: {', '.join(self.available)}" if self.available else ""
        return which + offered


class WrongTask(SlipwayError):
    """The model exists and cannot do what was asked."""

    def __init__(self, model: str, asked: str, instead: str) -> None:
        super().__init__(model, asked, instead)
        self.model, self.asked, self.instead = model, asked, instead

    def __str__(self) -> str:
        return f"model {self.model!r} cannot {self.asked}; {self.instead}"


class ServerUnavailable(SlipwayError):
    """Nothing answers at the address, or it is shutting down."""

    def __init__(self, address: str, reason: str = "") -> None:
        super().__init__(address, reason)
        self.address, self.reason = address, reason

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"no Triton answers at {self.address}{why}; start one with: slipway up"


class DeadlineExceeded(SlipwayError):
    """No answer within the deadline."""

    def __init__(self, what: str, deadline_s: float) -> None:
        super().__init__(what, deadline_s)
        self.what, self.deadline_s = what, deadline_s

    def __str__(self) -> str:
        return f"{self.what} did not answer within {self.deadline_s:g} s"


class InferenceFailed(SlipwayError):
    """Triton took the request and could not compute it."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(model, reason)
        self.model, self.reason = model, reason

    def __str__(self) -> str:
        return f"model {self.model!r} failed: {self.reason}"


class WorkerDied(InferenceFailed):
    """The model's Python worker is dead; Triton still calls the model ready and a reload revives it."""

    def __init__(self, model: str) -> None:
        SlipwayError.__init__(self, model)
        self.model, self.reason = model, "its worker process died and is being restarted; try again in a few seconds"


class UnsupportedByServer(SlipwayError):
    """Triton cannot do that."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Overloaded(SlipwayError):
    """The model's queue is full; the request was not run and may be sent again."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(model, reason)
        self.model, self.reason = model, reason

    def __str__(self) -> str:
        return f"model {self.model!r} takes no more requests now ({self.reason}); try again later"


class ExportFailed(SlipwayError):
    """A model could not be converted."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(model, reason)
        self.model, self.reason = model, reason

    def __str__(self) -> str:
        return f"cannot export {self.model!r}: {self.reason}"


class ParityFailed(ExportFailed):
    """The converted model answers differently from its source; nothing was published.

    ``difference`` and ``allowed`` are absolute, in the output's unit, at the worst element.
    """

    def __init__(self, model: str, output: str, batch: int, sample: int, difference: float, allowed: float) -> None:
        SlipwayError.__init__(self, model, output, batch, sample, difference, allowed)
        self.model, self.output, self.batch, self.sample = model, output, batch, sample
        self.difference, self.allowed = difference, allowed

    def __str__(self) -> str:
        return (
            f"{self.model!r} was not published: output {self.output!r} differs from the source model's by "
            f"{self.difference:.3g} at sample {self.sample} (batch {self.batch}), allowed is {self.allowed:.3g}; "
            "look at the conversion, or raise [tolerance] in the card if that is acceptable"
        )


class SourceNotFound(ExportFailed):
    """The trained model's file is not there."""

    def __init__(self, model: str, path: str, remedy: str) -> None:
        SlipwayError.__init__(self, model, path, remedy)
        self.model, self.path, self.remedy = model, path, remedy

    def __str__(self) -> str:
        return f"cannot export {self.model!r}: {self.path} does not exist; {self.remedy}"


class UntrustedSource(ExportFailed):
    """The trained model's file holds types outside the allow-list; nothing of it was run."""

    def __init__(self, model: str, path: str, types: Sequence[str], remedy: str = "") -> None:
        SlipwayError.__init__(self, model, path, tuple(types), remedy)
        self.model, self.path, self.types, self.remedy = model, path, tuple(types), remedy

    def __str__(self) -> str:
        told = f"cannot export {self.model!r}: {self.path} holds types that are not trusted: {', '.join(self.types)}"
        return f"{told}; {self.remedy}" if self.remedy else told


class PublishFailed(SlipwayError):
    """The version could not be written; whatever was published before is untouched."""

    def __init__(self, model: str, version: int, reason: str) -> None:
        super().__init__(model, version, reason)
        self.model, self.version, self.reason = model, version, reason

    def __str__(self) -> str:
        return f"{self.model}/{self.version} was not published: {self.reason}; what was published before is untouched"


class ContractChanged(PublishFailed):
    """Inputs, outputs or labels differ from the published ones; clients of the old version would break."""

    def __init__(self, model: str, version: int, what: str, published: str, new: str) -> None:
        SlipwayError.__init__(self, model, version, what, published, new)
        self.model, self.version = model, version
        self.what, self.published, self.new = what, published, new

    def __str__(self) -> str:
        return (
            f"{self.model}/{self.version} was not published: its {self.what} would change from {self.published} "
            f"to {self.new}, which breaks clients; publish it under another model name"
        )


class RepositoryBroken(SlipwayError):
    """A model repository that Triton would not serve."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class CannotServe(SlipwayError):
    """This machine or this configuration cannot run Triton now."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason, self.remedy = reason, remedy

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


class TrainingFailed(SlipwayError):
    """The recipe cannot use its data."""

    def __init__(self, recipe: str, reason: str) -> None:
        super().__init__(recipe, reason)
        self.recipe, self.reason = recipe, reason

    def __str__(self) -> str:
        return f"cannot train {self.recipe!r}: {self.reason}"


class MissingExtra(SlipwayError):
    """An optional part of slipway is not installed."""

    def __init__(self, doing: str, module: str, extra: str) -> None:
        super().__init__(doing, module, extra)
        self.doing, self.module, self.extra = doing, module, extra

    def __str__(self) -> str:
        return f'{self.doing} needs {self.module}: pip install "slipway[{self.extra}]"'
