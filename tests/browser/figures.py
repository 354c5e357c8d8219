"""The numbers of every figure, beside what another client gets for the same question."""

import re
from bisect import bisect_left
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa

from harness import City, Skipped, check, check_of
from visit import Visit

MISSING = "–"
# What a table shows of a number: at most three digits after the point.
ROUNDING = 0.0005
KM_PER_MILE, FOOT_M = 1.609344, 0.3048
# As `query/dashboard/src/city/unit.ts` has them, by what stands in the head of a column.
FACTORS = {"mph": 1 / KM_PER_MILE, "mi": 1 / KM_PER_MILE, "ft": 1 / FOOT_M, "veh/mi": KM_PER_MILE}

# With its unit, where the head of the column has none.
NUMBER = re.compile(r"(?P<number>-?[\d,]+(?:\.(?P<digits>\d+))?)(?:(?P<percent>\s?%)|\s[^\d\s]\S*)?")

READ_TABLE = """(figure) => ({
  titles: [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent),
  rows: [...figure.querySelectorAll("tbody tr")].map((row) =>
    [...row.querySelectorAll("th, td")].map((cell) => cell.textContent)),
})"""

Row = list[str]

# What is compared of each view: as it opens, and with something chosen of the bundled feeds. Ask has checks of its own.
ADDRESSES = {
    "now": ["/now", "/now?by=occupancy", "/now?layer=water"],
    "traffic": ["/traffic", "/traffic?sensor=e1_A0A1_0", "/traffic?segment=A0A1&measure=speed"],
    "corridor": ["/corridor"],
    "utilities": ["/utilities", "/utilities?zone=DMA-1&days=7", "/utilities?meter=WM-101"],
    "quality": ["/quality"],
}


def question(visit: Visit, name: str) -> str:
    """What a figure asked, as its link to Ask tells it."""
    link = visit.figure(name).get_by_role("link", name="Open in Ask", exact=True)
    return parse_qs(urlsplit(link.get_attribute("href") or "").query)["sql"][0]


def as_table(visit: Visit, name: str) -> tuple[list[str], list[Row]] | None:
    """Heads and cells of a figure; none where it has nothing to show."""
    figure = visit.figure(name)
    button = figure.get_by_role("button", name="Table", exact=True)
    if button.count() and button.get_attribute("aria-pressed") != "true":
        button.click()
        visit.settle()
    # Some figures are tables by themselves.
    if figure.locator(".grid table").count() == 0:
        return None
    table = figure.locator(".grid").first.evaluate(READ_TABLE)
    return table["titles"], table["rows"]


def differences(
    city: City, titles: list[str], rows: list[Row], answer: pa.Table, is_ordered: bool
) -> list[str]:
    """Where a table is not the answer, cell by cell."""
    names = [re.sub(r" \([^()]*\)$", "", title) for title in titles]
    if names != answer.column_names:
        return strangers(titles, rows, answer)
    factors = [FACTORS.get(title.removeprefix(f"{name} (")[:-1], 1.0) for name, title in zip(names, titles)]
    columns = [shown(city, column, factor) for column, factor in zip(answer.columns, factors)]
    expected = list(zip(*columns)) if columns else []
    # A grid shows the first rows, and more of them when somebody asks.
    if len(rows) < min(len(expected), 100) or len(expected) < len(rows):
        return [f"{len(rows)} rows are shown of {len(expected)}"]
    if not is_ordered:
        by_text = {text_of(row): row for row in expected}
        expected = [by_text.get(tuple(row), expected[at]) for at, row in enumerate(rows)]
    return [
        f"{name} in row {at} is {cell!r} and not {value!r}"
        for at, (row, values) in enumerate(zip(rows, expected))
        for name, cell, value in zip(names, row, values)
        if not is_same(cell, value)
    ]


def strangers(titles: list[str], rows: list[Row], answer: pa.Table) -> list[str]:
    """Of a table that is arranged for people: numbers that no single column of the answer has."""
    values = []
    for column in answer.columns:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            known = [value for value in column.to_pylist() if value is not None and value == value]
            # Metres may be shown as kilometres.
            values += [sorted(value * factor for value in known) for factor in (1.0, 0.001, *FACTORS.values())]
    values += durations(answer)
    found = []
    for title, cells in zip(titles, zip(*rows)):
        numbers = [match for cell in cells if (match := NUMBER.fullmatch(cell.strip()))]
        # A share of one is shown in percent, and so is what is in percent already.
        scales = (1, 100) if any(match["percent"] for match in numbers) else (1,)
        if numbers and not any(
            all(has(column, number, scale) for number in numbers) for column in values for scale in scales
        ):
            found.append(f"no column of the answer has the numbers of {title!r}, such as {cells[0]!r}")
    return found


