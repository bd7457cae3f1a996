"""The parameters as frozen, strict, documented types; their defaults are the profile `embedded`.

A parameter is a field here, with its default and its meaning, and nowhere else: files in
`profiles/` hold what differs, `params.yaml` holds the whole of the profile in use. Unknown keys,
wrong types and impossible combinations are errors that name the key. Every field that a stage reads
is a DVC parameter of that stage, so a change re-runs what it concerns and no more.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lookalike.errors import UserError
from lookalike.shares import split_by_share

# Bounds are those of what works, not of what makes sense.
Positive = Annotated[int, Field(gt=0, lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
SideLength = Annotated[int, Field(ge=8, le=4096)]  # a side of an image
Channels = Annotated[int, Field(gt=0, le=2**17)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1e9)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]*$", max_length=100)]
Group = Literal["coarse", "medium", "fine"]
Kind = Literal["persons", "variations"]  # of generated images
KINDS: tuple[Kind, ...] = get_args(Kind)
Source = Literal["rendered", "market1501", "dukemtmc", "msmt17", "csv", "folders"]
ARM_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"  # of a folder, and of DVC's stages
DATA_SET_NAME = r"[a-z0-9][a-z0-9-]*"  # of a data set beside the main one, which is "own"
# Of what autocast reduces. fp16 is for GPUs without bf16: reid and encoder scale their loss, gan
# clamps its activations instead. fp32 was once called "no", which many readers of YAML take for
# false.
Precision = Annotated[
    Literal["fp32", "bf16", "fp16"],
    BeforeValidator(lambda value: "fp32" if value is False or value == "no" else value),
]


class Section(BaseModel):
    """A strict, frozen block of parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, values: Any) -> Any:
        """Refuse `epochs: true` and `ranks: [true]`, which would otherwise be 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            items = value if isinstance(value, list | tuple) else [value]
            truths = [item for item in items if isinstance(item, bool)]
            field = cls.model_fields.get(name)
            kind = field.annotation if field else None
            if truths and _takes(kind, (int, float)) and not _takes(kind, (bool,)):
                raise ValueError(f"{name} is a number, not {str(truths[0]).lower()}")
        return values


def _takes(annotation: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a type is, or has among its alternatives, items or literals, one of these."""
    return (
        annotation in kinds
        or type(annotation) in kinds  # of a literal
        or any(_takes(part, kinds) for part in get_args(annotation))
    )


S = TypeVar("S", bound=Section)


class RenderedConfig(Section):
    """The population that `lookalike data render` draws when no real data is at hand."""

    seed: Count = 1
    train_persons: Positive = 120
    test_persons: Positive = 50
    images_per_person: Annotated[Positive, Field(ge=4)] = 10  # mean over persons
    distractors: Count = 60
    junk: Count = 60


class DataConfig(Section):
    """Where the images come from and which persons are held out for choosing the winner."""

    source: Source = "rendered"  # the layout of data/; see docs/datasets.md
    # Whether a published data set must have its published counts and crop size. false: other data
    # in the same layout. Sources without published figures do not look at it.
    as_published: bool = True
    # Further data sets by name: their train images lie in data/others/NAME, for arms that say so.
    others: dict[Annotated[str, Field(pattern=f"^{DATA_SET_NAME}$")], Source] = {}
    rendered: RenderedConfig | None = RenderedConfig()
    validation_persons: Positive = 16  # train identities held out; never test ones
    # What `validate` does with a bad image: stop, or leave it out and say so.
    on_problem: Literal["fail", "quarantine"] = "fail"


class ReidLossConfig(Section):
    """Cross-entropy over persons, and the metric losses that are added to it."""

    label_smoothing: Fraction = 0.0  # Szegedy et al. 2016
    # Batch-hard triplets (Hermans et al. 2017): the margin, or a soft one; null: none.
    triplet: Rate | Literal["soft"] | None = None
    centre: Weight = 0.0  # of the centre loss (Wen et al. 2016); 0: none
    circle: Weight = 0.0  # of the circle loss (Sun et al. 2020); 0: none


