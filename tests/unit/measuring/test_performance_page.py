from scripts.measuring import page
from scripts.measuring.results import KEPT, Figure, Result, Table


def a_result(**figures):
    result = Result("stream", "scripts/bench stream", figures=figures)
    result.tables.append(Table("Streams", ("preset", "streams/s"), [("patterns", 1500.0)], "A note."))
    result.circumstances = {"measured_at": "2026-11-26T10:00:00+00:00", "commit": "abc", "machine": "a machine"}
    return result


def test_the_page_is_what_its_parts_say():
    assert page.PAGE.read_text() == page.render(), "run scripts/bench page"


def test_every_part_has_a_place_on_the_page_and_nothing_else_does():
    template = page.TEMPLATE.read_text()
    places = [line.strip("[]") for line in template.splitlines() if line.startswith("[[")]

    assert sorted(places) == sorted([*page.PARTS, "aims"])
    assert {path.stem for path in KEPT.glob("*.json")} <= set(page.PARTS)


def test_a_section_says_when_and_where_it_was_measured():
    text = page.section("stream", a_result())

    assert "`scripts/bench stream`, 26 November 2026, commit abc, a machine." in text
    assert "| patterns | 1,500 |" in text
    assert text.endswith("A note.")


def test_a_part_that_nobody_measured_says_so():
    assert page.section("soak", None) == "Not measured yet: `scripts/bench soak --save` does."


def test_a_busy_machine_is_told():
    result = a_result()
    result.circumstances |= {"cores": 2, "load_before": 6.0}

    assert "The machine was busy" in page.section("stream", result)


def test_missed_aims_are_told_from_met_ones():
    result = a_result(
        rate=Figure(1500.0, "streams/s", "higher", 1400, "streams"),
        first=Figure(2.5, "ms", "lower", 1.5, "first byte"),
        other=Figure(9.0, "ms", "lower"),
    )

    lines = page.aims([result]).splitlines()

    assert "| stream | streams | at least 1,400 | 1,500 streams/s | met |" in lines
    assert "| stream | first byte | at most 1.50 | 2.50 ms | **missed** |" in lines
    assert "9.00" not in page.aims([result])
    assert lines[-1].startswith("Not measured yet: gateway, peers")
