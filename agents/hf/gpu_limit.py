"""What becomes of requests for which a GPU has no memory left.

In an evaluation, fewer are answered at once, and they begin again: their tokens depend on their own
seeds. In training the batches would then depend on what memory happens to be free, so it ends. A
request that is alone and finds no memory is a failure of its own: no other try can help.
"""

import logging

import torch

from medgym.failures import Failure
from medgym.gpu_memory import ELSEWHERE, gpu_memory_error

LOG = logging.getLogger("medgym")

ALONE = f"{ELSEWHERE}, or shorter replies or smaller views"


def fewer_at_once(error: Exception, under_way: int) -> int:
    """How many requests are answered at once after an error; 0 where fewer do not help."""
    if under_way < 2 or gpu_memory_error(error, ALONE) is None:
        return 0
    error.__traceback__ = None  # its frames hold the tensors that filled the memory
    torch.cuda.empty_cache()
    fewer = under_way // 2
    LOG.warning(
        "the GPU has no memory for %d replies at once; from now on it answers %d", under_way, fewer
    )
    return fewer


def error_of(error: Exception, *, fixed: bool) -> Exception:
    """What requests are answered with after an error.

    Args:
        fixed: fewer may not be answered at once, so that the run ends.
    """
    no_memory = gpu_memory_error(error, ALONE)
    if no_memory is None or fixed:
        return no_memory or error
    return Failure("policy", str(no_memory), final=True)
