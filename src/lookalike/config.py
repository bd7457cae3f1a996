"""`params.yaml` as frozen, strict, documented types.

Unknown keys, wrong types and impossible combinations are errors that name the key. Every field that
a stage reads is a DVC parameter of that stage, so a change re-runs what it concerns and no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lookalike.errors import UserError

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Group = Literal["coarse", "medium", "fine"]
Source = Literal["rendered", "market1501", "dukemtmc", "msmt17", "csv", "folders"]
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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class RenderedConfig(Section):
    """The population that `lookalike data render` draws when no real data is at hand."""

    seed: Count
    train_persons: Positive
    test_persons: Positive
    images_per_person: Positive  # mean over persons
    distractors: Count
    junk: Count


class DataConfig(Section):
    """Where the images come from and which persons are held out for choosing the winner."""

    source: Source  # the layout of data/; see docs/datasets.md
    # Whether a published data set must have its published counts and crop size. false: other data
    # in the same layout. Sources without published figures do not look at it.
    as_published: bool = True
    # Further data sets by name: their train images lie in data/others/NAME, for arms that say so.
    others: dict[Annotated[str, Field(pattern=f"^{DATA_SET_NAME}$")], Source] = {}
    rendered: RenderedConfig | None
    validation_persons: Positive  # train identities held out; never test ones
    # What `validate` does with a bad image: stop, or leave it out and say so.
    on_problem: Literal["fail", "quarantine"]


class ReidLossConfig(Section):
    """Cross-entropy over persons, and the metric losses that are added to it."""

    label_smoothing: Fraction  # Szegedy et al. 2016
    # Batch-hard triplets (Hermans et al. 2017): the margin, or a soft one; null: none.
    triplet: Rate | Literal["soft"] | None
    centre: Weight  # of the centre loss (Wen et al. 2016); 0: none
    circle: Weight  # of the circle loss (Sun et al. 2020); 0: none


class ReidScheduleConfig(Section):
    """The learning rate over epochs of as many images as there are to train on."""

    warm_up: Weight  # epochs of linear rise
    decay: Literal["cosine"] | tuple[Positive, ...]  # to 0, or by 10 after each of these epochs
    freeze: Weight  # epochs in which the backbone stays as it was loaded


class ReidConfig(Section):
    """ResNet50 with a batch-normalised embedding and one output per person; its training."""

    height: Positive
    width: Positive
    weights: Literal["none", "resnet50-imagenet"]
    embedding_dim: Positive | None  # of the fc layer; null: no such layer, ResNet50's 2048
    bnneck: bool  # batch norm without shift, classifier without bias (Luo et al. 2019)
    dropout: Fraction
    last_stride: Literal[1, 2]  # 1 keeps layer4 at twice the resolution (Luo et al. 2019)
    pooling: Literal["average", "gem"]  # gem: generalised mean (Radenovic et al. 2018)
    ibn: bool  # instance norm on half of the channels of layers 1 to 3 (IBN-a, Pan et al. 2018)
    loss: ReidLossConfig
    epochs: Positive
    batch_size: Positive  # over all processes
    micro_batch: Positive  # images at once; the scope of batch statistics and metric losses
    images_per_person: Positive | None  # in a batch, K of PK sampling; null: shuffled images
    erasing: Fraction  # probability of random erasing (Zhong et al. 2020)
    optimizer: Literal["adam", "adamw"]  # adam adds the weight decay to the gradient
    learning_rate: Rate
    weight_decay: Weight
    schedule: ReidScheduleConfig
    checkpoint_images: Positive
    precision: Precision

    @model_validator(mode="after")
    def _consistent(self) -> Self:
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

    initial_p: Fraction  # chance of each transform at the start
    target: Fraction | None  # mean sign of the logits of real images; null leaves p as it is
    images: Positive  # in which p can move by 1: 500000 from scratch, 100000 in transfer learning
    max_p: Fraction  # above 0.8 augmentations leak into the generated images
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
    config: Literal["t", "r"]
    # What the networks are told about an image, so that the generator can be asked for it.
    condition: Literal["none", "person", "camera"]
    height: Positive
    width: Positive
    z_dim: Positive
    w_dim: Positive
    channel_base: Positive
    channel_max: Positive
    num_layers: Positive
    margin: Positive
    discriminator_channel_base: Positive
    discriminator_channel_max: Positive
    start: str  # a name of `lookalike weights`, a .safetensors file in its home, or "none"
    # Layers counted from the input (Freeze-D, Mo et al. 2020), as in the original: the one that
    # reads the image, then three in each block.
    freeze_discriminator: Count
    total_images: Positive
    batch_size: Positive
    micro_batch: Positive
    generator_lr: Rate
    discriminator_lr: Rate
    r1_gamma: Rate
    r1_interval: Positive
    ema_half_life: Rate  # images
    mirror: bool  # x-flips of real images
    ada: AdaConfig | None  # null: the discriminator sees images as they are
    snapshot_images: Positive  # between two measurements of the distance and sample grids
    # Generated images per measurement, four at least; full: as many as there are real ones. The
    # real side is always the full train split.
    distance_samples: Annotated[int, Field(ge=4)] | Literal["full"]
    distance_features: Literal["reid", "inception"]
    checkpoint_images: Positive
    precision: Precision

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        group = min(4, self.batch_size)
        if self.micro_batch % group:
            raise ValueError(
                f"micro_batch must be a multiple of {group}: the discriminator compares images in "
                "groups of four, or of batch_size where that is smaller"
            )
        return self


class EncoderConfig(Section):
    """ReStyle-pSp on the frozen generator (Alaluf et al. 2021; Richardson et al. 2021)."""

    channels: Positive  # width of the residual backbone's first stage
    steps: Positive  # refinement steps, each a residual on the current latent
    total_images: Positive
    batch_size: Positive
    micro_batch: Positive
    learning_rate: Rate
    l2: Weight
    lpips: Weight
    lpips_backbone: Literal["random", "vgg16-imagenet", "alexnet-imagenet"]
    identity: Weight
    latent_norm: Weight  # keeps latents near w_avg, where the generator is good
    checkpoint_images: Positive
    precision: Precision


class PersonsConfig(Section):
    """New persons from seeds."""

    count: Positive
    images_per_person: Positive
    first_seed: Count
    truncation_psi: Fraction
    group: Group  # layers whose styles vary between a person's images
    interpolation: Fraction  # share of a person's images made by interpolation instead of mixing


class VariationsConfig(Section):
    """Variations of real train persons from their inversions."""

    images_per_person: Positive
    truncation_psi: Fraction  # of the styles that are mixed in
    group: Group
    interpolation: Fraction  # share made by interpolating two inversions of the same person


class GenerateConfig(Section):
    """What is generated, and the size of the stored crops."""

    height: Positive
    width: Positive
    batch_size: Positive
    persons: PersonsConfig
    variations: VariationsConfig


class Threshold(Section):
    """A score's lower bound: given, or read off real images by an allowed rejection rate."""

    value: float | None = None
    rejection_rate: Fraction | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.value is None) == (self.rejection_rate is None):
            raise ValueError("give either value or rejection_rate")
        return self


