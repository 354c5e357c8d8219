"""What is around every view: navigation, language, units, and where the page's parts come from."""

import re
from urllib.parse import parse_qs, urlsplit

from harness import VIEWS, City, check, check_of_each_view
from visit import Visit

NAMES = {
    "en-GB": ["City now", "Traffic", "Corridor", "Utilities", "Data quality", "Ask"],
    "de-DE": ["Stadt jetzt", "Verkehr", "Korridor", "Versorgung", "Datenqualität", "Fragen"],
}
# Kept in memory only; a click on a link must not load the page anew.
MARK = "() => { window.marked = true; }"
IS_MARKED = "() => window.marked === true"


def navigation(visit: Visit) -> list[str]:
    return visit.page.locator("header nav a").all_inner_texts()


@check
def the_front_is_the_first_view(city: City) -> None:
    with city.visit("/") as visit:
        assert navigation(visit) == NAMES["en-GB"], navigation(visit)
        current = visit.page.locator("nav [aria-current=page]")
        assert current.inner_text() == "City now", current.inner_text()


@check
def every_view_is_reached_without_loading_the_page_anew_and_back_goes_back(city: City) -> None:
    with city.visit("/now") as visit:
        visit.page.evaluate(MARK)
        for view, name in zip(VIEWS, NAMES["en-GB"]):
            visit.page.locator("header nav").get_by_text(name, exact=True).click()
            visit.settle()
            assert urlsplit(visit.page.url).path == f"/{view}", visit.page.url
            assert visit.page.title().startswith(name), visit.page.title()
        for view in reversed(VIEWS[:-1]):
            # Defaults that a view writes into its address take no step of their own.
            visit.page.go_back()
            visit.settle()
            assert urlsplit(visit.page.url).path == f"/{view}", visit.page.url
        assert visit.page.evaluate(IS_MARKED), "the page was loaded anew"


@check
def the_language_is_the_browsers_and_can_be_changed(city: City) -> None:
    with city.visit("/now", locale="de-DE") as visit:
        assert navigation(visit) == NAMES["de-DE"], navigation(visit)
        assert visit.page.get_attribute("html", "lang") == "de"
        visit.page.get_by_label("Sprache").select_option("en")
        assert navigation(visit) == NAMES["en-GB"], navigation(visit)
        visit.page.get_by_label("Language").select_option("de")
        visit.page.reload()
        visit.settle()
        assert navigation(visit) == NAMES["de-DE"], "the choice is kept"
    with city.visit("/now?lang=de") as visit:
        assert navigation(visit) == NAMES["de-DE"], "the address chooses"


@check_of_each_view
def all_titles_and_labels_change_with_the_language(city: City, view: str) -> None:
    said = []
    for locale in NAMES:
        with city.visit(f"/{view}", locale=locale) as visit:
            labels = visit.page.locator("#view h1, #view h2, #view label, #view th, #view .about")
            said.append([text for text in labels.all_inner_texts() if text.strip()])
    same = set(said[0]) & set(said[1])
    # Names of columns are those of the tables, which people ask for, and units are the same everywhere.
    words = {text for text in same if " " in re.sub(r" \(.*?\)", "", text) and "_" not in text}
    assert not words, f"the same in both languages: {sorted(words)}"


@check
def units_are_chosen_once_for_all_views(city: City) -> None:
    with city.visit("/traffic") as visit:
        visit.page.get_by_label("Units").select_option("imperial")
        visit.settle()
        assert parse_qs(urlsplit(visit.page.url).query)["units"] == ["imperial"], visit.page.url
        assert "km/h" not in visit.text(), "a speed is still in km/h"
        for name in NAMES["en-GB"]:
            visit.page.locator("header nav").get_by_text(name, exact=True).click()
            assert visit.page.get_by_label("Units").input_value() == "imperial", name


@check
def how_complete_the_numbers_are_is_said(city: City) -> None:
    with city.visit("/now") as visit:
        badge = visit.page.locator("header .badge").inner_text()
        assert "omplete" in badge, badge


@check_of_each_view
def an_address_that_is_copied_shows_the_same(city: City, view: str) -> None:
    with city.visit(f"/{view}") as visit:
        for name in visit.figures():
            table = visit.figure(name).get_by_role("button", name="Table", exact=True)
            if table.count():
                table.click()
        visit.settle()
        address, chosen = visit.page.url, visit.chosen()
    with city.visit(address) as visit:
        again = visit.chosen()
        assert again == chosen, f"{again} and not {chosen} at {address}"
