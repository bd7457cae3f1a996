"""The StyleGAN3 generator (Karras et al. 2021, section 3 and appendix C), configs T and R.

Styles modulate activations instead of weights: scale the input by the style, run one convolution
that the whole batch shares, scale the output by the demodulation coefficients. The numbers are
the same, without a grouped convolution with its own weights for every sample.

The running statistics (mean of w, magnitudes of the layers' inputs) are collected in one call
and applied in another, so that a trainer can average them over micro-batches and processes.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.design import GeneratorConfig, InputDesign, LayerDesign, build_design
from lookalike.stylegan3.filtered_lrelu import resampled_lrelu
from lookalike.stylegan3.filters import design_lowpass, design_radial_lowpass
from lookalike.stylegan3.layers import (
    ACTIVATION_CLAMP,
    EPSILON,
    LRELU_GAIN,
    LRELU_SLOPE,
    REDUCED_OCTAVES,
    LabelEmbedding,
    Linear,
    full_precision,
    reduced_dtype,
    rms_normalize,
    scale_channels,
)
from lookalike.stylegan3.resampling import Resampler, build_downsampler, build_upsampler

MAPPING_LR_MUL = 0.01
MAGNITUDE_HALF_LIFE = 20_000
"""Images after which a layer's old input magnitude counts half."""
IMAGE_GAIN = 0.25


class Mapping(nn.Module):
    """Maps latents z to intermediate latents w (Karras et al. 2021, appendix D: 2 layers).

    With classes, the label's embedding is appended to z, both of unit root mean square
    (Karras et al. 2020-ada).
    """

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.num_ws = config.num_ws
        self.embed = LabelEmbedding(config.c_dim, config.w_dim) if config.c_dim else None
        first = config.z_dim + (config.w_dim if config.c_dim else 0)
        widths = [first] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(
            Linear(a, b, lr_mul=MAPPING_LR_MUL, lrelu=True) for a, b in pairwise(widths)
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.pending: Tensor | None = None

    def forward(
        self,
        z: Tensor,
        truncation_psi: float = 1.0,
        collect_statistics: bool = False,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Map z [N, z_dim] to ws [N, num_ws, w_dim], the same w in every row.

        A conditional network needs ``labels``, int64 [N]; its mean of w is one over all classes.

        ``truncation_psi`` pulls w towards its mean (1 leaves it, 0 yields the mean).
        """
        with full_precision(z):
            w = rms_normalize(z.to(self.w_avg.dtype), (1,))
            if self.embed is not None:
                assert labels is not None
                w = torch.cat([w, self.embed(labels)], dim=1)
            for layer in self.layers:
                w = layer(w)
        if collect_statistics:
            self.pending = w.detach().mean(0)
        if truncation_psi != 1.0:
            w = self.w_avg.lerp(w, truncation_psi)
        return w.unsqueeze(1).repeat(1, self.num_ws, 1)


class FourierInput(nn.Module):
    """The spatially infinite input: sinusoids that w rotates and translates (section 3.2)."""

    frequencies: Tensor
    phases: Tensor
    transform: Tensor
    grid: Tensor

    def __init__(self, design: InputDesign, w_dim: int) -> None:
        super().__init__()
        self.design = design
        channels = design.channels
        # Uniform in the disc of radius bandwidth: a random direction, a radius by area.
        gauss = torch.randn(channels, 2)
        norm = gauss.norm(dim=1, keepdim=True)
        frequencies = gauss / norm * (-norm.square() / 4).exp() * design.bandwidth
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("grid", _pixel_centres(design), persistent=False)
        self.affine = Linear(w_dim, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.weight = nn.Parameter(torch.randn(channels, channels))

    def forward(self, w: Tensor, transform: Tensor | None = None) -> Tensor:
        """Map w [N, w_dim] to features [N, channels, height, width]."""
        user = self.transform if transform is None else transform
        with full_precision(w):
            matrix = _inverse_rigid_transform(self.affine(w)) @ user
            # f . (M x + t) = (f M) . x + f . t
            frequencies = self.frequencies @ matrix[:, :2, :2]
            phases = self.phases[:, None] + self.frequencies @ matrix[:, :2, 2:]
            # Frequencies that the transform pushes beyond the band would alias: fade them out.
            band = self.design.sampling_rate / 2 - self.design.bandwidth
            excess = (frequencies.norm(dim=2, keepdim=True) - self.design.bandwidth) / band
            # [N, C, 2] @ [2, H*W]
            waves = torch.sin(2 * torch.pi * (frequencies @ self.grid + phases))
            waves = waves * (1 - excess).clamp(0, 1)
            mixed: Tensor = (self.weight / self.design.channels**0.5) @ waves
        return mixed.view(*mixed.shape[:2], *self.design.size)


def _pixel_centres(design: InputDesign) -> Tensor:
    """Coordinates (x, y) of the samples, [2, height * width], 1 = the canvas's longer side."""
    height, width = design.size
    y = (torch.arange(height) + 0.5 - height / 2) / design.sampling_rate
    x = (torch.arange(width) + 0.5 - width / 2) / design.sampling_rate
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()])