class FilterConfig(Section):
    """The cascade: pedestrian detector, SSIM, identity, near-duplicates."""

    detector: Literal["hog", "yolov4-tiny"]
    detector_threshold: Threshold
    ssim_threshold: Threshold  # against the person's first kept image (the study)
    identity_threshold: Threshold  # cosine to the person's centroid in re-ID features
    duplicate_similarity: Annotated[float, Field(gt=0, le=1)]  # SSIM above which a twin is dropped


class ArmConfig(Section):
    """An augmentation arm: which generated images join the real ones, under their person_id."""

    images: Literal["none", "persons", "variations"]
    # Data sets whose train images are the real ones: own (data/) and names of data.others.
    real: Annotated[tuple[str, ...], Field(min_length=1)] = ("own",)
    max_persons: Positive | None = None
    max_images_per_person: Positive | None = None


class EvaluateConfig(Section):
    """How models are measured; recorded with every result."""

    batch_size: Positive
    flip: bool  # average the embeddings of an image and its mirror image
    rerank: bool  # also by k-reciprocal neighbours (Zhong et al. 2017), reported beside the rest
    ranks: tuple[Positive, ...]


class GatesConfig(Section):
    """Bounds of the promotion gates."""

    min_rank1: Fraction
    min_map: Fraction
    max_frechet: Rate
    pass_rate: tuple[Fraction, Fraction]  # band of the filter's pass rate
    min_camera_rank1: Fraction
    champion_margin: Weight  # how much worse than the champion rank-1 and mAP may be
    max_latency_ms: Rate  # one image through the serving model
    max_size_mb: Rate
    first_champion: Literal["absolute-only", "never"]  # what to do where there is no champion


class RegistryConfig(Section):
    """Names in MLflow."""

    experiment: str
    model: str


class Config(Section):
    """Everything in params.yaml."""

    profile: str
    seed: Count
    data: DataConfig
    reid: ReidConfig
    gan: GanConfig
    encoder: EncoderConfig
    generate: GenerateConfig
    filter: FilterConfig
    arms: dict[str, ArmConfig]
    evaluate: EvaluateConfig
    gates: GatesConfig
    registry: RegistryConfig

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.source == "rendered" and self.data.rendered is None:
            raise ValueError("data.rendered is needed with data.source: rendered")
        if self.arms.get("baseline") != ArmConfig(images="none"):
            raise ValueError("arms.baseline must be there, with images: none and real: [own]")
        if "own" in self.data.others:
            raise ValueError("data.others: own is the main data set; give the other another name")
        for arm, settings in self.arms.items():
            unknown = sorted({*settings.real} - {"own", *self.data.others})
            if unknown:
                known = ", ".join(["own", *self.data.others])
                raise ValueError(f"arms.{arm}.real: no data set {unknown[0]}; there is {known}")
        for name in ("reid", "gan", "encoder"):
            section = getattr(self, name)
            if section.batch_size % section.micro_batch:
                raise ValueError(f"{name}.batch_size must be a multiple of {name}.micro_batch")
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
    """Read and check a parameter file.

    Raises:
        UserError: the file is missing or wrong; names every wrong key in one line.
    """
    try:
        return Config.model_validate(read_yaml(path))
    except FileNotFoundError as error:
        raise UserError(f"no parameter file at {path}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}"
            for e in error.errors()
        )
        raise UserError(f"{path}: {problems}") from error
