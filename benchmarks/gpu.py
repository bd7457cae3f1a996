"""This project on a GPU, in one command of under nine minutes: is it right, and how fast?

    python benchmarks/gpu.py                        # all parts, the most valuable first
    python benchmarks/gpu.py golden steps           # some
    python benchmarks/gpu.py --device cpu --quick   # tries the harness itself, at tiny sizes

Every row is printed when it is measured, and all of them lie in a JSON file (`--output`) after
each. A row or a part that breaks is one line, and the others go on. When the time is up no further
row begins. It needs a checkout, PyTorch with CUDA and the package's lighter dependencies: neither
MLflow, DVC, LPIPS nor Great Expectations.

| part | what |
|---|---|
| compile | the kernels of all that follows, on all cores at once: minutes, one after the other |
| golden | recorded numbers and gradients of generator and discriminator: Triton, matrices |
| parity | every nonlinearity of T and R, each way and precision, beside float64 on the CPU |
| steps | s/kimg and memory of T and R at 128, 256 and 256x128, the convolutions alone, the A100's |
| kernels | every nonlinearity beside the time that its inputs and outputs need |
| resnet | ResNet50 at 256x128: images/s, share of a large product and of the published peak |
| ranking | Market-1501's test set: ranked, re-ranked |
| encoder | its training step, and inversions |
| filters | images/s of the embedding and each filter |
| leg | what time is left: the starting generator goes on |
| layouts | only by name: channels_last, torch.compile |
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import gpu_reid
import gpu_stylegan3
import torch
from gpu_bench import Bench, TimeUp

from lookalike.config import Config
from lookalike.data.population import plan_crops, render_crops
from lookalike.stylegan3.starting_generator import PATH, POPULATION_SEED, train_starting_generator

SECONDS = 500  # of the nine minutes: a row that has begun ends after that
LEG_SECONDS = 40  # below which no leg is worth its start
TRIAL_STEPS = 40  # that tell how many more fit


def leg(bench: Bench, folder: Path) -> None:
    """The shipped starting generator, trained on for as long as there is time; written there."""
    persons, each = (4, 4) if bench.quick else (2000, 8)
    batch = 4 if bench.quick else 16
    gan = Config().gan.model_copy(update={"batch_size": batch, "micro_batch": batch})
    if not bench.quick and bench.left < LEG_SECONDS:
        raise TimeUp
    workers = 1 if bench.quick else None
    size = gan.height, gan.width
    crops = render_crops(POPULATION_SEED, persons, each, *size, workers=workers, progress=False)
    cameras = [shot.camera for shot in plan_crops(POPULATION_SEED, persons, each)]
    print("leg, images and seconds", flush=True)
    start, steps = PATH, 1 if bench.quick else TRIAL_STEPS
    for seed in (1, 2):
        output = folder / f"leg{seed}.safetensors"
        with bench.row(output.name) as row:
            began = time.perf_counter()
            train_starting_generator(
                gan.model_copy(update={"start": str(start)}),
                crops,
                cameras,
                output,
                total_images=steps * batch,
                seed=seed,
            )
            taken = time.perf_counter() - began
            bench.show(row, images=steps * batch, seconds=taken)
            print(flush=True)
        start, steps = output, int(0.8 * bench.left / taken * steps)
        if bench.quick or steps < TRIAL_STEPS:
            return


PARTS: dict[str, Callable[[Bench], None]] = {
    "compile": gpu_stylegan3.compile_kernels,
    "golden": gpu_stylegan3.golden,
    "parity": gpu_stylegan3.parity,
    "steps": gpu_stylegan3.steps,
    "kernels": gpu_stylegan3.kernels,
    "resnet": gpu_reid.resnet,
    "ranking": gpu_reid.ranking,
    "encoder": gpu_reid.encoder,
    "filters": gpu_reid.filters,
}
BY_NAME = {"layouts": gpu_stylegan3.layouts}  # take minutes of compiling


def main() -> None:
    """Run the parts asked for."""
    known = [*PARTS, "leg", *BY_NAME]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(known)}")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ..., or cpu for a trial")
    parser.add_argument("--precision", choices=("bf16", "fp16", "fp32"), default="bf16")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repeat")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which no row begins")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="the JSON file")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.parts) - set(known))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    dtype = dtypes[arguments.precision]
    bench = Bench(arguments.device, dtype, arguments.quick, arguments.seconds, arguments.output)
    if bench.cuda and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU; --device cpu --quick tries the harness")
    card = torch.cuda.get_device_name(bench.device) if bench.cuda else "CPU"
    way = gpu_stylegan3.way_in_use(bench)
    bench.about = {
        "card": card,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "precision": arguments.precision,
        "quick": arguments.quick,
        "nonlinearity": way,
    }
    print(f"{card}, PyTorch {torch.__version__}, {arguments.precision}, nonlinearity by {way}")
    works = PARTS | {"leg": lambda bench: leg(bench, arguments.output.parent)} | BY_NAME
    for part in arguments.parts or [*PARTS, "leg"]:
        bench.part, began = part, time.monotonic()
        print(f"\n{part}", flush=True)
        try:
            with bench.guarded("stopped"):
                works[part](bench)
        except TimeUp:
            print("time is up: this part is not, or not wholly, measured", flush=True)
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
        bench.keep()
    if bench.failed:
        raise SystemExit("\n".join(bench.failed))


if __name__ == "__main__":
    main()