def _inverse_rigid_transform(affine: Tensor) -> Tensor:
    """Matrices [N, 3, 3] from rows (cos, sin, x, y), divided by |(cos, sin)|."""
    cos, sin, x, y = (affine / affine[:, :2].norm(dim=1, keepdim=True)).unbind(1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1)
    translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1)
    return rotation.view(-1, 3, 3) @ translation.view(-1, 3, 3)


class SynthesisLayer(nn.Module):
    """Modulated convolution and filtered nonlinearity (section 3.2, figure 4b).

    ``reduced`` layers follow the caller's autocast in their convolution and in what they read and
    write; styles and filters, and all of the other layers, keep their parameters' precision.
    """

    magnitude_ema: Tensor

    def __init__(self, design: LayerDesign, w_dim: int, reduced: bool) -> None:
        super().__init__()
        self.design = design
        self.reduced = reduced
        k = design.conv_kernel
        self.affine = Linear(w_dim, design.in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(design.out_channels, design.in_channels, k, k))
        self.bias = nn.Parameter(torch.zeros(design.out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.pending: Tensor | None = None
        # On the device "meta", where networks have shapes only, filters would be the only weight.
        if not design.is_torgb and self.weight.device.type != "meta":
            self.up, self.down = (resampler.float() for resampler in _resamplers(design))

    def forward(self, x: Tensor, w: Tensor, collect_statistics: bool = False) -> Tensor:
        """Map x [N, in_channels, *in_size] and w [N, w_dim] to [N, out_channels, *out_size]."""
        full = self.weight.dtype
        dtype = reduced_dtype(self.weight) if self.reduced else full
        if collect_statistics:
            self.pending = x.detach().to(full).square().mean()
        with full_precision(w):
            if self.design.is_torgb:
                return self._to_rgb(x.to(full), w)
            style, output_gain, weight = self._modulation(w)
            x = scale_channels(x.to(dtype), style.to(dtype))
            x = nn.functional.conv2d(x, weight.to(dtype), padding=self.design.conv_kernel - 1)
            return resampled_lrelu(
                x, output_gain, self.bias, self.up, self.down, LRELU_SLOPE, ACTIVATION_CLAMP
            )

    def _modulation(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input scales [N, in_channels], output scales [N, out_channels], the shared weight."""
        weight = rms_normalize(self.weight, (1, 2, 3))
        # Normalised per sample: demodulation cancels the scale, and an image must not depend on
        # the others of its batch.
        style = rms_normalize(self.affine(w), (1,))
        energy = style.square() @ weight.square().sum((2, 3)).T
        return style, ((energy + EPSILON) * self.magnitude_ema).rsqrt(), weight

    def _to_rgb(self, x: Tensor, w: Tensor) -> Tensor:
        """Modulated 1x1 convolution without demodulation and nonlinearity."""
        gain = (self.magnitude_ema * self.design.in_channels).rsqrt()
        # With three outputs, weights per sample are cheaper than scaling the activations.
        weight = self.weight.flatten(1) * (self.affine(w) * gain).unsqueeze(1)
        rgb = torch.baddbmm(self.bias[:, None], weight, x.flatten(2))
        return rgb.view(*rgb.shape[:2], *x.shape[2:]).clamp(-ACTIVATION_CLAMP, ACTIVATION_CLAMP)


def _resamplers(design: LayerDesign) -> tuple[Resampler, Resampler]:
    rate = design.tmp_sampling_rate
    up_kernel = design_lowpass(design.up_taps, design.in_cutoff, design.in_half_width, rate)
    design_down = design_radial_lowpass if design.radial_down_filter else design_lowpass
    down_kernel = design_down(design.down_taps, design.out_cutoff, design.out_half_width, rate)
    height, width = (size + design.conv_kernel - 1 for size in design.in_size)
    up = build_upsampler(
        up_kernel,
        (height, width),
        design.up_factor,
        design.padding,
        gain=design.up_factor**2 * LRELU_GAIN,
    )
    down = build_downsampler(down_kernel, up.out_size, design.down_factor)
    assert down.out_size == design.out_size
    return up, down


class Synthesis(nn.Module):
    """From one w per layer to an image."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.design = build_design(config)
        self.input = FourierInput(self.design.input, config.w_dim)
        side = max(config.height, config.width)
        self.layers = nn.ModuleList(
            SynthesisLayer(layer, config.w_dim, layer.out_sampling_rate * 2**REDUCED_OCTAVES > side)
            for layer in self.design.layers
        )

    def forward(
        self, ws: Tensor, collect_statistics: bool = False, transform: Tensor | None = None
    ) -> Tensor:
        """Map ws [N, num_ws, w_dim] to images [N, 3, height, width], about -1 to 1.

        ``transform`` [3, 3] or [N, 3, 3] moves the image: it maps output to input coordinates
        (an inverse transform), one unit being the canvas's longer side.
        """
        x: Tensor = self.input(ws[:, 0], transform)
        for layer, w in zip(self.layers, ws.unbind(1)[1:], strict=True):
            x = layer(x, w, collect_statistics)
        return x * IMAGE_GAIN


class Generator(nn.Module):
    """Mapping and synthesis.

    ``state_dict`` holds the weights, ``w_avg``, the layers' ``magnitude_ema`` and the input's
    frequencies and phases; none of it depends on the canvas's size, so a checkpoint loads into
    any height and width with the same channels. ``classes`` names the labels of a conditional one.
    """

    def __init__(self, config: GeneratorConfig, classes: Classes | None = None) -> None:
        super().__init__()
        assert config.c_dim == (len(classes.names) if classes else 0)
        self.config, self.classes = config, classes
        self.num_ws = config.num_ws
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    def forward(
        self,
        z: Tensor,
        truncation_psi: float = 1.0,
        collect_statistics: bool = False,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Map z [N, z_dim], and labels if conditional, to images [N, 3, height, width]."""
        ws = self.mapping(z, truncation_psi, collect_statistics=collect_statistics, labels=labels)
        images: Tensor = self.synthesis(ws, collect_statistics)
        return images

    def pending_statistics(self) -> dict[str, Tensor]:
        """Take what the last forward pass with ``collect_statistics`` measured.

        Keys are names of buffers; values are the batch's mean w [w_dim] and the mean squares
        of the layers' inputs (scalars). Averages of these over equal parts of a batch equal the
        whole batch's.
        """
        statistics = {}
        for name, buffer, module in self._tracked():
            if module.pending is not None:
                statistics[f"{name}.{buffer}"] = module.pending
                module.pending = None
        return statistics

    @torch.no_grad()
    def apply_statistics(self, statistics: dict[str, Tensor], batch_size: int) -> None:
        """Move the running averages towards ``statistics``, measured over ``batch_size`` images.

        ``batch_size`` counts the images of all micro-batches and processes together.
        """
        magnitude_beta = 0.5 ** (batch_size / MAGNITUDE_HALF_LIFE)
        for name, value in statistics.items():
            beta = self.config.w_avg_beta if name.endswith("w_avg") else magnitude_beta
            self.get_buffer(name).lerp_(value, 1 - beta)

    def _tracked(self) -> list[tuple[str, str, Mapping | SynthesisLayer]]:
        tracked: list[tuple[str, str, Mapping | SynthesisLayer]] = []
        for name, module in self.named_modules():
            if isinstance(module, Mapping):
                tracked.append((name, "w_avg", module))
            elif isinstance(module, SynthesisLayer):
                tracked.append((name, "magnitude_ema", module))
        return tracked
