"""Ask: any statement, its answer, and what is said of a wrong one."""

from urllib.parse import parse_qs, quote, urlsplit

from figures import as_table, differences
from harness import City, check
from visit import Visit

EDITOR = "Statement"
EVERY_KIND = """
SELECT TIMESTAMP '2026-03-29T00:30:00Z' AS time, 1234567.8915 AS number, -0.25 AS negative,
  42 AS whole, 9007199254740993 AS large, true AS flag, 'ä <b>' AS text, NULL AS missing
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
ORDER BY number"""
TOO_MANY = "SELECT value FROM generate_series(1, 150000)"


def write(visit: Visit, sql: str) -> None:
    visit.page.get_by_label(EDITOR).fill(sql)
    visit.page.get_by_label(EDITOR).press("Control+Enter")
    visit.settle()


@check
def a_statement_is_written_run_and_kept_in_the_address(city: City) -> None:
    with city.visit("/ask") as visit:
        write(visit, EVERY_KIND)
        assert parse_qs(urlsplit(visit.page.url).query)["sql"] == [EVERY_KIND], visit.page.url
        titles, rows = as_table(visit, "answer")
        wrong = differences(city, titles, rows, city.ask(EVERY_KIND), is_ordered=True)
        assert not wrong, "; ".join(wrong)


@check
def a_statement_in_a_link_is_shown_and_answered(city: City) -> None:
    sql = "SELECT id, kind, lon, lat, valid_from FROM sensor ORDER BY id, valid_from"
    with city.visit(f"/ask?sql={quote(sql)}") as visit:
        assert visit.page.get_by_label(EDITOR).input_value() == sql
        wrong = differences(city, *as_table(visit, "answer"), city.ask(sql), is_ordered=True)
        assert not wrong, "; ".join(wrong)


@check
def every_example_is_answered_as_another_client_is_told(city: City) -> None:
    with city.visit("/ask") as visit:
        examples = visit.page.get_by_role("region", name="Examples").get_by_role("button")
        assert 3 <= examples.count(), examples.count()
        wrong = []
        for at in range(examples.count()):
            name = examples.nth(at).inner_text()
            examples.nth(at).click()
            visit.settle()
            sql = visit.page.get_by_label(EDITOR).input_value()
            failed = visit.figure("answer").get_by_role("alert")
            if failed.count():
                wrong.append(f"{name}: {failed.inner_text()}")
            elif (table := as_table(visit, "answer")) is not None:
                # What is equal in an order may be in any.
                found = differences(city, *table, city.ask(sql), is_ordered=False)
                wrong += [f"{name}: {what}" for what in found[:2]]
    assert not wrong, "; ".join(wrong)


@check
def a_wrong_statement_is_refused_in_words_and_the_next_one_is_answered(city: City) -> None:
    with city.visit("/ask") as visit:
        write(visit, "SELECT nothing FROM nowhere")
        assert "nowhere" in visit.figure("answer").get_by_role("alert").inner_text()
        write(visit, "DELETE FROM sensor")
        assert visit.figure("answer").get_by_role("alert").count() == 1
        write(visit, "SELECT 1 AS one")
        assert as_table(visit, "answer") == (["one"], [["1"]])


@check
def a_huge_answer_is_cut_and_says_so(city: City) -> None:
    with city.visit(f"/ask?sql={quote(TOO_MANY)}") as visit:
        assert "100,000" in visit.text(), visit.text()
        assert visit.page.locator("tbody tr").count() <= 1000, "all rows are in the page"


@check
def tab_writes_spaces_and_after_escape_leaves(city: City) -> None:
    with city.visit("/ask?sql=SELECT%201") as visit:
        field = visit.page.get_by_label(EDITOR)
        field.focus()
        field.press("Tab")
        assert "  " in field.input_value(), field.input_value()
        field.press("Escape")
        field.press("Tab")
        assert not field.evaluate("(field) => field === document.activeElement"), "the field keeps the focus"
