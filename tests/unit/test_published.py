"""The published tables against their own arithmetic: averages, counts, slips."""

import pytest

from midfill.evaluate.published import (
    BUCKETS,
    FIGURE_3,
    FIGURE_3_ITEMS,
    FIGURE_3_STEPS,
    LCB,
    SLIPS,
    TABLE_1,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_6,
    TABLES,
    V1_BASE,
    V1_INSTRUCT,
    Comparable,
    Table,
)

DEEPSEEK = ("V1-33B-Instruct", "Lite-Instruct", "V2-Instruct")


def plain_mean(table: Table, model: str, until: str) -> float:
    values = table.rows[model][: table.names.index(until)]
    numbers = [value for value in values if value is not None]
    assert len(numbers) == len(values)
    return sum(numbers) / len(numbers)


def weighted_tiers(model: str) -> float:
    values = [TABLE_4.value(model, f"LCB {tier}") for tier in LCB]
    return sum(v * n for v, n in zip(values, LCB.values(), strict=True) if v is not None) / 226


@pytest.mark.parametrize(
    ("model", "average"),
    [("V2-Instruct", 75.3), ("Lite-Instruct", 65.6), ("V1-33B-Instruct", 61.9)],
)
def test_table_3_averages_15_columns(model: str, average: float):
    assert TABLE_3.names.index("Average") == 15
    assert TABLE_3.value(model, "Average") == average
    assert round(plain_mean(TABLE_3, model, "Average"), 1) == average


@pytest.mark.parametrize("model", DEEPSEEK)
def test_table_3_is_counts_of_these_files(model: str):
    off = []
    for column in TABLE_3.columns[:15]:
        value = TABLE_3.value(model, column.name)
        assert value is not None
        assert column.n is not None
        if abs(100 * round(value * column.n / 100) / column.n - value) > 0.0501:
            off.append(column.name)
    assert off == (["C++"] if model == "V2-Instruct" else [])


@pytest.mark.parametrize(("model", "overall"), [("V2-Instruct", 43.4), ("Lite-Instruct", 24.3)])
def test_livecodebench_weights_its_tiers(model: str, overall: float):
    assert sum(LCB.values()) == 226
    assert TABLE_4.value(model, "LCB Overall") == overall
    assert round(weighted_tiers(model), 1) == overall


@pytest.mark.parametrize("table", [V1_BASE, V1_INSTRUCT], ids=lambda table: table.name)
def test_v1_averages_eight_languages(table: Table):
    assert table.names.index("Avg") == 8
    for model in table.rows:
        assert plain_mean(table, model, "Avg") == pytest.approx(
            table.value(model, "Avg"), abs=0.0501
        )


def recomputed(table: str, model: str, column: str) -> float:
    if table == "Table 4":
        return weighted_tiers(model)
    if table == "Table 5":
        language = column.removesuffix(" Avg")
        values = [TABLE_5.value(model, f"{language} {bucket}") for bucket in BUCKETS]
        return sum(value for value in values if value is not None) / 5
    return plain_mean(TABLES[table], model, column)


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: f"{slip.table} {slip.model} {slip.column}")
def test_slips_are_slips(slip):
    assert TABLES[slip.table].value(slip.model, slip.column) == slip.printed
    again = round(recomputed(slip.table, slip.model, slip.column), 1)
    assert again == slip.recomputed
    assert again != slip.printed


def test_every_average_that_rounding_does_not_explain_is_named():
    averages = {"Table 1": ["Avg"], "Table 3": ["Average"], "Table 4": ["LCB Overall"]}
    averages |= {"Table 5": ["Python Avg", "Java Avg"]}
    named = {(slip.table, slip.model, slip.column) for slip in SLIPS}
    for table, columns in averages.items():
        for model in TABLES[table].rows:
            for column in columns:
                printed = TABLES[table].value(model, column)
                assert printed is not None
                if abs(printed - recomputed(table, model, column)) > 0.1:
                    assert (table, model, column) in named


def test_the_new_corpus_gains_less_at_equal_tokens():
    old, new, later = TABLE_1.rows
    for column, at_equal, at_twice in (("Python", 5.5, 6.7), ("MBPP", 4.4, 9.4)):
        start, equal, twice = (TABLE_1.value(model, column) for model in (old, new, later))
        assert start is not None
        assert equal is not None
        assert twice is not None
        assert (round(equal - start, 1), round(twice - start, 1)) == (at_equal, at_twice)


def test_table_6_mean_lies_above_the_plain_one_everywhere():
    for model in TABLE_6.rows:
        printed = TABLE_6.value(model, "Mean")
        assert printed is not None
        assert 0.8 < printed - plain_mean(TABLE_6, model, "Mean") < 2


def test_figure_3():
    assert len(FIGURE_3_STEPS) == 12
    means = [round(sum(curve.values) / 12, 3) for curve in FIGURE_3]
    assert means == [0.139, 0.202, 0.111, 0.146]
    for curve in FIGURE_3:
        assert len(curve.values) == 12
        for value in curve.values:
            nearest = round(value * FIGURE_3_ITEMS) / FIGURE_3_ITEMS
            assert value == pytest.approx(nearest, abs=0.00051)
    compiler, reward, compiler_zh, reward_zh = (curve.values for curve in FIGURE_3)
    assert sum(r > c for r, c in zip(reward, compiler, strict=True)) == 12
    assert sum(r > c for r, c in zip(reward_zh, compiler_zh, strict=True)) == 11
    assert sum(compiler) / 12 < FIGURE_3[0].sft


@pytest.mark.parametrize(
    ("table", "column", "value", "points"),
    [
        ("Table 3", "Python", 81, 3.1),
        ("Table 3", "MBPP+", 68.8, 2.4),
        ("Table 4", "LCB Overall", 24.3, 2.9),
        ("Table 4", "USACO", 6.5, 1.4),
        ("Table 7", "SWE-bench Lite", 12.7, 1.9),
        ("Table 7", "Aider", 44.4, 4.3),
        ("Table 8", "O-CoT", 52.9, 1.8),
    ],
)
def test_standard_errors(table: str, column: str, value: float, points: float):
    found = TABLES[table].columns[TABLES[table].names.index(column)].standard_error(value)
    assert found is not None
    assert round(found, 1) == points


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_says_how_far_it_compares(table: Table):
    assert len(set(table.names)) == len(table.columns)
    for column in table.columns:
        if column.kind == Comparable.SAME:
            assert column.n is not None
        else:
            assert column.reason
        if column.kind != Comparable.NOT_RUN:
            assert column.benchmark is not None
    for values in table.rows.values():
        for column, value in zip(table.columns, values, strict=True):
            assert value is None or 0 <= value <= (100 if column.unit == "%" else 30)
