"""Random inputs of the QuixBugs programs, each within what its program demands of its input.

An expression of `chance`, a random.Random, that gives the list of arguments.
"""

_NUMBERS = "[chance.randint(-20, 20) for _ in range(chance.randint({least}, 9))]"
_WORD = "''.join(chance.choice('abc') for _ in range(chance.randint(0, 7)))"
_DISTINCT = "chance.sample(range(30), chance.randint({least}, 8))"


def _numbers(least: int = 0) -> str:
    return _NUMBERS.format(least=least)


def _distinct(least: int = 0) -> str:
    return _DISTINCT.format(least=least)


_TOKENS = (
    "[item for _ in range(chance.randint(0, 4)) "
    "for item in (chance.randint(1, 9), chance.choice('+-*/'))] + [chance.randint(1, 9)]"
)
INPUTS = {
    "bitcount": "[chance.randint(0, 10**6)]",
    "bucketsort": "[[chance.randint(0, 6) for _ in range(chance.randint(0, 9))], 7]",
    "find_first_in_sorted": f"[sorted({_numbers()}), chance.randint(-20, 20)]",
    "find_in_sorted": f"[sorted({_distinct()}), chance.randint(-1, 30)]",
    "flatten": "[[1, [chance.randint(0, 9), [chance.randint(0, 9)]] * chance.randint(0, 3), [[]]]]",
    "gcd": "[chance.randint(1, 200), chance.randint(1, 200)]",
    "get_factors": "[chance.randint(1, 500)]",
    "hanoi": "[chance.randint(0, 6), *chance.sample([1, 2, 3], 2)]",
    "is_valid_parenthesization": "[''.join(chance.choice('()') for _ in range(chance.randint(0, 6)))]",
    "kheapsort": f"[{_numbers(1)}, 9]",
    "knapsack": (
        "[chance.randint(1, 30), [[chance.randint(1, 12), chance.randint(1, 20)] "
        "for _ in range(chance.randint(1, 6))]]"
    ),
    "kth": f"(lambda numbers: [numbers, chance.randrange(len(numbers))])({_numbers(1)})",
    "lcs_length": f"[{_WORD}, {_WORD}]",
    "levenshtein": f"[{_WORD}[:5], {_WORD}[:5]]",
    "lis": f"[{_distinct()}]",
    "longest_common_subsequence": f"[{_WORD}, {_WORD}]",
    "max_sublist_sum": f"[{_numbers()}]",
    "mergesort": f"[{_numbers()}]",
    "next_palindrome": (
        "(lambda half: [half + half[::-1]])"
        "([chance.randint(1, 9) for _ in range(chance.randint(1, 3))])"
    ),
    "next_permutation": "[chance.sample([1, 2, 3, 4, 5], 4) + [0, 9]]",
    "pascal": "[chance.randint(1, 9)]",
    "possible_change": "[chance.sample([1, 2, 5, 10, 25], 3), chance.randint(0, 30)]",
    "powerset": f"[{_distinct()}[:5]]",
    "quicksort": f"[{_numbers()}]",
    "rpn_eval": (
        "[[float(chance.randint(1, 9)), float(chance.randint(1, 9)), chance.choice('+-*/'), "
        "float(chance.randint(1, 9)), chance.choice('+-*/')]]"
    ),
    "shunting_yard": f"[{_TOKENS}]",
    "sieve": "[chance.randint(0, 60)]",
    "sqrt": "[chance.randint(1, 200), chance.choice([0.5, 0.1, 0.01])]",
    "subsequences": "(lambda low: [low, low + chance.randint(0, 5), chance.randint(1, 3)])(chance.randint(0, 5))",
    "to_base": "[chance.randint(1, 5000), chance.randint(2, 16)]",
    "wrap": (
        "[' '.join('word' * chance.randint(1, 2) for _ in range(chance.randint(1, 9))), "
        "chance.randint(9, 20)]"
    ),
}
