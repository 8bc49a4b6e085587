"""The whole list, and which rows may get through at which level."""

from attacks import files, harness, kernel, network, processes, resources
from attacks.attack import Attack

GROUPS: dict[str, list[Attack]] = {
    "Files and secrets": files.ATTACKS,
    "Network and IPC": network.ATTACKS,
    "Processes": processes.ATTACKS,
    "Memory and disk": resources.ATTACKS,
    "Kernel surface": kernel.ATTACKS,
    "Harness": harness.ATTACKS,
}
ATTACKS: list[Attack] = [attack for group in GROUPS.values() for attack in group]

WATCHED = frozenset({65})  # tells something about a level, but is no escape by itself
ALLOWED: dict[str, frozenset[int]] = {
    "A": frozenset(),
    "B": frozenset({46}),  # its total memory is looked at every 20 ms
    "C-strict": frozenset(),
    # Memory in all, disk by many files, inodes, modes and times of the user's files.
    "C": frozenset({46, 48, 49, 71}),
}
WITHOUT_A_BOX = frozenset({8, 10})  # about files of a box, which C-strict has not
