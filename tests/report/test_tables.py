"""What is shown of probes and costs."""

from __future__ import annotations

from rlcl.console import make_console
from rlcl.evaluation.outcome import Outcome
from rlcl.report.tables import WideTable, costs_line, probes_table, r_table
from rlcl.types import Record


def outcome(*rows: tuple[int, int, str, float]) -> Outcome:
    """Of (step, trained on, metric, value)."""
    return Outcome(tuple(Record("", 0, s, t, max(t, 0), metric, value) for s, t, metric, value in rows), ("accuracy",))


def lines(seeds: list[Outcome], names: list[str]) -> list[list[str]]:
    console = make_console(width=120)
    with console.capture() as captured:
        console.print(probes_table(seeds, names))
    return [line.strip("│ ").split("│") for line in captured.get().splitlines() if line.startswith("│")]


def test_probes_are_shown_as_they_were_last_in_each_experience_and_as_means_over_seeds() -> None:
    first = outcome(
        (0, -1, "dead_units", 0.1),
        (5, 0, "dead_units", 0.9),
        (10, 0, "dead_units", 0.2),
        (10, 0, "gradient_norm", 50.0),
        (10, 0, "accuracy", 1.0),
        (10, 0, "accuracy.online", 1.0),
        (10, 0, "samples", 1.0),
    )
    second = outcome((0, -1, "dead_units", 0.3), (10, 0, "dead_units", 0.4), (10, 0, "gradient_norm", 70.0))
    found = [[cell.strip() for cell in line] for line in lines([first, second], ["digits 0-4"])]
    assert [["dead_units", "0.200", "0.300"], ["gradient_norm", "", "60.0"]] == found


def test_without_probes_there_is_no_table() -> None:
    assert probes_table([outcome((10, 0, "accuracy", 1.0), (10, 0, "updates", 3.0))], ["a"]) is None


def test_costs_add_up_but_for_what_is_held() -> None:
    rows = [(10, 0, "parameters", 100.0), (10, 0, "memory_bytes", 64.0), (10, 0, "updates", 10.0)]
    rows += [(15, 1, "parameters", 120.0), (15, 1, "memory_bytes", 96.0), (15, 1, "updates", 5.0)]
    samples = [(10, 0, "samples", 1000.0), (15, 1, "samples", 500.0)]
    spent = [{"seconds": 1.0, "cpu_seconds": 0.5}, {"seconds": 2.0, "cpu_seconds": 1.5}]
    expected = "120 parameters, 96 bytes of memory, 15 updates, 1,500 samples, 1.5 s (1.0 s of CPU)"
    assert expected == costs_line([outcome(*rows, *samples)] * 2, spent)


def test_a_learner_that_tells_no_costs_has_its_time() -> None:
    assert "2.0 s (1.0 s of CPU)" == costs_line([outcome((1, 0, "accuracy", 1.0))], [{"seconds": 2, "cpu_seconds": 1}])


def test_r_of_20_tasks_and_40_visits_is_continued_below_with_every_number_whole() -> None:
    names = [f"task {j}" for j in range(20)]
    trained = [f"task {t % 20}, visit {t // 20 + 1}" for t in range(40)]
    records = [Record("", 0, t, t, j, "accuracy", (20 * t + j) / 1000) for t in range(40) for j in range(20)]
    console = make_console(width=100)
    with console.capture() as captured:
        console.print(r_table([Outcome(tuple(records), ("accuracy",))], names, trained))
    text = captured.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 100
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("│"):
            name, *cells = (cell.strip() for cell in line.strip("│").split("│"))
            rows.setdefault(name, []).extend(cells)
    assert rows == {trained[t]: [f"{(20 * t + j) / 1000:.3f}" for j in range(20)] for t in range(40)}


def test_a_name_is_no_markup() -> None:
    console = make_console(width=100)
    with console.capture() as captured:
        console.print(r_table([outcome((10, 0, "accuracy", 0.5))], ["digits [red]"], ["digits [red]"]))
    assert captured.get().count("digits [red]") == 2


def test_a_table_without_rows_has_its_heading() -> None:
    console = make_console(width=80)
    with console.capture() as captured:
        console.print(WideTable("linear probe", ["trained on", "a", "b"], []))
    assert "trained on" in captured.get()
