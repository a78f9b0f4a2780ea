"""Candidates' log-probs from an OpenAI-compatible server: three ways, each exact or refused."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from ..errors import BackendError
from .candidates import Ids, candidate_ids, summed, wanted
from .http_client import HttpRefusal, JsonClient
from .reader import CheckpointReader

_TOP = 20  # the most that the API's own definition allows
_SHOWN_TOKEN = "token_id:"
_REMEMBERED = 4096
_INSTEAD = "serve the model with `mllm-iqa serve` or vLLM"


def candidates_row(client: JsonClient, body: Mapping[str, Any], candidates: Sequence[str]) -> list[float]:
    """From a server of ours, which scores candidates itself.

    Args:
        client: of the server.
        body: a chat completion request for what comes next.
        candidates: C texts.

    Returns:
        C natural-log probabilities.
    """
    answer = client.post("/chat/completions", {**body, "candidates": list(candidates)})
    found = answer.get("candidate_logprobs") if isinstance(answer, dict) else None
    if not isinstance(found, list) or len(found) != len(candidates):
        raise BackendError(f"{client.url}: the answer holds no candidate_logprobs for {len(candidates)} candidates")
    return [_number(value, client) for value in found]


class ServerTokens:
    """The tokens of texts, asked of vLLM's `/tokenize` and remembered."""

    def __init__(self, client: JsonClient, served: str) -> None:
        self._client = client
        self._served = served
        self._known: OrderedDict[str, Ids] = OrderedDict()
        self._lock = Lock()

    def of(self, text: str) -> Ids:
        """Token ids of a text, without those put around it."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
        root = self._client.url.removesuffix("/v1")
        body = {"model": self._served, "prompt": text, "add_special_tokens": False}
        answer = self._client.post("/tokenize", body, base=root)
        try:
            ids = tuple(int(token) for token in answer["tokens"])
        except (KeyError, TypeError, ValueError):
            raise BackendError(f"{root}/tokenize: the answer holds no tokens") from None
        with self._lock:
            self._known[text] = ids
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return ids


def vllm_row(
    client: JsonClient,
    body: Mapping[str, Any],
    before: str,
    candidates: Sequence[str],
    tokens: ServerTokens,
    length: int | None = None,
) -> list[float]:
    """From vLLM: chosen next tokens in one request, and one request for each candidate of several tokens.

    Args:
        client: of the server.
        body: a chat completion request for what comes next.
        before: the beginning of the answer in it; may be empty.
        candidates: C texts.
        tokens: the server's tokenizer.
        length: tokens that the request must have there, pictures included; None = not known.

    Returns:
        C natural-log probabilities.
    """
    paths = candidate_ids(tokens.of, before, candidates)
    single = [path[0] for path in paths if len(path) == 1]
    asked = {"max_tokens": 1, "logprobs": True, "logprob_token_ids": single, "return_tokens_as_token_ids": True}
    first = _next_tokens(client, {**body, **asked}, length) if single else {}
    out = []
    for word, path in zip(candidates, paths, strict=True):
        if len(path) > 1:
            out.append(_whole(client, body, before, word, path, length))
        elif f"{_SHOWN_TOKEN}{path[0]}" in first:
            out.append(first[f"{_SHOWN_TOKEN}{path[0]}"])
        else:
            raise BackendError(
                f"{client.url}: gives no log-prob for the token of {word!r}: it does not know logprob_token_ids "
                "(vLLM has it since 0.15)"
            )
    return out


def _whole(client: JsonClient, body: Mapping[str, Any], before: str, word: str, path: Ids, length: int | None) -> float:
    """The log-prob of a candidate of several tokens, which is put into the answer's beginning and read there."""
    asked = {**_extended(body, before, word), "max_tokens": 1, "prompt_logprobs": 0}
    answer = client.post("/chat/completions", asked)
    check_length(client, answer, None if length is None else length + len(path))
    read = answer.get("prompt_logprobs") if isinstance(answer, dict) else None
    if not isinstance(read, list) or len(read) <= len(path):
        raise BackendError(f"{client.url}: gives no prompt_logprobs, which {word!r} needs, a word of several tokens")
    total = 0.0
    for token, place in zip(path, read[-len(path) :], strict=True):
        if not isinstance(place, dict) or str(token) not in place:
            raise BackendError(f"{client.url}: reads {before + word!r} as other tokens than its /tokenize gives")
        total += _number(place[str(token)].get("logprob"), client)
    return total


