"""Every error a user can cause or act on, in one tree rooted at `IqaError`.

The command line prints an `IqaError` as one line and exits; anything else is a bug and shows its traceback.
"""


class IqaError(Exception):
    """Root of the tree: what went wrong, where, what was expected and what to do about it, in one sentence."""


class ImageError(IqaError):
    """A picture that cannot be read or judged; the message names the file and the reason."""


class VideoError(IqaError):
    """A video that cannot be read or judged; the message names the file and the reason."""


class PromptError(IqaError):
    """A prompt file that breaks the prompt format, or words that do not fit the model's tokenizer."""


class CheckpointError(IqaError):
    """A model that cannot be found, loaded or trusted."""


class BackendError(IqaError):
    """An engine that cannot do what it was asked."""


class AnswerError(IqaError):
    """A model's written answer that is not in the form it was asked for; nothing is guessed from it."""


class DataError(IqaError):
    """Training or evaluation data that is missing, unreadable or out of its stated range."""


class ConfigError(IqaError):
    """A recipe or option with an unknown key or a value out of range."""


class MissingDependencyError(IqaError):
    """An optional package that the chosen feature needs; the message says which extra installs it."""


class CalibrationError(IqaError):
    """A calibration that cannot be found, read, or used with this model."""
