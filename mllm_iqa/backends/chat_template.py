"""A conversation in the words of a model's own chat template."""

from __future__ import annotations

from typing import Any

from .base import Conversation


def template_text(template: Any, conversation: Conversation, *, closed: bool = False) -> str:
    """The template's text, a placeholder for each picture.

    Args:
        template: the tokenizer or processor that has the chat template.
        conversation: one that ends in the user's turn is followed by how an answer starts; one that ends in the
            assistant's stops where its words do.
        closed: let the assistant's last turn end as the template ends a turn, as a model learns to.
    """
    messages: list[dict[str, Any]] = []
    pictures = [{"type": "image"} for _ in conversation.pictures]
    for turn in conversation.turns:
        parts: list[dict[str, Any]] = []
        if turn.role == "user" and pictures:
            parts, pictures = pictures, []
        messages.append({"role": turn.role, "content": [*parts, {"type": "text", "text": turn.text}]})
    speaks = conversation.turns[-1].role == "assistant"
    text: str = template.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=not speaks,
        continue_final_message=speaks and not closed,
        **template_options(template),
    )
    return text


def template_options(template: Any) -> dict[str, bool]:
    """What a template must be told so that the answer begins at once: no thinking aloud before it."""
    return {"enable_thinking": False} if "enable_thinking" in str(template.chat_template) else {}
