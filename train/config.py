"""What a training run is made of: its settings, and the model sizes. No torch here, so a
configuration is checked quickly."""

import typing
from dataclasses import dataclass, replace
from typing import Literal

# Logits that the loss holds at once on a GPU (train/cross_entropy.py): 4,096 rows of 32,000 pieces
# in 16 bits. A matrix product wants thousands of rows; all of a batch's would be gigabytes.
LOSS_CHUNK_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Model:
    """The shape of a transformer. Heads have dim / n_heads dimensions; `hidden` is the width inside
    SwiGLU."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    """Key/value heads; a divisor of n_heads (grouped-query attention, Ainslie et al. 2023, arXiv
    2305.13245)."""
    hidden: int
    vocab_size: int = 32000
    rope_theta: float = 10000.0
    qk_norm: bool = False
    """RMSNorm on each query and key head (Dehghani et al. 2023, arXiv 2302.05442, section 2)."""
    tied_embeddings: bool = False
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.dim % (2 * self.n_heads):
            raise ValueError(f"dim: {self.dim} is not an even multiple of {self.n_heads} heads")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads: {self.n_kv_heads} does not divide {self.n_heads} heads")

    @property
    def head_dim(self) -> int:
        return self.dim // self.n_heads


# llama_*: Touvron et al. 2023 (arXiv 2302.13971), table 2, with SwiGLU's 2/3 of 4 dim rounded up to
# 256 (section 2.2). 125m to 2.7b: width and depth of GPT-3's (Brown et al. 2020, arXiv 2005.14165,
# table 2.1), whose 2.7B has 32 heads of 80: of 128 here, which fill the attention's tiles. Small
# ones tie the embeddings, which would be most of their parameters.
PRESETS: dict[str, Model] = {
    "tiny": Model(
        dim=128, n_layers=4, n_heads=4, n_kv_heads=2, hidden=352, qk_norm=True, tied_embeddings=True
    ),
    "10m": Model(
        dim=320, n_layers=8, n_heads=5, n_kv_heads=5, hidden=896, qk_norm=True, tied_embeddings=True
    ),
    "60m": Model(
        dim=640,
        n_layers=12,
        n_heads=10,
        n_kv_heads=10,
        hidden=1792,
        qk_norm=True,
        tied_embeddings=True,
    ),
    "125m": Model(
        dim=768, n_layers=12, n_heads=12, n_kv_heads=12, hidden=2048, tied_embeddings=True
    ),
    "350m": Model(dim=1024, n_layers=24, n_heads=16, n_kv_heads=16, hidden=2816),
    "1.3b": Model(dim=2048, n_layers=24, n_heads=16, n_kv_heads=16, hidden=5632),
    "2.7b": Model(dim=2560, n_layers=32, n_heads=20, n_kv_heads=20, hidden=6912),
    "llama_7b": Model(dim=4096, n_layers=32, n_heads=32, n_kv_heads=32, hidden=11008),
    "llama_13b": Model(dim=5120, n_layers=40, n_heads=40, n_kv_heads=40, hidden=13824),
    "llama_33b": Model(dim=6656, n_layers=60, n_heads=52, n_kv_heads=52, hidden=17920),
    "llama_65b": Model(dim=8192, n_layers=80, n_heads=64, n_kv_heads=64, hidden=22016),
}


@dataclass(frozen=True, kw_only=True)
class Train:
    """A training run on packed rows."""

    preset: str = "tiny"
    """The model's size; its vocabulary is that of the packed rows."""
    steps: int = 100
    batch_rows: int = 4
    """Packed rows a step, over all micro-batches."""
    micro_rows: int | None = None
    """Rows held in memory at once, a divisor of batch_rows; all of them if not given."""
    first_batch_rows: int = 0
    """Rows of the first step's batch, which grows in multiples of it to batch_rows; 0: no ramp."""
    batch_ramp_steps: int = 0
    """The step from which batches have all their rows."""
    first_sequence_length: int = 0
    """At which rows are cut at first, growing in multiples of it to whole rows; 0: never cut."""
    length_ramp_steps: int = 0
    """The step from which rows are whole."""
    learning_rate: float = 3e-3
    """At the end of the warm-up; it then falls to final_fraction of it."""
    warmup_steps: int = 10
    final_fraction: float = 0.1
    schedule: Literal["cosine", "wsd"] = "cosine"
    """wsd (warm-up, stable, decay): the peak until the last decay_fraction of the steps, then a
    straight line down (Haegele et al. 2024, arXiv 2405.18392, section 3)."""
    decay_fraction: float = 0.1
    optimizer: Literal["adamw", "adafactor", "muon"] = "adamw"
    """muon: the matrices inside the blocks by Muon, scaled to AdamW's update size so that the
    learning rate is the same; the embeddings, the output and the norms by AdamW."""
    weight_decay: float = 0.1
    """On matrices only."""
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm; inf: they never are."""
    z_loss: float = 0.0
    """Weight of log(Z)^2, which keeps logits from drifting; 1e-4 in PaLM (Chowdhery et al. 2022,
    arXiv 2204.02311, section 5)."""
    embedding_gradient: float = 1.0
    """The embedding's gradient is multiplied by it; 0.1 in GLM-130B (Zeng et al. 2022, arXiv
    2210.02414, section 2.2), against spikes."""
    seed: int = 0
    """Of the first weights and of the order of the rows."""
    attention: Literal["reference", "sdpa", "triton", "flex", "varlen"] = "sdpa"
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """bf16, fp16: products in it by autocast; weights, sums and the optimizer stay in float32. fp16
    scales the loss so that small gradients do not vanish, and leaves out steps that overflow."""
    activation_checkpointing: bool = False
    """Blocks are computed again in the backward pass instead of kept: a third more arithmetic, the
    activations of one block instead of all."""
    compile: bool = False
    """torch.compile on each block, around the attention."""
    workers: int = 1
    """Ranks that `corpusmill train` starts on Ray, each with a core, or with a GPU if device is
    "cuda". torchrun says it by itself."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Of several ranks. ddp: every rank holds all; fsdp: FSDP2, weights and optimizer sharded."""
    tensor_parallel: int = 1
    """Consecutive ranks that share the heads and the width of every block (Shoeybi et al. 2019,
    arXiv 1909.08053, section 3); each of them reads the same rows. For models, or rows, that one
    device cannot hold: it sends activations twice a block, so keep it within a node. Several such
    groups want parallel = "fsdp"."""
    zero_stage: int = 3
    """With fsdp. 1: the optimizer's state is sharded; 2: gradients too, reduced after every
    micro-batch; 3: weights too, gathered a block at a time (Rajbhandari et al. 2020, arXiv
    1910.02054). 1 and 2 keep the gathered weights from the forward to the backward pass."""
    max_spike_z: float = 0.0
    """A robust z-score of the loss or of the gradient norm above it rolls the run back to an
    earlier checkpoint, and the rows of the spike are not read again; 0: off. 10 leaves ordinary
    noise alone."""
    spike_window: int = 64
    """Steps that a step is compared with; none is judged before half of them are there."""
    spike_steps: int = 4
    """Rows of so many steps up to the spike are left out."""
    max_spikes: int = 20
    """The run stops at one more: its data is not the trouble."""
    peak_tflops: float | None = None
    """Of the device in this precision, for the MFU; known for some GPUs if not given."""
    threads: int | None = None
    """CPU threads of torch, which resume needs unchanged to be bit-exact; torch's choice if not
    given."""
    tensorboard: bool = True
    """The numbers of metrics.jsonl as event files too, in tensorboard/."""
    eval_every: int = 50
    """Steps between evaluations, where held-out rows are given; the last step always has one."""
    eval_rows: int = 64
    """Held-out rows of each set that an evaluation reads."""
    checkpoint_every: int = 50
    """Steps between checkpoints; the last step always has one."""
    keep_checkpoints: int = 2
    """Older ones are deleted."""

    def __post_init__(self) -> None:
        _check_types(self)
        if self.preset not in PRESETS:
            raise ValueError(
                f"preset: no such preset {self.preset!r}; there are {', '.join(PRESETS)}"
            )
        for name in (
            "steps",
            "batch_rows",
            "eval_every",
            "eval_rows",
            "checkpoint_every",
            "keep_checkpoints",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        if self.micro_rows is not None and (
            self.micro_rows < 1 or self.batch_rows % self.micro_rows
        ):
            raise ValueError(
                f"micro_rows: {self.micro_rows} does not divide batch_rows ({self.batch_rows})"
            )
        if self.first_batch_rows and self.batch_rows % self.first_batch_rows:
            raise ValueError(
                f"first_batch_rows: {self.first_batch_rows} does not divide "
                f"batch_rows ({self.batch_rows})"
            )
        for first, steps in (
            ("first_batch_rows", "batch_ramp_steps"),
            ("first_sequence_length", "length_ramp_steps"),
        ):
            if min(getattr(self, first), getattr(self, steps)) < 0:
                raise ValueError(f"{first}, {steps}: one of them is below 0")
            if bool(getattr(self, first)) != bool(getattr(self, steps)):
                raise ValueError(f"{first}, {steps}: a ramp needs both of them")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads: {self.threads} is below 1")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(
                f"warmup_steps: {self.warmup_steps} is not within 0..steps ({self.steps})"
            )
        for name in ("learning_rate", "epsilon", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        self._check_options()

    def _check_options(self) -> None:
        for name, low, high in (
            ("beta1", 0.0, 1.0),
            ("beta2", 0.0, 1.0),
            ("decay_fraction", 0.0, 1.0),
            ("final_fraction", 0.0, 1.0),
            ("embedding_gradient", 0.0, 1.0),
            ("z_loss", 0.0, 1.0),
            ("zero_stage", 1, 3),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: {getattr(self, name)} is not within {low}..{high}")
        for name, low in (
            ("seed", 0),
            ("weight_decay", 0),
            ("max_spike_z", 0),
            ("spike_window", 4),
            ("spike_steps", 1),
            ("max_spikes", 0),
        ):
            if getattr(self, name) < low:
                raise ValueError(f"{name}: {getattr(self, name)} is below {low}")
        if self.peak_tflops is not None and not self.peak_tflops > 0:
            raise ValueError(f"peak_tflops: {self.peak_tflops} is not above 0")
        self._check_parallel()

    def _check_parallel(self) -> None:
        shape, n = PRESETS[self.preset], self.tensor_parallel
        for name in ("tensor_parallel", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        if self.workers > 1 and self.workers % n:
            raise ValueError(f"workers: {self.workers} is not a multiple of tensor_parallel ({n})")
        for name in ("n_heads", "n_kv_heads", "hidden"):
            if getattr(shape, name) % n:
                raise ValueError(
                    f"tensor_parallel: {n} does not divide {name} of {self.preset} "
                    f"({getattr(shape, name)})"
                )
        if self.optimizer == "adafactor" and (self.parallel == "fsdp" or n > 1):
            raise ValueError(
                "optimizer: adafactor's row and column means are not sharded; use adamw or muon "
                'with fsdp and tensor_parallel, or parallel = "ddp" alone'
            )

    def model(self, vocab_size: int) -> Model:
        return replace(PRESETS[self.preset], vocab_size=vocab_size)


def _check_types(config: Train) -> None:
    """What was given in a file, or by a program, is of the field's type; a whole number passes for
    any number."""
    for name, hint in typing.get_type_hints(Train).items():
        value, options = getattr(config, name), typing.get_args(hint)
        if typing.get_origin(hint) is Literal:
            if value not in options:
                raise ValueError(f"{name}: {value!r} is none of {', '.join(options)}")
            continue
        kinds = options or (hint,)  # of int | None both
        if float in kinds:
            kinds += (int,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{name}: {value!r} is no {kinds[0].__name__}")


def parameter_count(model: Model, embeddings: bool = True) -> int:
    """Weights of the model; without `embeddings`, the N of scaling laws (Kaplan et al. 2020, arXiv
    2001.08361, table 1)."""
    kv_dim = model.n_kv_heads * model.head_dim
    attention = 2 * model.dim * model.dim + 2 * model.dim * kv_dim
    norms = 2 * model.dim + (2 * model.head_dim if model.qk_norm else 0)
    total = model.n_layers * (attention + 3 * model.dim * model.hidden + norms) + model.dim
    tables = 1 if model.tied_embeddings else 2
    return total + (tables * model.vocab_size * model.dim if embeddings else 0)


def training_flops(model: Model, n_tokens: int, pairs: int) -> int:
    """Floating-point operations of a forward and a backward pass: 6 for each weight that multiplies
    a token (the output layer too, the embedding lookup not), and 12 D for each head and unmasked
    (query, key) pair.

    pairs: sum over documents of n (n + 1) / 2.
    """
    weights = parameter_count(model, embeddings=False) + model.vocab_size * model.dim
    return 6 * weights * n_tokens + 12 * model.n_layers * model.dim * pairs
