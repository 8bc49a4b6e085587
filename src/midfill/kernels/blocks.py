"""GGUF's tensor types: how many elements and bytes a block of each has. Torch-free."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """One tensor type: its name, its id in the file, elements and bytes of a block."""

    name: str
    id: int
    elements: int
    bytes: int


BLOCKS = {
    block.name: block
    for block in (
        Block("F32", 0, 1, 4),
        Block("F16", 1, 1, 2),
        Block("BF16", 30, 1, 2),
        Block("Q4_0", 2, 32, 18),
        Block("Q4_1", 3, 32, 20),
        Block("Q5_0", 6, 32, 22),
        Block("Q5_1", 7, 32, 24),
        Block("Q8_0", 8, 32, 34),
        Block("Q2_K", 10, 256, 84),
        Block("Q3_K", 11, 256, 110),
        Block("Q4_K", 12, 256, 144),
        Block("Q5_K", 13, 256, 176),
        Block("Q6_K", 14, 256, 210),
    )
}
BY_ID = {block.id: block for block in BLOCKS.values()}
UNREADABLE = {  # names for messages
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16",
    26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip
