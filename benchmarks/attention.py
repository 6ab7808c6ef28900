"""Packed causal attention on a GPU: our Triton kernel against FlexAttention, torch's varlen
FlashAttention and, as a ceiling, a plain matrix product. It needs torch, triton and numpy only.

    python -m benchmarks.attention [--tokens 65536] [--heads 16] [--kv-heads 16] [--dim 128]
    python -m benchmarks.attention --tune     every tile size, per kernel and mix: what to write
                                              into train/attention_triton.py: default_tiles
    python -m benchmarks.attention --compile  what the kernels become on Hopper; needs no GPU

TFLOP/s count unmasked (query, key) pairs only: 4 D a pair and head forward, 14 D for both passes (2
products forward, 5 backward, the convention of FlashAttention), whatever an implementation computes
beside them. Medians of CUDA events over `repeats` calls, inputs redrawn for each mix.
"""

import argparse
import json
import math
import platform
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from train.attention import attention, make_plan
from train.attention_plan import plan_of
from train.attention_triton import Tiles, default_tiles, triton_attention

# Tokens of the 330 real web pages of this project's benchmark data, quantiles 0, 1/40 ... 1 (BPE
# of 16,000 pieces).
WEB_QUANTILES = (
    111, 245, 304, 403, 491, 622, 693, 736, 820, 919, 1019, 1051, 1077, 1164, 1235, 1323, 1388,
    1416, 1497, 1577, 1628, 1720, 1826, 1911, 2045, 2183, 2285, 2438, 2542, 2650, 2930, 3112, 3417,
    3616, 3976, 4256, 4655, 5314, 6017, 8709, 20469,
)  # fmt: skip
PUBLISHED = {  # FlashAttention-3 on an H100 (Shah et al. 2024, arXiv 2407.08608, figures 5 and 6)
    "all 1k": {"forward": 365},
    "all 8k": {"forward": 685, "backward": 539},
}


def mixes(n_tokens: int) -> dict[str, list[int]]:
    """Document lengths that fill n_tokens, by name."""
    draw = np.random.default_rng(0)
    quantiles = np.array(WEB_QUANTILES, float)

    def filled(lengths: Callable[[], int]) -> list[int]:
        out: list[int] = []
        left = n_tokens
        while left:
            out.append(min(left, max(1, lengths())))
            left -= out[-1]
        return out

    def web() -> int:
        return int(np.interp(draw.random(), np.linspace(0, 1, len(quantiles)), quantiles))

    def mostly_short() -> int:
        return int(draw.integers(8, 256) if draw.random() < 0.9 else draw.integers(256, 4096))

    return {
        "all 8k": filled(lambda: 8192),
        "all 1k": filled(lambda: 1024),
        "web pages": filled(web),
        "90% under 256": filled(mostly_short),
    }


