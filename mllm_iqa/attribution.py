"""Which parts of a picture a score rests on, from gradients: for models of the Qwen-VL families run by transformers.

One pass forward and one backward over the whole picture, where tiles take dozens of passes; but a gradient says what
the model looked at, which is not always what is wrong.
"""

from __future__ import annotations
