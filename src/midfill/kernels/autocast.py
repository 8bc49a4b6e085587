"""The type in which products are computed where torch.autocast may be on."""

import torch
from torch import Tensor


def product_dtype(x: Tensor) -> torch.dtype:
    """autocast's type where it is on, else x's own."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
