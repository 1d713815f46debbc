"""The prompt side of the model: a byte-level BPE vocabulary that knows the world's words whole, and a small text encoder.

Words outside the world fall apart into letters, so that every prompt has tokens and none is an error.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from seedbank.models.parts.world import CAPTIONS, KINDS

MAX_TOKENS = 24
WIDTH = 128
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
OTHER_WORDS = ("and", "background", "blurred", "image", "in", "machine", "metal", "not", "part", "red", "steel", "with")


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer of some 650 tokens: all bytes, what BPE needs to join the world's words, and the two marks."""
    words = sorted(
        {word for caption in CAPTIONS for word in caption.replace("{}", "").split()} | {*KINDS, *OTHER_WORDS}
    )
    merges = learn_merges(words)
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + WORD_END for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until each word is one token (Sennrich et al., arXiv 1508.07909)."""
    pieces = [[*word[:-1], word[-1] + WORD_END] for word in words]
    merges = []
    while counts := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [_join(word, best) for word in pieces]
    return merges


def build_text_encoder(tokenizer: CLIPTokenizer, seed: int) -> CLIPTextModel:
    """The untrained text encoder: three layers, 128 wide."""
    torch.manual_seed(seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            projection_dim=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _join(word: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in word:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
