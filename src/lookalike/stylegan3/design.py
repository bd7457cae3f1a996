"""The generator's layer table (Karras et al. 2021, section 3.2 and appendix C).

Cutoffs and stopbands grow geometrically from layer to layer until the last ``num_critical``
layers are sampled critically. The table is computed for a square of side R = max(height, width);
a rectangular canvas changes the sizes per axis and nothing else, so weights fit any aspect ratio.

The paper's sampling rates are powers of two. Here they are R / 2^k, which is the same where R is a
power of two. Other sides need not be whole numbers of a layer's samples: its grid, which lies
centred around the canvas, is then a fraction of a sample larger. No filter moves the centre
(`_layer`), and the last layers are the canvas exactly.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything that determines the generator's shape.

    Raises ``ValueError`` if the canvas cannot be built.
    """

    height: int
    """Image height in pixels; any."""
    width: int
    """Image width in pixels; any. The longer side has MIN_SIDE at least."""
    z_dim: int = 512
    """Length of the input latent z."""
    w_dim: int = 512
    """Length of the intermediate latent w."""
    channel_base: int = 32768
    """Channels at cutoff fc are channel_base / (2 fc), at most ``channel_max``."""
    channel_max: int = 512
    """Upper bound of channels per layer."""
    num_layers: int = 14
    """Synthesis layers, input and ToRGB not counted."""
    margin: int = 10
    """Extra pixels around the canvas, in each layer's own pixels (paper: 10)."""
    num_critical: int = 2
    """Layers at the end that are sampled critically."""
    first_cutoff: float = 2.0
    """Cutoff of layer 0 in cycles per image side."""
    first_stopband: float = 2**2.1
    """Stopband of layer 0 in cycles per image side."""
    last_stopband_rel: float = 2**0.3
    """Stopband of the last layer relative to its cutoff."""
    radial: bool = False
    """Config R: 1x1 convolutions and radially symmetric downsampling filters; False is config T."""
    mapping_layers: int = 2
    """Fully connected layers from z to w."""
    w_avg_beta: float = 0.998
    """Decay of the running mean of w, per optimiser step."""
    c_dim: int = 0
    """Number of classes; 0 is unconditional."""

    def __post_init__(self) -> None:
        if min(self.height, self.width) <= 0 or max(self.height, self.width) < MIN_SIDE:
            raise ValueError(
                f"canvas {self.height}x{self.width}: the longer side must have at least "
                f"{MIN_SIDE} pixels, the shorter one must have some"
            )
        if max(self.num_layers, self.mapping_layers) > MAX_LAYERS:
            raise ValueError(
                f"num_layers ({self.num_layers}) and mapping_layers ({self.mapping_layers}) must "
                f"be at most {MAX_LAYERS}"
            )
        if self.num_layers <= self.num_critical:
            raise ValueError(
                f"num_layers ({self.num_layers}) must be larger than "
                f"num_critical ({self.num_critical})"
            )

    @property
    def num_ws(self) -> int:
        """Number of w vectors that the synthesis network takes: input, layers, ToRGB."""
        return self.num_layers + 2


@dataclass(frozen=True)
class InputDesign:
    """The Fourier-feature input."""

    channels: int
    size: tuple[int, int]
    """(height, width) in samples, margin included."""
    sampling_rate: float
    """Samples per image side."""
    bandwidth: float
    """Largest frequency, in cycles per image side."""


@dataclass(frozen=True)
class LayerDesign:
    """One row of the table. Sizes are (height, width); rates are in samples per image side."""

    in_channels: int
    out_channels: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    in_sampling_rate: float
    out_sampling_rate: float
    tmp_sampling_rate: float
    """Rate at which the nonlinearity runs."""
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    """Half of the transition band's width."""
    out_half_width: float
    conv_kernel: int
    up_factor: int
    down_factor: int
    up_taps: int
    """Length of the upsampling filter; 1 means none."""
    down_taps: int
    padding: tuple[int, int, int, int]
    """Left, right, top, bottom, at the temporary rate; negative crops."""
    is_torgb: bool
    is_critically_sampled: bool

    @property
    def radial_down_filter(self) -> bool:
        """Config R's radially symmetric filter; critically sampled layers stay separable."""
        return self.conv_kernel == 1 and not (self.is_critically_sampled or self.is_torgb)