class ReidScheduleConfig(Section):
    """The learning rate over epochs of as many images as there are to train on."""

    warm_up: Weight = 0.8  # epochs of linear rise
    # To 0, or by 10 after each of these epochs.
    decay: Literal["cosine"] | tuple[Positive, ...] = "cosine"
    freeze: Weight = 0  # epochs in which the backbone stays as it was loaded


class ReidConfig(Section):
    """ResNet50 with a batch-normalised embedding and one output per person; its training."""

    height: SideLength = 48
    width: SideLength = 24
    weights: Literal["none", "resnet50-imagenet"] = "none"
    embedding_dim: Channels | None = 256  # of the fc layer; null: no such layer, ResNet50's 2048
    bnneck: bool = False  # batch norm without shift, classifier without bias (Luo et al. 2019)
    dropout: Annotated[Fraction, Field(lt=1)] = 0.2
    last_stride: Literal[1, 2] = 2  # 1 keeps layer4 at twice the resolution (Luo et al. 2019)
    pooling: Literal["average", "gem"] = "average"  # gem: generalised mean (Radenovic et al. 2018)
    # Instance norm on half of the channels of layers 1 to 3 (IBN-a, Pan et al. 2018).
    ibn: bool = False
    loss: ReidLossConfig = ReidLossConfig()
    epochs: Positive = 8
    batch_size: Positive = 64  # over all processes
    micro_batch: Positive = 64  # images at once; the scope of batch statistics and metric losses
    images_per_person: Positive | None = None  # in a batch, K of PK sampling; null: shuffled images
    erasing: Fraction = 0.0  # probability of random erasing (Zhong et al. 2020)
    optimizer: Literal["adam", "adamw"] = "adamw"  # adam adds the weight decay to the gradient
    learning_rate: Rate = 0.003
    weight_decay: Weight = 0.0005
    schedule: ReidScheduleConfig = ReidScheduleConfig()
    checkpoint_images: Positive = 3000
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.micro_batch < 2:
            raise ValueError("micro_batch must be 2 or more: batch norm compares images in it")
        if self.batch_size % self.micro_batch:
            raise ValueError("batch_size must be a multiple of micro_batch")
        if self.schedule.warm_up >= self.epochs:
            raise ValueError("schedule.warm_up must be shorter than epochs")
        if self.schedule.freeze and self.weights == "none":
            raise ValueError("schedule.freeze keeps loaded weights; there are none to keep")
        if self.images_per_person and self.micro_batch % self.images_per_person:
            raise ValueError("micro_batch must hold whole persons: multiples of images_per_person")
        if self.loss.triplet or self.loss.circle:
            images = self.images_per_person or 1
            if images < 2 or self.micro_batch < 2 * images:
                raise ValueError(
                    "loss.triplet and loss.circle compare images within a micro_batch: it must "
                    "hold at least two persons, and images_per_person must be 2 or more"
                )
        return self


Transform = Literal[
    "x-flip",
    "quarter-turn",
    "integer-shift",
    "scale",
    "rotation",
    "anisotropic-scale",
    "fractional-shift",
    "brightness",
    "contrast",
    "luma-flip",
    "hue",
    "saturation",
]
"""The "bgc" set of Karras et al. 2020 (Training GANs with Limited Data), in its order."""


