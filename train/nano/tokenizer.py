"""The tokenizer of `nano`: byte-level BPE trained on the prompts' own words, so that its vocabulary stays small.

Any text can be encoded (bytes are the fall-back); what nano says and is asked takes few tokens.
"""

from __future__ import annotations

import itertools

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mllm_iqa.errors import PromptError
from mllm_iqa.levels import LEVELS, SEVERITIES
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.taxonomy import KINDS

from .checkpoint import PROMPTS

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type in ['image', 'image_url'] %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "{% if not (loop.last and continue_final_message) %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def corpus() -> list[str]:
    """Every sentence that `nano`'s prompts can make, with level, severity and kind words in all their places.

    What people type of their own is left out: its many words would take the place of those that are always said.
    """
    texts = ["user\n", "assistant\n", "system\n"]
    for name in sorted({*PROMPTS} - {"typed.v3"}):
        prompt = load_prompt(name)
        texts += [*prompt.questions, prompt.answer_prefix, *itertools.chain(*prompt.phrases.values())]
    texts = [t.replace("{", " ").replace("}", " ") for t in texts]
    texts += [f" {kind} ({severity}) and {kind} ({severity})." for kind in KINDS for severity in SEVERITIES]
    texts += [f" is {level}." for level in LEVELS for _ in range(40)]
    return texts


def build_tokenizer(vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Train the tokenizer on `corpus()`.

    Raises:
        PromptError: a level word, with its leading space, did not become one token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=8192,
    )
    fast.chat_template = CHAT_TEMPLATE
    for level in LEVELS:
        if len(fast.encode(f" {level}")) != 1:
            raise PromptError(f"the level word {level!r} is not one token of nano's tokenizer")
    return fast
