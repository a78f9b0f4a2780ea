"""nano's own tokenizer, which tiny models of every class speak with."""

import pytest
from mllm_iqa.train.nano.tokenizer import build_tokenizer
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def nano_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()
