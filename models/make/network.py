"""Qwen3's network in plain PyTorch, with the parameter names of its Hugging Face checkpoint, for training only."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import shape

C = shape.CONFIG
HIDDEN, HEADS, KV_HEADS, HEAD_DIM = C["hidden_size"], C["num_attention_heads"], C["num_key_value_heads"], C["head_dim"]
EPS = C["rms_norm_eps"]


class Norm(nn.Module):
    def __init__(self, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), EPS)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(HIDDEN, HEADS * HEAD_DIM, bias=False)
        self.k_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.v_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)
        self.q_norm, self.k_norm = Norm(HEAD_DIM), Norm(HEAD_DIM)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(rows, length, HEADS, HEAD_DIM)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(rows, length, KV_HEADS, HEAD_DIM)).transpose(1, 2)
        v = self.v_proj(x).view(rows, length, KV_HEADS, HEAD_DIM).transpose(1, 2)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).reshape(rows, length, -1))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(HIDDEN, C["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(HIDDEN, C["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(C["intermediate_size"], HIDDEN, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()
        self.input_layernorm, self.post_attention_layernorm = Norm(HIDDEN), Norm(HIDDEN)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    """Everything under the checkpoint's `model.` prefix."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.VOCAB_SIZE, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(C["num_hidden_layers"]))
        self.norm = Norm(HIDDEN)


class Network(nn.Module):
    """ids of shape (rows, length) to final hidden states (rows, length, hidden); `logits` ties the head to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Body()
        turn = 1.0 / C["rope_theta"] ** (torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
        angle = torch.outer(torch.arange(shape.MAX_TOKENS).float(), turn).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=C["initializer_range"])
        for layer in self.model.layers:  # a quiet start: each layer adds little to the residual stream
            nn.init.zeros_(layer.self_attn.o_proj.weight)
            nn.init.zeros_(layer.mlp.down_proj.weight)

    def forward(self, ids: Tensor) -> Tensor:
        # index_select rather than the embedding's own look-up: its gradient can be recorded in a CUDA graph
        x = self.model.embed_tokens.weight.index_select(0, ids.flatten()).view(*ids.shape, HIDDEN)
        if torch.is_autocast_enabled(ids.device.type):
            x = x.to(torch.bfloat16)
        cos, sin = self.cos[: ids.shape[1]].to(x.dtype), self.sin[: ids.shape[1]].to(x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.model.embed_tokens.weight)
