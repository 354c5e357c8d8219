"""What a page says while its service is away, and how it finds it again."""

from harness import City, check


@check
def a_service_that_is_gone_is_said_in_words_and_found_again(city: City) -> None:
    with city.visit("/traffic") as visit:
        visit.expect_trouble()
        visit.page.context.set_offline(True)
        visit.page.locator("header nav").get_by_text("Data quality", exact=True).click()
        visit.reads("cannot be reached")
        visit.page.context.set_offline(False)
        again = visit.page.get_by_role("button", name="Try again")
        while again.count():
            again.first.click()
            visit.settle()
        assert "cannot be reached" not in visit.text(), visit.text()


@check
def a_page_that_was_opened_while_the_service_was_away_starts_by_a_click(city: City) -> None:
    with city.visit("/now") as visit:
        visit.expect_trouble()
        # The page itself comes from the same service, so only what it asks first is cut.
        visit.page.route("**/city", lambda route: route.abort())
        visit.page.reload()
        visit.reads("cannot be reached")
        visit.page.unroute("**/city")
        visit.page.get_by_role("button", name="Try again").click()
        visit.settle()
        assert visit.page.locator("header nav a").count() == 6