@dataclass(frozen=True)
class Design:
    """The whole table: the input and ``num_layers + 1`` layers, the last of them ToRGB."""

    input: InputDesign
    layers: tuple[LayerDesign, ...]


@dataclass(frozen=True)
class _Band:
    """The signal between two layers."""

    cutoff: float
    half_width: float
    sampling_rate: float
    size: tuple[int, int]
    channels: int


MIN_SIDE = 16
"""Pixels of the longer side of the smallest canvas."""
MAX_LAYERS = 64
"""Published networks have 14. Each has filters, whose size is the canvas's and not the weights'."""
FILTER_TAPS_PER_FACTOR = 6
IMAGE_CHANNELS = 3


def build_design(config: GeneratorConfig) -> Design:
    """Compute the layer table of ``config``."""
    bands = [_band(config, i) for i in range(config.num_layers + 1)]
    first = bands[0]
    layers = [
        # Layer i turns the signal of band i-1 into band i; layer 0 keeps its band.
        _layer(config, i, bands[max(i - 1, 0)], bands[i])
        for i in range(config.num_layers + 1)
    ]
    return Design(
        input=InputDesign(
            channels=first.channels,
            size=first.size,
            sampling_rate=first.sampling_rate,
            bandwidth=first.cutoff,
        ),
        layers=tuple(layers),
    )


def _band(config: GeneratorConfig, i: int) -> _Band:
    side = max(config.height, config.width)
    last_cutoff = side / 2
    last_stopband = last_cutoff * config.last_stopband_rel
    exponent = min(i / (config.num_layers - config.num_critical), 1.0)
    cutoff = config.first_cutoff * (last_cutoff / config.first_cutoff) ** exponent
    stopband = config.first_stopband * (last_stopband / config.first_stopband) ** exponent
    rate = side * 2.0 ** math.ceil(math.log2(min(2 * stopband, side) / side))
    if i >= config.num_layers - 1:
        size = (config.height, config.width)
    else:
        size = (
            math.ceil(rate * config.height / side) + 2 * config.margin,
            math.ceil(rate * config.width / side) + 2 * config.margin,
        )
    channels = round(min(config.channel_base / 2 / cutoff, config.channel_max))
    return _Band(
        cutoff=cutoff,
        half_width=max(stopband, rate / 2) - cutoff,
        sampling_rate=rate,
        size=size,
        channels=IMAGE_CHANNELS if i == config.num_layers else channels,
    )


def _layer(config: GeneratorConfig, i: int, source: _Band, target: _Band) -> LayerDesign:
    is_torgb = i == config.num_layers
    conv_kernel = 1 if is_torgb or config.radial else 3
    rate = max(source.sampling_rate, target.sampling_rate) * (1 if is_torgb else 2)
    up = round(rate / source.sampling_rate)
    down = round(rate / target.sampling_rate)
    up_taps = FILTER_TAPS_PER_FACTOR * up if up > 1 else 1
    down_taps = FILTER_TAPS_PER_FACTOR * down if down > 1 else 1

    def pad(in_size: int, out_size: int) -> tuple[int, int]:
        # What the valid filters need to yield out_size samples, split so that centres stay put.
        # They do exactly, whatever the sizes: factors and taps are even, so total + up is odd.
        total = (out_size - 1) * down + 1 - (in_size + conv_kernel - 1) * up
        total += up_taps + down_taps - 2
        low = (total + up) // 2
        return low, total - low

    rows = pad(source.size[0], target.size[0])
    columns = pad(source.size[1], target.size[1])
    return LayerDesign(
        in_channels=source.channels,
        out_channels=target.channels,
        in_size=source.size,
        out_size=target.size,
        in_sampling_rate=source.sampling_rate,
        out_sampling_rate=target.sampling_rate,
        tmp_sampling_rate=rate,
        in_cutoff=source.cutoff,
        out_cutoff=target.cutoff,
        in_half_width=source.half_width,
        out_half_width=target.half_width,
        conv_kernel=conv_kernel,
        up_factor=up,
        down_factor=down,
        up_taps=up_taps,
        down_taps=down_taps,
        padding=(*columns, *rows),
        is_torgb=is_torgb,
        is_critically_sampled=i >= config.num_layers - config.num_critical,
    )