def time_ms(call: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each call, by CUDA events, after three to warm up."""
    for _ in range(3):
        call()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for start, end in events:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in events]


def inputs(lengths: list[int], heads: int, kv_heads: int, dim: int):
    generator = torch.Generator("cuda").manual_seed(len(lengths))
    T = sum(lengths)
    shapes = [(T, heads, dim), (T, kv_heads, dim), (T, kv_heads, dim), (T, heads, dim)]
    q, k, v, grad = (
        torch.randn(s, generator=generator, device="cuda", dtype=torch.bfloat16) for s in shapes
    )
    bounds = torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32, device="cuda")
    return [x.requires_grad_(True) for x in (q, k, v)], grad, bounds


def check(heads: int, kv_heads: int, dim: int) -> float:
    """The largest relative error of output and gradients against float64, on a small batch."""
    qkv, grad, cu_seqlens = inputs([1, 300, 127, 129, 700, 15], heads, kv_heads, dim)
    exact = [x.detach().double().requires_grad_(True) for x in qkv]
    out, expected = attention(*qkv, cu_seqlens, "triton"), attention(*exact, cu_seqlens)
    found = (out, *torch.autograd.grad(out, qkv, grad))
    wanted = (expected, *torch.autograd.grad(expected, exact, grad.double()))
    return relative_error(found, wanted)


def matmul_ceiling(repeats: int) -> float:
    """TFLOP/s of a large bf16 matrix product on random data."""
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * n**3 / statistics.median(time_ms(lambda: a @ b, repeats)) / 1e9


def measure(impl: str, lengths: list[int], args: argparse.Namespace) -> dict:
    qkv, grad, cu_seqlens = inputs(lengths, args.heads, args.kv_heads, args.dim)
    plan = make_plan(cu_seqlens, sum(lengths), impl)
    pairs = sum(n * (n + 1) // 2 for n in lengths)
    flops = args.heads * args.dim * pairs

    def forward() -> torch.Tensor:
        return attention(*qkv, cu_seqlens, impl, plan=plan)

    def both() -> object:
        return torch.autograd.grad(forward(), qkv, grad)

    with torch.no_grad():
        forward_ms = time_ms(forward, args.repeats)
    both_ms = time_ms(both, args.repeats)
    ahead, all_of_it = statistics.median(forward_ms), statistics.median(both_ms)
    return {
        "forward_ms": round(ahead, 4),
        "forward_spread": [round(min(forward_ms), 4), round(max(forward_ms), 4)],
        "both_ms": round(all_of_it, 4),
        "both_spread": [round(min(both_ms), 4), round(max(both_ms), 4)],
        "forward_tflops": round(4 * flops / ahead / 1e9, 1),
        "backward_tflops": round(10 * flops / max(all_of_it - ahead, 1e-9) / 1e9, 1),
        "both_tflops": round(14 * flops / all_of_it / 1e9, 1),
    }


# For bf16 and D of 64 or 128: what neither spills much in `compile_kernel` nor wants more shared
# memory than there is, of 69 sizes.
CANDIDATES = [
    Tiles(outer, inner, warps, stages, tma)
    for outer, inner, warps, stages in (
        (128, 64, 8, 2), (128, 64, 8, 3), (128, 64, 8, 4), (128, 128, 8, 2), (128, 128, 8, 3),
        (128, 32, 8, 2), (128, 32, 8, 3), (64, 64, 4, 2), (64, 64, 4, 3), (64, 64, 8, 2),
    )
    for tma in (False, True)
]  # fmt: skip
CANDIDATES += [
    size._replace(programs=programs)
    for size in CANDIDATES
    if size[:3] == (128, 64, 8) and size.stages < 4
    for programs in (1, 2)
]


def tune(args: argparse.Namespace) -> None:
    """Times each kernel over tile sizes, the backward ones as parts of the backward pass; prints
    the five best for every mix. A size that gives other numbers than the default is an error."""
    base = default_tiles(args.dim, 2)
    for mix, lengths in mixes(args.tokens).items():
        qkv, grad, cu_seqlens = inputs(lengths, args.heads, args.kv_heads, args.dim)
        plan = plan_of(cu_seqlens, sum(lengths))
        out = triton_attention(*qkv, plan, base)
        expected = [out.detach(), *torch.autograd.grad(out, qkv, grad)]
        for kernel in base:
            timed = []
            for size in CANDIDATES:
                try:
                    ms, found = try_tiles(kernel, {**base, kernel: size}, qkv, grad, plan)
                except Exception as error:  # a size that the chip has no room for
                    print(f"  {kernel} {tuple(size)}: {type(error).__name__}: {str(error)[:100]}")
                    continue
                if (error := relative_error(found, expected)) < 1e-2:
                    timed.append((ms, tuple(size)))
                else:
                    print(f"  {kernel} {tuple(size)}: WRONG, relative error {error:.1e}")
            best = ", ".join(f"{size} {ms:.3f}" for ms, size in sorted(timed)[:5])
            default = {size: ms for ms, size in timed}.get(tuple(base[kernel]), math.nan)
            print(f"{mix}: {kernel}: {best}; default {default:.3f}", flush=True)


def try_tiles(kernel: str, tiles: dict[str, Tiles], qkv, grad, plan) -> tuple[float, list]:
    """Milliseconds of the pass that the kernel is of; output and gradients."""
    out = triton_attention(*qkv, plan, tiles)
    found = [out.detach(), *torch.autograd.grad(out, qkv, grad, retain_graph=True)]
    if kernel == "forward":
        with torch.no_grad():
            times = time_ms(lambda: triton_attention(*qkv, plan, tiles), 5)
    else:
        times = time_ms(lambda: torch.autograd.grad(out, qkv, grad, retain_graph=True), 5)
    return statistics.median(times), found


def relative_error(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """The largest of the tensors."""
    pairs = zip(found, expected, strict=True)
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in pairs)


class Compiled(NamedTuple):
    """A kernel as ptxas leaves it, a thread's registers and spilled bytes; matrix products (HGMMA)
    and asynchronous copies (LDGSTS; by the copy engine UTMALDG) count instructions of the whole
    kernel."""

    registers: int
    spilled: int
    shared: int
    products: int
    copies: int
    bulk_copies: int


def compile_kernel(kernel: str, dim: int, size: Tiles) -> Compiled:
    """kernel: "forward", "keys", "queries"."""
    import triton

    from train import attention_kernels as kernels

    function = {
        "forward": kernels.forward,
        "keys": kernels.backward_keys,
        "queries": kernels.backward_queries,
    }[kernel]
    constants = {"D": dim, "BLOCK_D": triton.next_power_of_2(dim), "OUTER": size.outer}
    constants |= {"INNER": size.inner, "PRECISION": "tf32", "TMA": size.tma}
    constants["PERSISTENT"] = size.programs > 0
    types = dict.fromkeys(function.arg_names, "i32")
    types |= dict.fromkeys(("Q", "K", "V", "Out", "GradOut", "GradQ", "GradK", "GradV"), "*bf16")
    types |= dict.fromkeys(("Lse", "Delta"), "*fp32")
    types |= dict.fromkeys(("Begin", "End", "order"), "*i32") | {"scale": "fp32"}
    return compiled(function, types, constants, size.warps, size.stages)


def compile_cross_entropy(vocab_size: int) -> Compiled:
    from train import cross_entropy_triton as loss

    types = {"Logits": "*bf16", "Targets": "*i64", "Mask": "*i1", "z_loss": "fp32"}
    types |= dict.fromkeys(("Nll", "Loss"), "*fp32")
    constants = {"V": vocab_size, "BLOCK": loss.BLOCK, "WANTED": True}
    return compiled(loss.cross_entropy_rows, types, constants, loss.WARPS, 3)


def compiled(function, types: dict, constants: dict, warps: int, stages: int) -> Compiled:
    """For sm_90, by Triton's own ptxas and disassembler. types: of arguments, by name."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = function.arg_names
    types = types | dict.fromkeys(constants, "constexpr")
    aligned = [n for n in names if types[n].startswith("*") or n in ("T", "H", "G")]
    source = ASTSource(
        fn=function,
        signature={name: types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    options = {"num_warps": warps, "num_stages": stages}
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage = _output([str(tools / "cuobjdump"), "-res-usage", file.name])
        code = _output([str(tools / "nvdisasm"), file.name])
    return Compiled(
        int(re.findall(r"REG:(\d+)", usage)[0]),
        int(re.findall(r"STACK:(\d+)", usage)[0]),
        built.metadata.shared,
        len(re.findall(r"\bHGMMA\b", code)),
        len(re.findall(r"\bLDGSTS\b", code)),
        len(re.findall(r"\bUTMALDG\b", code)),
    )


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def compile_all(dims: Sequence[int] = (64, 128, 256)) -> None:
    """Prints every kernel with its default tiles, by pointers and by TMA, and a JSON line."""
    figures = {}
    for dim in dims:
        for kernel, default in default_tiles(dim, 2).items():
            for size in (default, default._replace(tma=True)):
                found = compile_kernel(kernel, dim, size)
                name = f"{kernel} {dim}{' tma' * size.tma}"
                figures[name] = {"tiles": size, **found._asdict()}
                print(
                    f"{name:15} {size.outer} x {size.inner}, {size.warps} warps, {size.stages} "
                    f"stages: {found.registers} registers, {found.spilled} bytes spilled, "
                    f"{found.shared / 1024:.0f} KiB shared, {found.products} HGMMA, "
                    f"{found.copies} LDGSTS, {found.bulk_copies} UTMALDG",
                    flush=True,
                )
    for vocab_size in (32000, 128256):
        found = compile_cross_entropy(vocab_size)
        name = f"cross-entropy {vocab_size}"
        figures[name] = found._asdict()
        print(f"{name}: {found.registers} registers, {found.spilled} bytes spilled", flush=True)
    print(json.dumps({"name": "attention_compile", "target": "sm_90", "figures": figures}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--kv-heads", type=int, default=16)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--impls", default="triton,flex,varlen")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", help="a file for the JSON line")
    args = parser.parse_args()
    if args.compile:
        compile_all()
        return
    if not torch.cuda.is_available():
        raise SystemExit("attention: needs a CUDA device; on a CPU the tests check the kernels")
    if args.tune:
        tune(args)
        return
    error = check(args.heads, args.kv_heads, args.dim)
    ceiling = matmul_ceiling(args.repeats)
    print(f"{torch.cuda.get_device_name()}: bf16 matrix product {ceiling:.0f} TFLOP/s")
    print(f"relative error against float64, output and gradients: {error:.1e} at most")
    figures: dict[str, dict] = {}
    for mix, lengths in mixes(args.tokens).items():
        figures[mix] = {}
        for impl in args.impls.split(","):
            try:
                figures[mix][impl] = one = measure(impl, lengths, args)
            except Exception as problem:  # a peer that this torch lacks must not hide the others
                print(f"{mix:14} {impl:8} {type(problem).__name__}: {str(problem)[:200]}")
                continue
            print(
                f"{mix:14} {impl:8} forward {one['forward_ms']:8.3f} ms "
                f"{one['forward_tflops']:6.1f} TFLOP/s "
                f"({one['forward_tflops'] / ceiling:.0%} of the product)   "
                f"backward {one['backward_tflops']:6.1f}   both {one['both_ms']:8.3f} ms",
                flush=True,
            )
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    line = json.dumps(
        {
            "name": "attention",
            "figures": figures,
            "ceiling_tflops": round(ceiling, 1),
            "error": error,
            "published": PUBLISHED,
            "settings": vars(args),
            "machine": torch.cuda.get_device_name(),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "commit": commit.stdout.strip(),
        }
    )
    if args.out:
        Path(args.out).write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