class AdaConfig(Section):
    """Adaptive discriminator augmentation (Karras et al. 2020, sections 2 and 3)."""

    initial_p: Fraction = 0  # chance of each transform at the start
    target: Fraction | None = 0.6  # mean sign of the logits of real images; null leaves p as it is
    # In which p can move by 1: 500000 from scratch, 100000 in transfer learning.
    images: Positive = 100000
    max_p: Fraction = 0.8  # above 0.8 augmentations leak into the generated images
    # All but quarter turns, luma flips and hues, which make little sense of pedestrians.
    transforms: Annotated[tuple[Transform, ...], Field(min_length=1)] = (
        "x-flip",
        "integer-shift",
        "scale",
        "rotation",
        "anisotropic-scale",
        "fractional-shift",
        "brightness",
        "contrast",
        "saturation",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.initial_p > self.max_p:
            raise ValueError("initial_p must not be larger than max_p")
        return self


class GanConfig(Section):
    """StyleGAN3 and its training (Karras et al. 2021, 2020)."""

    # t: 3x3 convolutions. r: 1x1 convolutions and radial filters, so that details rotate with the
    # body too. The generator then has twice the channels named below, as published.
    config: Literal["t", "r"] = "t"
    # What the networks are told about an image, so that the generator can be asked for it.
    condition: Literal["none", "person", "camera"] = "camera"
    height: SideLength = 64
    width: SideLength = 32
    z_dim: Channels = 64
    w_dim: Channels = 64
    channel_base: Positive = 2048  # channels are this by the resolution, and at most the next
    channel_max: Channels = 96
    num_layers: Annotated[int, Field(gt=2, le=64)] = 8
    margin: Annotated[int, Field(gt=0, le=256)] = 4
    discriminator_channel_base: Positive = 2048
    discriminator_channel_max: Channels = 64
    # What the generator is trained against. stylegan: StyleGAN3's own discriminator. projected: one
    # on pretrained features (Sauer et al. 2021), which sees shapes at once and hardly minds
    # colours. both: the own one keeps the colours.
    discriminator: Literal["stylegan", "projected", "both"] = "both"
    projected_weight: Rate = 0.25  # of its part in the generator's loss, where there are both
    # A name of `lookalike weights`, a .safetensors file in its home, or "none".
    start: str = "starting-generator"
    # Layers counted from the input (Freeze-D, Mo et al. 2020), as in the original: the one that
    # reads the image, then three in each block.
    freeze_discriminator: Count = 0
    total_images: Positive = 800
    batch_size: Positive = 8
    micro_batch: Positive = 8
    generator_lr: Rate = 0.0025
    discriminator_lr: Rate = 0.002
    r1_gamma: Rate = 0.1
    r1_interval: Positive = 16
    ema_half_life: Rate = 1000  # images
    mirror: bool = True  # x-flips of real images
    ada: AdaConfig | None = None  # null: the discriminator sees images as they are
    snapshot_images: Positive = 400  # between two measurements of the distance and sample grids
    # Generated images per measurement, four at least; full: as many as there are real ones. The
    # real side is always the full train split.
    distance_samples: Annotated[Positive, Field(ge=4)] | Literal["full"] = 320
    distance_features: Literal["reid", "inception"] = "reid"
    checkpoint_images: Positive = 320
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        longer = max(self.height, self.width)
        if longer < 16:
            raise ValueError("the longer of height and width must be 16 or more")
        if min(self.channel_base, self.discriminator_channel_base) < 2 * longer:
            raise ValueError(
                "channel_base and discriminator_channel_base must be at least twice the longer of "
                "height and width, or the last layers have no channel"
            )
        if self.batch_size % self.micro_batch:
            raise ValueError("batch_size must be a multiple of micro_batch")
        start = PurePosixPath(self.start)
        if not self.start or start.is_absolute() or ".." in start.parts:
            raise ValueError("start must be a name, or a file in weights/, which DVC watches")
        group = min(4, self.batch_size)
        if self.micro_batch % group:
            raise ValueError(
                f"micro_batch must be a multiple of {group}: the discriminator compares images in "
                "groups of four, or of batch_size where that is smaller"
            )
        return self


class EncoderConfig(Section):
    """ReStyle-pSp on the frozen generator (Alaluf et al. 2021; Richardson et al. 2021)."""

    channels: Channels = 16  # width of the residual backbone's first stage
    steps: Positive = 2  # refinement steps, each a residual on the current latent
    total_images: Positive = 512
    batch_size: Positive = 4
    micro_batch: Positive = 4
    learning_rate: Rate = 0.002
    l2: Weight = 1.0
    lpips: Weight = 0.8
    lpips_backbone: Literal["random", "vgg16-imagenet", "alexnet-imagenet"] = "random"
    identity: Weight = 0.1
    latent_norm: Weight = 0.005  # keeps latents near w_avg, where the generator is good
    checkpoint_images: Positive = 160
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.micro_batch:
            raise ValueError("batch_size must be a multiple of micro_batch")
        if not (self.l2 or self.lpips or self.identity):
            raise ValueError("one of l2, lpips and identity must be above 0, or nothing is learnt")
        return self


class PersonsConfig(Section):
    """New persons from seeds."""

    count: Positive = 30
    images_per_person: Positive = 8
    first_seed: Count = 100000
    truncation_psi: Fraction = 0.8
    group: Group = "coarse"  # layers whose styles vary between a person's images
    # Share of a person's images made by interpolation instead of mixing.
    interpolation: Fraction = 0.2


class VariationsConfig(Section):
    """Variations of real train persons from their inversions."""

    images_per_person: Positive = 3
    truncation_psi: Fraction = 0.8  # of the styles that are mixed in
    group: Group = "coarse"
    interpolation: Fraction = 0.3  # share made by interpolating two inversions of the same person


class GenerateConfig(Section):
    """What is generated, and the size of the stored crops."""

    height: SideLength = 128
    width: SideLength = 64
    batch_size: Positive = 16
    persons: PersonsConfig = PersonsConfig()
    variations: VariationsConfig = VariationsConfig()


class Threshold(Section):
    """A score's lower bound: given, or read off real images by an allowed rejection rate."""

    value: Annotated[float, Field(gt=-1e9, lt=1e9)] | None = None
    rejection_rate: Fraction | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.value is None) == (self.rejection_rate is None):
            raise ValueError("give either value or rejection_rate")
        return self


