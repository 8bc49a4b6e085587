"""Orders by chance that depend on names only, not on the machine or on the version of numpy."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def shuffled(count: int, *key: object) -> NDArray[np.int64]:
    """The numbers below `count`, in an order that is a function of `key`.

    Of raw bits, because numpy promises those for all versions, and its permutations for none.
    """
    name = "\0".join(map(str, key)).encode()
    bits = np.random.PCG64(int.from_bytes(hashlib.blake2b(name, digest_size=16).digest()))
    return np.argsort(bits.random_raw(count), kind="stable")