def durations(answer: pa.Table) -> list[list[float]]:
    """How long rows with a begin and an end took, in minutes and in hours."""
    if not {"time", "ends"} <= set(answer.column_names):
        return []
    pairs = zip(answer["time"].to_pylist(), answer["ends"].to_pylist())
    seconds = sorted((ends - time).total_seconds() for time, ends in pairs if time and ends)
    return [[second / 60 for second in seconds], [second / 3600 for second in seconds]]


def has(column: list[float], shown: re.Match[str], scale: int) -> bool:
    """Whether one of the sorted values, times the scale, reads like this number."""
    number = float(shown["number"].replace(",", ""))
    near = 0.5 * 10 ** -len(shown["digits"] or "") + 1e-9 * abs(number)
    at = bisect_left(column, (number - near) / scale)
    return at < len(column) and column[at] <= (number + near) / scale


def shown(city: City, column: pa.ChunkedArray, factor: float) -> list[object]:
    """The values as a table should have them: numbers, or texts, or none for what is missing."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        instants = column.cast(pa.timestamp("us", kind.tz), safe=False).to_pylist()
        return [value and stamp(city, value) for value in instants]
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in column.to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return [None if value is None or value != value else value * factor for value in column.to_pylist()]
    return [None if value is None else str(value) for value in column.to_pylist()]


def stamp(city: City, instant: datetime) -> str:
    """As the city's clocks show it."""
    return f"{instant.astimezone(city.zone):%Y-%m-%d %H:%M:%S}"


def text_of(row: tuple) -> tuple[str, ...]:
    return tuple(MISSING if value is None else written(value) for value in row)


def written(value: object) -> str:
    """As English writes a number, with three digits at most."""
    if isinstance(value, str):
        return value
    text = f"{value:,.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def is_same(cell: str, value: object) -> bool:
    if value is None or isinstance(value, str):
        return cell == (MISSING if value is None else value)
    try:
        number = float(cell.replace(",", ""))
    except ValueError:
        return False
    return abs(number - value) <= ROUNDING + 1e-9 * abs(value)


def compare(city: City, address: str) -> int:
    """Every figure of a view with what the service says; how many had something to show."""
    wrong, compared = [], 0
    with city.visit(address) as visit:
        for name in visit.figures():
            found = []
            # A question about what is open has another answer a moment later: then all is asked again.
            for _ in range(3):
                table = as_table(visit, name)
                if table is None:
                    break
                sql = question(visit, name)
                is_ordered = "order by" in sql.lower()
                found = differences(city, *table, city.ask(sql), is_ordered)
                if not found:
                    break
                visit.page.reload()
                visit.settle()
            compared += table is not None
            wrong += [f"{name} at {address}: {what}" for what in found[:3]]
    assert not wrong, "; ".join(wrong)
    return compared


@check_of(*ADDRESSES)
def its_tables_say_what_another_client_is_told(city: City, view: str) -> None:
    if sum(compare(city, address) for address in ADDRESSES[view]) == 0:
        raise Skipped("no figure of it has anything to show here")


@check
def a_table_in_miles_is_the_answer_in_miles(city: City) -> None:
    if compare(city, "/traffic?units=imperial&sensor=e1_A0A1_0") == 0:
        raise Skipped("no figure of the traffic view has anything to show here")


@check_of(*ADDRESSES)
def its_files_and_its_question_are_links(city: City, view: str) -> None:
    with city.visit(f"/{view}") as visit:
        for name in visit.figures():
            figure = visit.figure(name)
            if figure.get_by_role("link", name="Open in Ask", exact=True).count() == 0:
                continue
            for title, ending in (("CSV", "csv"), ("Parquet", "parquet")):
                link = figure.get_by_role("link", name=title, exact=True)
                href = link.get_attribute("href") or ""
                assert f".{ending}?" in href, href
                answer = visit.page.request.get(visit.url + href, headers=city.headers)
                assert answer.ok, f"{name}: {answer.status} for {href}"
                assert answer.body(), f"{name}: an empty file"