class FilterConfig(Section):
    """The cascade: pedestrian detector, SSIM, identity, near-duplicates."""

    detector: Literal["hog", "yolov4-tiny"] = "hog"
    detector_threshold: Threshold = Threshold(rejection_rate=0.0645)
    # Against the person's first kept image (the study).
    ssim_threshold: Threshold = Threshold(rejection_rate=0.02)
    # Cosine to the person's centroid in re-ID features.
    identity_threshold: Threshold = Threshold(rejection_rate=0.05)
    # SSIM above which a twin is dropped.
    duplicate_similarity: Annotated[Fraction, Field(gt=0)] = 0.98

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("ssim_threshold", "identity_threshold"):
            value = getattr(self, name).value
            if value is not None and value > 1:
                raise ValueError(f"{name}.value is {value:g}, and no image has more than 1")
        return self


class ArmPolicy(Section):
    """How generated images take part in a training; see docs/arms.md. The defaults: like real ones.

    `batch_share`, `epochs` and `own_statistics` need real and generated images apart.
    """

    # What a generated image is taught as. person: its person_id, so a new person is a class of its
    # own and a variation has its source's. own: a variation has a class beside its source's, too.
    # uniform: every real class alike (LSRO, Zheng et al. 2017). soft: what the baseline takes it
    # for. consistency: what the model takes another view of it for (Laine and Aila 2017).
    label: Literal["person", "own", "uniform", "soft", "consistency"] = "person"
    weight: Weight = 1.0  # of a generated image's loss; a real one's is 1
    # Of each micro-batch, what is generated, in whole images (whole persons in PK sampling); an
    # epoch is then a pass over the real images. null: all in one pool.
    batch_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    # When they take part: from this epoch until before that one; null: always.
    epochs: tuple[Count, Positive] | None = None
    # Normalise them by batch statistics of their own, and keep them out of the running ones
    # (AdvProp, Xie et al. 2020, with one affine for both).
    own_statistics: bool = False

    @property
    def labelled(self) -> bool:
        """Whether generated images have a class."""
        return self.label in ("person", "own")

    def check(self, reid: ReidConfig) -> None:
        """Whether a training by this recipe can do it.

        Raises:
            ValueError: it cannot; says why.
        """
        if self.epochs and self.epochs[1] > reid.epochs:
            raise ValueError(f"epochs ends at {self.epochs[1]}, and reid.epochs is {reid.epochs}")
        if self.batch_share is None:
            if reid.images_per_person and not self.labelled:
                raise ValueError(
                    f"label: {self.label} leaves images without a person, and "
                    "reid.images_per_person draws persons; set batch_share to draw them apart"
                )
            return
        unit = reid.images_per_person or 1
        real, generated = split_by_share(reid.micro_batch, self.batch_share, unit)
        if min(real, generated) < 2:
            raise ValueError(
                f"batch_share: {self.batch_share:g} of reid.micro_batch ({reid.micro_batch}) makes "
                f"{real} real images and {generated} generated ones; each part needs two"
            )
        if (reid.loss.triplet or reid.loss.circle) and real < 2 * unit:
            raise ValueError(
                f"batch_share: {self.batch_share:g} leaves {real} real images in a "
                "reid.micro_batch, and loss.triplet and loss.circle compare two persons at least"
            )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.batch_share is None and (self.epochs or self.own_statistics):
            name = "epochs" if self.epochs else "own_statistics"
            raise ValueError(f"{name} needs batch_share, which draws generated images apart")
        if self.epochs and self.epochs[0] >= self.epochs[1]:
            raise ValueError("epochs is a window: the first one, and the first one after it")
        return self


