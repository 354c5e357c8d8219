"""Utilities: zones, and the registers of their meters."""

from harness import City, check

METER = "WM-101"


@check
def a_meter_of_the_list_leads_to_its_register_and_back(city: City) -> None:
    with city.visit("/utilities") as visit:
        visit.page.get_by_role("link", name=METER).first.click()
        visit.settle()
        assert METER in visit.page.url, visit.page.url
        assert METER in visit.text(), "the view does not say whose register it is"
        visit.page.go_back()
        visit.settle()
        assert visit.page.get_by_role("link", name=METER).count()
