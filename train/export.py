"""A checkpoint as a Hugging Face model: config.json and model.safetensors.

    python -m train.export --checkpoint out/train/checkpoints/step-00000100 --out out/hf

It is a LlamaForCausalLM, or with QK-norm a Qwen3ForCausalLM, which is the same but for that norm.
The rotary layout is theirs (train.model.rotate), so no weight is permuted. safetensors is written
here: 8 bytes of the header's length, the header in JSON, the tensors one after another
(huggingface.co/docs/safetensors, format). The tokenizer is not in a checkpoint.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from train import checkpoint
from train.config import PRESETS, Model

DTYPES = {"float32": (torch.float32, "F32"), "bfloat16": (torch.bfloat16, "BF16")}
# Ours -> theirs, inside a block.
BLOCK_NAMES = {
    "attention_norm": "input_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_out": "self_attn.o_proj",
    "query_norm": "self_attn.q_norm",
    "key_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "mlp_out": "mlp.down_proj",
}
NAMES = {"embedding": "model.embed_tokens", "norm": "model.norm", "output": "lm_head"}


def export(path: str, out_dir: str, dtype: str = "float32") -> None:
    """Writes the model of a checkpoint into a directory, which must not be there yet. Raises
    ValueError for what is no checkpoint, and for one that was changed."""
    state_path = Path(path) / checkpoint.STATE_NAME
    if not state_path.exists():
        raise ValueError(f"{path}: no {checkpoint.STATE_NAME}; give a directory step-00000000")
    if Path(out_dir).exists():
        raise ValueError(f"{out_dir}: is there already; give a new directory")
    state = json.loads(state_path.read_text())
    tensors = {
        their_name(name.removeprefix("model.")): checkpoint.read_tensor(path, name, state)
        for name in sorted(state["tensors"])
        if name.startswith("model.")
    }
    shape = PRESETS[state["identity"]["preset"]]
    vocab_size = len(tensors["model.embed_tokens.weight"])
    config = hf_config(shape, vocab_size, state["identity"]["sequence_length"], dtype)
    place = Path(out_dir)
    temporary = place.with_name(f".tmp-{os.getpid()}-{place.name}")
    temporary.mkdir(parents=True)
    try:
        write_safetensors(temporary / "model.safetensors", tensors, dtype)
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        temporary.replace(place)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def their_name(name: str) -> str:
    module, _, last = name.rpartition(".")
    if module in NAMES:
        return f"{NAMES[module]}.{last}"
    blocks, number, inside = module.split(".")
    assert blocks == "blocks", name
    return f"model.layers.{number}.{BLOCK_NAMES[inside]}.{last}"


def hf_config(model: Model, vocab_size: int, sequence_length: int, dtype: str) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM" if model.qk_norm else "LlamaForCausalLM"],
        "model_type": "qwen3" if model.qk_norm else "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "hidden_size": model.dim,
        "initializer_range": 0.02,
        "intermediate_size": model.hidden,
        "max_position_embeddings": sequence_length,
        "num_attention_heads": model.n_heads,
        "num_hidden_layers": model.n_layers,
        "num_key_value_heads": model.n_kv_heads,
        "rms_norm_eps": model.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "rope_theta": model.rope_theta,  # where transformers before 5 looks
        "tie_word_embeddings": model.tied_embeddings,
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], dtype: str) -> None:
    kind, code = DTYPES[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        end = at + tensor.numel() * kind.itemsize
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.to(kind).contiguous().view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def main(arguments: list[str] | None = None) -> int:
    """A checkpoint as a Hugging Face model. Returns 0, or 1 with one line that says why not."""
    parser = argparse.ArgumentParser(prog="python -m train.export", description=main.__doc__)
    parser.add_argument("--checkpoint", required=True, help="a directory step-00000000")
    parser.add_argument("--out", required=True, help="a new directory")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    args = parser.parse_args(arguments)
    try:
        export(args.checkpoint, args.out, args.dtype)
    except (ValueError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
