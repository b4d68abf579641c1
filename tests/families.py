"""Model families, each as a tiny random model. docs/models.md is held against this table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiny import tiny_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "n_inner": 48}
EXPERTS = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "decoder_sparse_step": 1,
    "shared_expert_intermediate_size": 16,
}
LATENT = {  # multi-head latent attention
    "head_dim": None,
    "num_key_value_heads": 4,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
}
DELTA = {  # gated delta nets
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
STATES = {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}
SLIDING = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
CONVOLVED = {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_multiple_of": 8}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
LONGROPE = {
    "max_position_embeddings": 512,
    "original_max_position_embeddings": 60,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0, 1.1, 1.3, 1.5],
        "long_factor": [1.0, 2.0, 4.0, 8.0],
        "original_max_position_embeddings": 60,
    },
}


@dataclass(frozen=True)
class Family:
    """A model type of transformers."""

    name: str
    """As the docs call it."""
    model_type: str
    way: str
    """How its batches are computed, see `semievol.local.ways`."""
    options: Mapping[str, Any] = field(default_factory=dict)


FAMILIES = [
    Family("Llama 1 to 3, Yi, Vicuna, SmolLM2", "llama", "tree"),
    Family("Mistral", "mistral", "padded", {"sliding_window": 8}),
    Family("Ministral 3", "ministral3", "tree"),
    Family("Qwen2, Qwen2.5", "qwen2", "tree"),
    Family("Qwen3", "qwen3", "tree"),
    Family("Gemma", "gemma", "tree"),
    Family("Gemma 2", "gemma2", "padded", {"sliding_window": 8, "query_pre_attn_scalar": 8}),
    Family("Gemma 3, text", "gemma3_text", "padded", {"query_pre_attn_scalar": 8, **SLIDING}),
    Family(
        "Gemma 3, with images", "gemma3", "padded", {"query_pre_attn_scalar": 8, **SLIDING, "vision_config": VISION}
    ),
    Family("Phi-1, Phi-2", "phi", "tree"),
    Family("Phi-3, Phi-4", "phi3", "tree"),
    Family("Phi-3 with LongRoPE", "phi3", "tree", LONGROPE),
    Family("SmolLM3", "smollm3", "tree"),
    Family("GPT-2", "gpt2", "tree", OLD),
    Family("GPT-NeoX, Pythia", "gpt_neox", "tree"),
    Family("GPT-J", "gptj", "padded", {**OLD, "rotary_dim": 4}),
    Family("OPT", "opt", "tree", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    Family("BLOOM", "bloom", "padded", {"n_layer": 2, "n_head": 4}),
    Family("OLMo 2", "olmo2", "tree"),
    Family("OLMo 3", "olmo3", "padded", SLIDING),
    Family("Falcon", "falcon", "padded", {"head_dim": None, "num_key_value_heads": None, "num_kv_heads": 2}),
    Family("StarCoder2", "starcoder2", "tree"),
    Family("Granite", "granite", "tree"),
    Family("Command R", "cohere", "tree"),
    Family("Command R7B, Command A", "cohere2", "padded", SLIDING),
    Family("GLM-4", "glm4", "tree", {"partial_rotary_factor": 0.5}),
    Family("EXAONE 4", "exaone4", "padded", SLIDING),
    Family("Mixtral", "mixtral", "tree", EXPERTS),
    Family("Qwen2-MoE", "qwen2_moe", "tree", EXPERTS),
    Family("Qwen3-MoE", "qwen3_moe", "tree", EXPERTS),
    Family("DeepSeek-V3, Kimi K2", "deepseek_v3", "tree", {**LATENT, **EXPERTS}),
    Family("gpt-oss", "gpt_oss", "padded", {**SLIDING, **EXPERTS}),
    Family("Granite-MoE", "granitemoe", "tree", EXPERTS),
    Family("OLMoE", "olmoe", "tree", EXPERTS),
    Family("Qwen3.5, text", "qwen3_5_text", "padded", DELTA),
    Family("Qwen3.5, with images", "qwen3_5", "padded", {**DELTA, "vision_config": VISION}),
    Family("Qwen3.5-MoE, text", "qwen3_5_moe_text", "padded", {**DELTA, **EXPERTS}),
    Family("Qwen3-Next", "qwen3_next", "padded", {**DELTA, **EXPERTS}),
    Family("LFM2", "lfm2", "padded", CONVOLVED),
    Family(
        "Granite 4",
        "granitemoehybrid",
        "padded",
        {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 32, **MAMBA, **EXPERTS},
    ),
    Family("Bamba", "bamba", "padded", {"attn_layer_indices": [1], **MAMBA}),
    Family("Falcon-H1", "falcon_h1", "padded", {"mamba_d_ssm": 64, **MAMBA}),
    Family(
        "Jamba",
        "jamba",
        "padded",
        {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
            **EXPERTS,
        },
    ),
    Family("Mamba", "mamba", "even", {"state_size": 8, "expand": 2}),
    Family("Falcon-Mamba", "falcon_mamba", "even", {"state_size": 8}),
    Family("Mamba 2", "mamba2", "even", STATES),
    Family("RWKV-4", "rwkv", "even", {"attention_hidden_size": 32, "context_length": 256}),
    Family(
        "RecurrentGemma",
        "recurrent_gemma",
        "anew",
        {"lru_width": 32, "attention_window_size": 8, "block_types": ["recurrent", "attention"]},
    ),
]


def config_options(family: Family, **options: Any) -> dict[str, Any]:
    """The options of a tiny model's config."""
    given = {name: value for name, value in {**SIZES, **options, **family.options}.items() if value is not None}
    if "vision_config" not in given:
        return given
    vision = given.pop("vision_config")
    return {"text_config": given, "vision_config": vision, "mm_tokens_per_image": 4}


def table() -> str:
    """The rows of docs/models.md."""
    rows = ["| family | `model_type` | batches |", "|---|---|---|"]
    rows += [f"| {family.name} | `{family.model_type}` | {family.way} |" for family in FAMILIES]
    return "\n".join(rows)


def save_family(family: Family, folder: Path) -> str:
    """The folder of a tiny random model of the family."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    options = config_options(family, vocab_size=len(tokenizer), **ends)
    torch.manual_seed(0)
    config = CONFIG_MAPPING[family.model_type](**options)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
