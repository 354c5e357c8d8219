"""Traffic: a place, a day, a step and a measure are chosen, and the address has them."""

from urllib.parse import parse_qs, urlsplit

from harness import City, check

SENSOR = "e1_A0A1_0"


@check
def a_detector_is_found_by_typing_and_a_day_by_its_buttons(city: City) -> None:
    with city.visit("/traffic") as visit:
        box = visit.page.get_by_role("combobox").and_(visit.page.locator("input")).first
        box.focus()
        visit.page.keyboard.type(SENSOR)
        visit.page.keyboard.press("Enter")
        visit.settle()
        assert SENSOR in visit.page.url, visit.page.url
        assert SENSOR in visit.text(), "the view does not say what was chosen"
        day = visit.page.locator("input[type=date]").first
        before = day.input_value()
        visit.page.get_by_role("button", name="Day before").first.click()
        visit.settle()
        assert day.input_value() < before, day.input_value()
        query = parse_qs(urlsplit(visit.page.url).query)
        assert query["day"] == [day.input_value()], visit.page.url
        visit.page.go_back()
        visit.settle()
        assert day.input_value() == before, "Back goes to the day before the last choice"


@check
def a_day_without_readings_is_a_gap_in_words_and_no_zero(city: City) -> None:
    with city.visit(f"/traffic?sensor={SENSOR}&day=2001-01-01") as visit:
        for name in visit.figures():
            cells = visit.figure(name).locator("td.number").all_inner_texts()
            assert not {"0", "0%"} & set(cells), f"{name}: {cells}"
        assert "2001" in visit.text() or visit.page.locator(".empty").count(), visit.text()
