"""The demo model's shape and its tokenizer's rules: what every other script here agrees on."""

from pathlib import Path

MODEL_DIR = Path(__file__).parent.parent / "tiny-qwen3"
SEED = 20260711

VOCAB_SIZE = 4608
MAX_TOKENS = 8192
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
"""Hidden from text; ids 0, 1, 2."""
VISIBLE = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
"""One token each, but part of the text, as in Qwen3."""
END_OF_TEXT, IM_START, IM_END = 0, 1, 2

SPLIT = r"""\p{Han}|\p{N}|\p{L}+|["{}\[\]:,]+|[^\s\p{L}\p{N}"{}\[\]:,]+|\r?\n|[^\S\r\n]+"""
"""Words, single digits, single Han characters, JSON's signs, other signs and space all stand apart.

A word then has the same tokens after a space, a quote or a bracket, so a small model can copy it from a sentence into JSON."""

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": MAX_TOKENS,
    "rope_theta": 1000000.0,
    "rope_scaling": None,
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "use_sliding_window": False,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "use_cache": True,
    "bos_token_id": END_OF_TEXT,
    "eos_token_id": IM_END,
    "pad_token_id": END_OF_TEXT,
    "dtype": "bfloat16",
    "torch_dtype": "bfloat16",
}
GENERATION_CONFIG = {
    "bos_token_id": END_OF_TEXT,
    "eos_token_id": [IM_END, END_OF_TEXT],
    "pad_token_id": END_OF_TEXT,
    "do_sample": False,
}
TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": MAX_TOKENS,
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "unk_token": None,
    "add_bos_token": False,
    "add_prefix_space": False,
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": False,
    "extra_special_tokens": [],
    "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
}
