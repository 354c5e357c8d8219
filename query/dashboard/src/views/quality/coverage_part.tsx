/** The calendar of what came, and the hours of one of its rows. */

import { createMemo, For, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { asked } from "../../city/answer";
import { type Day, weekday } from "../../city/clock";
import { dayOf, monthOf, shortDayOf } from "../../city/format";
import { isRegistryRead } from "../../city/registry";
import { clock } from "../../city/session";
import { Pick } from "../../controls/pick";
import { show } from "../../route";
import { number, percent } from "../../words/language";
import { words } from "../../words/quality";
import { by, filter, lastHour, row, sort, span, today } from "./chosen";
import { byName, type Covered, coveredRows, coverageSql, type CoverageQuestion, BYS, worstFirst } from "./coverage";
import { lastDays, SPANS } from "./days";
import { type Cell, Matrix } from "./matrix";

const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const HOURS_DAYS = 14;
const HOUR_MS = 3_600_000;

export const rowTitle = (place: string): string => (place === "" ? words().coverage.none : place);

/** What a cell looks like and says. */
export function cellOf(covered: Covered | undefined): Cell {
  const { states } = words().coverage;
  switch (covered?.state) {
    case "share":
      return { look: "bar", share: covered.share, text: number(Math.floor(covered.share * 100)), told: states.share(percent(Math.floor(covered.share * 1000) / 1000, 1), number(covered.came), number(covered.due)) };
    case "nothing":
      return { look: "nothing", told: 0 < covered.due ? states.nothing(number(covered.due)) : states.nothingUnknown };
    case "heard":
      return { look: "some", told: states.heard(words().refused.readings(number(covered.heard))) };
    case "never":
      return { look: "none", told: states.never };
    case undefined:
      return { look: "none", told: states.missing };
  }
}

function Keys() {
  const keys = () => words().coverage.keys;
  const looks = () => [["bar good", keys().good, "100%"], ["bar fair", keys().fair, "85%"], ["bar poor", keys().poor, "40%"], ["nothing", keys().nothing, "0%"], ["some", keys().some, "0%"], ["none", keys().none, "0%"]] as const;
  return (
    <For each={looks()}>
      {([look, text, share]) => (
        <span class="key">
          <span class={`cell ${look}`} style={{ "--share": share }} aria-hidden="true" />
          {text}
        </span>
      )}
    </For>
  );
}

/** Day numbers, with the month where one begins; where there are many, only Mondays. */
export function dayColumns(days: Day[]): { text: string; title: string }[] {
  return days.map((day, at) => {
    const noon = clock().start(day) + 12 * HOUR_MS;
    const isMonth = at === 0 || day.endsWith("-01");
    const isSaid = days.length <= 31 || weekday(day) === 1;
    const note = day === today() ? ` (${words().coverage.today})` : "";
    return { text: !isSaid ? "" : 31 < days.length ? shortDayOf(noon) : isMonth ? `${monthOf(noon)}\n${Number(day.slice(8))}` : `${Number(day.slice(8))}`, title: `${dayOf(noon)}${note}` };
  });
}

export function CoveragePart() {
  const until = lastHour();
  const days = createMemo(() => lastDays(today(), Number(span())));
  const from = () => clock().start(days()[0]!);
  const question = (): CoverageQuestion => ({ by: by(), filter: filter(), width: "1d", from: from(), until: Math.max(until, from() + HOUR_MS) });
  const answers = asked(() => (isRegistryRead() ? { sql: coverageSql(question()) } : undefined));
  const rows = createMemo(() => {
    const answer = answers.answer();
    if (answer === undefined) return [];
    const rows = (sort() === "name" ? byName : worstFirst)(coveredRows(answer));
    const at = (one: Day, of: Map<number, Covered>) => of.get(clock().start(one));
    return rows.map((one) => ({
      id: one.place,
      title: rowTitle(one.place),
      cells: days().map((day) => cellOf(at(day, one.at))),
      sum: one.all.state === "share" ? percent(Math.floor(one.all.share * 1000) / 1000, 1) : "–",
    }));
  });
  const text = () => words().coverage;
  return (
    <>
      <div class="choices row">
        <Pick label={text().span} options={SPANS.map((id) => ({ id, title: text().spans[id] }))} chosen={span()} onChoose={(days) => show({ days })} />
        <Pick label={text().by} options={BYS.map((id) => ({ id, title: text().bys[id] }))} chosen={by()} onChoose={(by) => show({ by, row: undefined })} />
        <Pick label={text().sort} options={(["worst", "name"] as const).map((id) => ({ id, title: text().sorts[id] }))} chosen={sort()} onChoose={(sort) => show({ sort })} />
      </div>
      <Figure name="coverage" title={text().title} about={text().about} asked={answers} empty={text().empty} height={420}>
        <Matrix
          label={text().title}
          rowsTitle={text().row[by()]}
          sumTitle={text().sum}
          columns={dayColumns(days())}
          rows={rows()}
          isJudged
          fromEnd
          chosen={row()}
          onChoose={(id) => show({ row: row() === id ? undefined : id === "" ? "-" : id })}
          keys={<Keys />}
        />
      </Figure>
      <Show when={row()}>{(row) => <Hours row={row() === "-" ? "" : row()} />}</Show>
    </>
  );
}

function Hours(props: { row: string }) {
  const until = lastHour();
  const days = createMemo(() => lastDays(today(), HOURS_DAYS));
  const from = () => clock().start(days()[0]!);
  const answers = asked(() => ({ sql: coverageSql({ by: by(), row: props.row, filter: filter(), width: "1h", from: from(), until }) }));
  const rows = createMemo(() => {
    const answer = answers.answer();
    const [found] = answer === undefined ? [] : coveredRows(answer);
    return days().toReversed().map((day) => {
      const hours: (Covered | undefined)[] = HOURS.map(() => undefined);
      const { from, to } = clock().range(day);
      for (let time = from; time < Math.min(to, until); time += HOUR_MS) {
        const hour = Math.floor(clock().minuteOfDay(time) / 60);
        hours[hour] = both(hours[hour], found?.at.get(time));
      }
      const isOver = (hour: number) => from + hour * HOUR_MS < until;
      return {
        id: day,
        title: dayOf(from + 12 * HOUR_MS),
        cells: hours.map((covered, hour) => (isOver(hour) ? cellOf(covered) : { look: "none" as const, told: words().coverage.today })),
      };
    });
  });
  const text = () => words().coverage;
  return (
    <Figure
      name="hours"
      title={text().hoursTitle(rowTitle(props.row))}
      about={text().hoursAbout}
      asked={answers}
      height={420}
      tools={
        <>
          <Show when={by() !== "sensor"}>
            <button type="button" class="quiet" onClick={() => show({ [by()]: props.row === "" ? "-" : props.row, by: "sensor", row: undefined })}>{text().showSensors}</button>
          </Show>
          <button type="button" class="quiet" onClick={() => show({ row: undefined })}>{text().close}</button>
        </>
      }
    >
      <Matrix label={text().hoursTitle(rowTitle(props.row))} rowsTitle={text().span} columns={HOURS.map((hour) => ({ text: `${hour}`, title: text().hour(`${hour}`) }))} rows={rows()} isJudged keys={<Keys />} />
    </Figure>
  );
}

/** Of an hour that the clocks show twice: both. */
function both(one: Covered | undefined, other: Covered | undefined): Covered | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const sum = { due: one.due + other.due, came: one.came + other.came, heard: one.heard + other.heard, series: Math.max(one.series, other.series) };
  return { ...sum, share: sum.came / sum.due, state: 0 < sum.due && 0 < sum.heard ? "share" : one.state };
}