class ArmImages(Section):
    """Which images an arm trains on."""

    # Of one kind, or of two: `dvc.yaml` watches the first and the last. [none]: real images only.
    images: Annotated[tuple[Literal["none"] | Kind, ...], Field(min_length=1)]
    # Data sets whose train images are the real ones: own (data/) and names of data.others.
    real: Annotated[tuple[str, ...], Field(min_length=1)] = ("own",)
    max_persons: Positive | None = None  # of each kind
    max_images_per_person: Positive | None = None

    @field_validator("images", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(f"is a list: write [{value}]")
        return value

    @field_validator("images")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) != len(set(value)) or ("none" in value and len(value) > 1):
            raise ValueError("name each kind once, or none alone")
        return value


class ArmConfig(ArmPolicy, ArmImages):
    """An augmentation arm: which generated images join the real ones, and how they take part."""

    @property
    def policy(self) -> ArmPolicy:
        """How they take part, alone."""
        return ArmPolicy(**self.model_dump(include=set(ArmPolicy.model_fields)))

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if "none" in self.images and self.policy != ArmPolicy():
            raise ValueError(
                f"images: [none] adds no generated images, and {', '.join(ArmPolicy.model_fields)} "
                "say how those take part; leave them out, or name images"
            )
        if self.label == "soft" and "own" not in self.real:
            raise ValueError(
                "label: soft comes from the baseline, which knows the persons of own alone; add "
                "own to real, or take another label"
            )
        return self


class EvaluateConfig(Section):
    """How models are measured; recorded with every result."""

    batch_size: Positive = 64
    flip: bool = False  # average the embeddings of an image and its mirror image
    # Also by k-reciprocal neighbours (Zhong et al. 2017), reported beside the rest.
    rerank: bool = False
    ranks: tuple[Positive, ...] = (1, 5, 10)  # beside 1, which the gates judge


class GatesConfig(Section):
    """Bounds of the promotion gates."""

    min_rank1: Fraction = 0.1
    min_map: Fraction = 0.1
    max_frechet: Rate = 2.0
    pass_rate: tuple[Fraction, Fraction] = (0.2, 0.999)  # band of the filter's pass rate
    min_camera_rank1: Fraction = 0.02
    # Better than the baseline arm by this to be chosen, not worse by it to be promoted.
    baseline_margin: Weight = 0.02
    champion_margin: Weight = 0.01  # how much worse than the champion rank-1 and mAP may be
    max_latency_ms: Rate = 500  # one image through the serving model
    max_size_mb: Rate = 200
    # What to do where there is no champion.
    first_champion: Literal["absolute-only", "never"] = "absolute-only"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pass_rate[0] > self.pass_rate[1]:
            raise ValueError("pass_rate is a band: the smaller bound comes first")
        return self


