"""Where every stage writes what: the files below `artifacts/`, for stages and readers alike.

`dvc.yaml` declares the same files; `tests/unit/test_artifacts.py` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lookalike.names import BASELINE


class File:
    """A file, or a folder of files, in the folder of the stage that it is asked of."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, made: Made, owner: object) -> Path:
        return made.folder / self.name


@dataclass(frozen=True)
class Made:
    """What a stage has made, or will."""

    folder: Path
    run = File("run.json")  # the MLflow run, the commit and the inputs' digests


class Prepared(Made):
    """Of `prepare`."""

    manifest = File("manifest.parquet")
    problems = File("problems.parquet")


class Validated(Made):
    """Of `validate`."""

    manifest = File("manifest.parquet")
    verdict = File("verdict.json")
    docs = File("docs")


class TrainedReid(Made):
    """Of `train_reid@ARM`."""

    model = File("model.safetensors")
    trained_on = File("trained_on.parquet")
    history = File("history.csv")
    validation = File("validation.csv")


class TrainedGan(Made):
    """Of `train_gan`."""

    generator = File("generator.safetensors")
    trained_on = File("trained_on.parquet")
    history = File("history.csv")
    headline = File("headline.json")
    transfer = File("transfer.json")
    samples = File("samples")


class TrainedEncoder(Made):
    """Of `train_encoder`."""

    encoder = File("encoder.safetensors")
    latents = File("latents.safetensors")  # of the train images, where they are optimised
    trained_on = File("trained_on.parquet")
    reconstructions = File("reconstructions.png")


class Generated(Made):
    """Of `generate@KIND`."""

    archive = File("images.zip")
    manifest = File("manifest.parquet")
    sheet = File("sheet.png")


class Filtered(Made):
    """Of `filter@KIND`."""

    manifest = File("manifest.parquet")
    baseline = File("baseline.txt")  # which baseline has judged the images
    scores = File("scores.parquet")
    summary = File("summary.json")
    headline = File("headline.json")
    rejection = File("rejection.csv")
    sheet = File("sheet.png")


class Evaluated(Made):
    """Of `evaluate@ARM`."""

    metrics = File("metrics.json")
    headline = File("headline.json")
    per_query = File("per_query.parquet")  # of the test persons
    validation = File("validation.parquet")  # the same of validation persons
    top_matches = File("top_matches.parquet")  # of every query, for pictures
    cmc = File("cmc.csv")
    ranked_lists = File("ranked_lists.png")
    activation = File("activation.png")
    similarities = File("similarities.png")
    embedding_map = File("embedding_map.png")


class Registered(Made):
    """Of `register`."""

    verdict = File("verdict.json")
    cmc = File("cmc.png")
    side_by_side = File("side_by_side.png")


@dataclass(frozen=True)
class Artifacts:
    """What the stages of one pipeline have made.

    Attributes:
        folder: relative to the repository root, as `dvc.lock` names it, or wherever else it lies.
    """

    folder: Path = Path("artifacts")

    def of(self, stage: str) -> Path:
        """The folder of a stage: `artifacts/train_reid/persons` for `train_reid@persons`."""
        return self.folder / stage.replace("@", "/")

    @property
    def code(self) -> Path:
        """A file for each stage: the files of code that it runs."""
        return self.of("code")

    @property
    def weights(self) -> Path:
        """A file for each stage that reads external weights: which ones."""
        return self.of("weights")

    @property
    def prepare(self) -> Prepared:
        """The data as they are."""
        return Prepared(self.of("prepare"))

    @property
    def validate(self) -> Validated:
        """The data that are accepted."""
        return Validated(self.of("validate"))

    def train_reid(self, arm: str) -> TrainedReid:
        """An arm's re-ID model."""
        return TrainedReid(self.of(f"train_reid@{arm}"))

    @property
    def baseline(self) -> TrainedReid:
        """The re-ID model on real images."""
        return self.train_reid(BASELINE)

    @property
    def train_gan(self) -> TrainedGan:
        """The generator."""
        return TrainedGan(self.of("train_gan"))

    @property
    def train_encoder(self) -> TrainedEncoder:
        """The encoder."""
        return TrainedEncoder(self.of("train_encoder"))

    def generate(self, kind: str) -> Generated:
        """All generated images of a kind."""
        return Generated(self.of(f"generate@{kind}"))

    def filter(self, kind: str) -> Filtered:
        """What was kept of a kind; of the kind `none`, nothing."""
        return Filtered(self.of(f"filter@{kind}"))

    def evaluate(self, arm: str) -> Evaluated:
        """How an arm's model does."""
        return Evaluated(self.of(f"evaluate@{arm}"))

    @property
    def register(self) -> Registered:
        """What the gates said."""
        return Registered(self.of("register"))

    def stage_of(self, file: Path) -> str:
        """Which stage has made a file: `train_reid@persons`."""
        stage = file.parent.relative_to(self.folder).as_posix().replace("/", "@")
        return "validate" if stage == "filter@none" else stage  # which writes that nothing was kept


ARTIFACTS = Artifacts()  # of the working directory, in which commands and stages run