def top_row(
    client: JsonClient,
    body: Mapping[str, Any],
    before: str,
    candidates: Sequence[str],
    reader: CheckpointReader | None,
) -> list[float]:
    """From any server: candidates that are among the most probable tokens it tells of; all must be.

    Args:
        client: of the server.
        body: a chat completion request for what comes next.
        before: the beginning of the answer in it; may be empty.
        candidates: C texts.
        reader: of the checkpoint that runs there; without it each candidate must be one token.

    Returns:
        C natural-log probabilities.
    """
    paths: list[tuple[str, ...]] = [(word,) for word in candidates]
    if reader is not None:
        ids = candidate_ids(reader.words_ids, before, candidates)
        paths = [tuple(reader.tokenizer.decode([token]) for token in path) for path in ids]
    after: dict[tuple[str, ...], dict[str, float]] = {}
    for stem, tokens in wanted(paths).items():
        asked = {"max_tokens": 1, "logprobs": True, "top_logprobs": _TOP}
        found = _next_tokens(client, {**_extended(body, before, "".join(stem)), **asked})
        lacking = next((token for token in tokens if token not in found), None)
        if lacking is not None:
            raise BackendError(
                f"{client.url}: {lacking!r} is not among the {len(found)} tokens it gives log-probs for, so a score "
                f"cannot be read from it; {_INSTEAD}"
            )
        after[stem] = found
    return summed(paths, after)


def _extended(body: Mapping[str, Any], before: str, text: str) -> dict[str, Any]:
    """The request with more words at the end of the begun answer."""
    if not text:
        return dict(body)
    messages = list(body["messages"])
    if messages[-1]["role"] == "assistant":
        messages.pop()
    messages.append({"role": "assistant", "content": before + text})
    return {**body, "messages": messages, "add_generation_prompt": False, "continue_final_message": True}


def check_length(client: JsonClient, answer: Any, length: int | None) -> None:
    """Refuse an answer to another prompt than ours: a server that resizes pictures finds other numbers of tokens.

    Args:
        client: of the server.
        answer: a chat completion.
        length: tokens that the prompt has; None = not known, and nothing is refused.
    """
    usage = answer.get("usage") if isinstance(answer, dict) else None
    found = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if length is not None and found is not None and found != length:
        raise BackendError(
            f"{client.url}: reads a conversation as {found} tokens where it has {length}, so it prepares pictures "
            "otherwise; start it with `python -m mllm_iqa.serve.vllm_server MODEL`, or with the arguments it prints"
        )


def _next_tokens(client: JsonClient, body: dict[str, Any], length: int | None = None) -> dict[str, float]:
    """Log-probs of the next token by its text, as many as the server gives."""
    try:
        answer = client.post("/chat/completions", body)
    except HttpRefusal as error:
        raise BackendError(f"{error}; scoring needs log-probs after the beginning of an answer: {_INSTEAD}") from None
    check_length(client, answer, length)
    try:
        given = answer["choices"][0]["logprobs"]
        places = given["content"] if given is not None else None
        place = places[0] if places else None
    except (KeyError, IndexError, TypeError):
        place = None
    if not isinstance(place, dict) or not isinstance(place.get("top_logprobs"), list):
        raise BackendError(
            f"{client.url}: its answers hold no log-probs (choices[0].logprobs), which scores are read from; {_INSTEAD}"
        )
    try:
        return {item["token"]: _number(item["logprob"], client) for item in [*place["top_logprobs"], place]}
    except (KeyError, TypeError):
        raise BackendError(f"{client.url}: its log-probs lack token or logprob") from None


def _number(value: Any, client: JsonClient) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not -9000 < value < 1e-3
    ):
        raise BackendError(f"{client.url}: {value!r} is no log-prob")
    return float(value)