class RegistryConfig(Section):
    """Names in MLflow."""

    experiment: Name = "lookalike"
    model: Name = "lookalike-reid"
    # Whether `dvc exp run` may promote, as `dvc repro` does: for those who run everything with it.
    # It registers and judges either way, and changed parameters must be committed either way.
    promote_experiments: bool = False


class Config(Section):
    """Everything in params.yaml."""

    profile: Name = "embedded"
    seed: Count = 1
    data: DataConfig = DataConfig()
    reid: ReidConfig = ReidConfig()
    gan: GanConfig = GanConfig()
    encoder: EncoderConfig = EncoderConfig()
    generate: GenerateConfig = GenerateConfig()
    filter: FilterConfig = FilterConfig()
    arms: dict[Annotated[str, Field(pattern=f"^{ARM_NAME}$")], ArmConfig] = Field(
        default_factory=lambda: {
            "baseline": ArmConfig(images=("none",)),
            "persons": ArmConfig(images=("persons",)),
            "variations": ArmConfig(images=("variations",)),
        }
    )
    evaluate: EvaluateConfig = EvaluateConfig()
    gates: GatesConfig = GatesConfig()
    registry: RegistryConfig = RegistryConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.source == "rendered" and self.data.rendered is None:
            raise ValueError("data.rendered is needed with data.source: rendered")
        if self.arms.get("baseline") != ArmConfig(images=("none",)):
            raise ValueError("arms.baseline must be there, with images: [none] and real: [own]")
        if "own" in self.data.others:
            raise ValueError("data.others: own is the main data set; give the other another name")
        for arm, settings in self.arms.items():
            unknown = sorted({*settings.real} - {"own", *self.data.others})
            if unknown:
                known = ", ".join(["own", *self.data.others])
                raise ValueError(f"arms.{arm}.real: no data set {unknown[0]}; there is {known}")
            try:
                settings.check(self.reid)
            except ValueError as error:
                raise ValueError(f"arms.{arm}: {error}") from error
        rendered = self.data.rendered if self.data.source == "rendered" else None
        if rendered and rendered.train_persons <= self.data.validation_persons:
            raise ValueError(
                f"data.validation_persons ({self.data.validation_persons}) must leave some of the "
                f"{rendered.train_persons} of data.rendered.train_persons to train on"
            )
        return self


def read_yaml(path: Path) -> Any:
    """What is in a YAML file, as DVC reads it: YAML 1.2, where `no` and `off` are words.

    DVC writes parameters anew without the quotes that YAML 1.1 needs.

    Raises:
        UserError: the file is not YAML.
    """
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def load_config(path: Path) -> Config:
    """Read and check a parameter file; what it leaves out has its default.

    Raises:
        UserError: the file is missing or wrong; names every wrong key in one line.
    """
    if not path.is_file():
        raise UserError(f"no parameter file at {path}")
    values = read_yaml(path)
    return parse_config({} if values is None else values, path)  # an empty file is None


def parse_config(values: object, path: Path) -> Config:
    """Check parameters that were read from `path`.

    Raises:
        UserError: names every wrong key in one line.
    """
    return checked(Config, values, str(path))


def checked(kind: type[S], values: object, source: str) -> S:
    """Parameters of one kind, from a file or from options that `source` names.

    Raises:
        UserError: names every wrong key in one line.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors()))
        raise UserError(f"{source}: {problems}") from error


def _problem(found: ErrorDetails) -> str:
    """What is wrong where: of a key, or of a whole file or set of options without one."""
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] in ("model_type", "model_attributes_type"):
        reason = "must be keys with their values"
    else:
        reason = found["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason
