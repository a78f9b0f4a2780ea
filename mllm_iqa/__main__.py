"""`python -m mllm_iqa` is the `mllm-iqa` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
