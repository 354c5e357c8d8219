/** The chosen place on the chosen day, against what it is compared with. */

import { createMemo, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { type GridColumn, numberColumn } from "../../chart/grid";
import { type Line, Plot } from "../../chart/plot";
import { asked } from "../../city/answer";
import type { Day } from "../../city/clock";
import { sees } from "../../city/datasets";
import { dayOf, stampOf } from "../../city/format";
import { clock } from "../../city/session";
import { has, numbers, texts } from "../../flight/columns";
import { common } from "../../words/common";
import { number, percent } from "../../words/language";
import { traffic } from "../../words/traffic";
import { compared, day, isSplit, measure, otherDay, place, range, step, STEP_MS } from "./chosen";
import { split } from "./place";
import { type Shown, shown, weeksKnown, WEEKS_LEAST } from "./shown";
import { each, type Measure, MEASURES, total, withDay, withTypical } from "./sql";
import { lineTitle, placeTitle } from "./title";

export const UNITS: Record<Measure, string> = { volume: "{veh}", flow: "{veh}/h", speed: "km/h", occupancy: "%" };
const DIGITS: Record<Measure, number> = { volume: 0, flow: 0, speed: 1, occupancy: 1 };
const HEIGHT = 320;
/** Beside the total: more pairs of colour and dash there are not. */
const LINES_MAX = 15;

const named = (of: Day): string => dayOf(clock().start(of));

function sql(): string {
  const { sensors } = place();
  const other = otherDay();
  if (isSplit()) return each(split(place()), step(), sensors, range());
  if (other !== undefined) {
    const days = [day()!, other].map((day) => ({ day, range: clock().range(day) }));
    return withDay(step(), sensors, days);
  }
  if (compared() === "typical" && sees("typical")) return withTypical(step(), sensors, range());
  return total(step(), sensors, range());
}

export function DayChart() {
  const isReady = () => day() !== undefined && sees("typical") !== undefined && 0 < place().sensors.length;
  const answer = asked(() => (isReady() ? { sql: sql() } : undefined), () => (range().to < Date.now() ? undefined : 60_000));
  const now = createMemo((): Shown | undefined => {
    const table = answer.answer();
    if (table === undefined) return undefined;
    return shown(table, { measure: measure(), day: day()!, stepMs: STEP_MS[step()], now: Date.now(), clock: clock() });
  });

  const lines = (): { lines: Line[]; band?: [number, number] } => {
    const { total, each, other, usual } = now()!;
    const digits = DIGITS[measure()];
    const words = traffic();
    const own: Line = { label: 0 < each.length ? words.together : named(day()!), values: total, digits };
    const titled = each.map(({ name, values }) => ({ label: lineTitle(place(), name), values }));
    titled.sort((a, b) => a.label.localeCompare(b.label, undefined, { numeric: true }));
    const lanes = titled.slice(0, LINES_MAX).map((lane, at): Line => ({ ...lane, weight: "usual", style: at + 1, digits }));
    if (0 < each.length) return { lines: each.length === 1 ? [own] : [own, ...lanes] };
    const beside = (label: string, values: Float64Array): Line => ({ label, values, weight: "usual", style: 1, digits });
    if (other !== undefined) return { lines: [own, beside(named(otherDay() ?? day()!), other)] };
    if (usual === undefined) return { lines: [own] };
    const edge = (label: string, values: Float64Array): Line => ({ label, values, weight: "edge", style: 2, digits });
    return { lines: [own, beside(words.median, usual.p50), edge(words.p85, usual.p85), edge(words.p15, usual.p15)], band: [2, 3] };
  };

  // What is usual is worth seeing where today is silent.
  const isEmpty = () => {
    if (now() === undefined) return false;
    const { total, each, other, usual } = now()!;
    const all = [total, ...each.map((one) => one.values), ...(other ? [other] : []), ...(usual ? [usual.p50] : [])];
    return all.every((values) => values.every((value) => Number.isNaN(value)));
  };
  const table = () => answer.answer();
  return (
    <Figure
      name="day"
      title={traffic().dayTitle(traffic().measures[measure()], placeTitle(place()), day() === undefined ? "" : named(day()!))}
      about={<About shown={now()} />}
      asked={answer}
      isEmpty={isEmpty()}
      empty={place().sensors.length === 0 ? traffic().noDetectors : traffic().noneThatDay}
      table={table() && { rows: table()!.rows, columns: columns(table()!) }}
      height={HEIGHT}
    >
      <Show when={now()}>
        {(now) => (
          <Plot
            label={placeTitle(place())}
            times={now().times}
            {...lines()}
            unit={UNITS[measure()]}
            range={range()}
            knownUntil={now().times[now().ended]}
            height={HEIGHT}
            isStepped
            fromZero
          />
        )}
      </Show>
    </Figure>
  );
}

/** What it is compared with, on how much that rests, and what was not seen whole. */
function About(props: { shown: Shown | undefined }) {
  const told = () => {
    const words = traffic();
    const { usual, ended, partial, each } = props.shown ?? { usual: undefined, ended: 0, partial: 0, each: [] };
    const said = [words.means[measure()]];
    if (isSplit()) {
      said.push(each.length === 1 ? words.oneLine : words.splitAlone);
      if (LINES_MAX < each.length) said.push(words.onlyLines(number(LINES_MAX)));
    } else if (compared() === "typical" && sees("typical") === false) said.push(words.noTypical);
    else if (usual !== undefined) {
      const weeks = weeksKnown(usual.weeks);
      if (weeks === undefined) said.push(words.noWeeks);
      else {
        const fewest = weeks.least < weeks.most ? `${number(weeks.least)}–` : "";
        said.push(words.weeks(`${fewest}${number(weeks.most)}`));
        if (weeks.most < WEEKS_LEAST) said.push(words.fewWeeks(number(WEEKS_LEAST)));
      }
    }
    const other = otherDay();
    if (other !== undefined && !isSplit() && clock().hours(other) !== clock().hours(day()!)) said.push(words.clocksDiffer);
    if (0 < partial) said.push(words.partial(number(partial), number(ended)));
    return said.join(" ");
  };
  return <>{told()}</>;
}

/** Every row of the answer, in words and units. */
function columns(answer: Parameters<typeof numbers>[0]): GridColumn[] {
  const words = traffic();
  const time = numbers(answer, "time");
  const all: GridColumn[] = [{ title: common().time, cell: (row) => stampOf(time[row]!) }];
  const split = ["sensor", "segment"].find((name) => has(answer, name));
  if (split !== undefined) {
    const names = texts(answer, split);
    all.push({ title: words.line, cell: (row) => (names[row] === null ? words.together : lineTitle(place(), names[row]!)) });
  }
  for (const one of MEASURES) all.push(numberColumn(words.measures[one], UNITS[one], numbers(answer, one), DIGITS[one]));
  const coverage = numbers(answer, "coverage");
  all.push({ title: words.coverage, cell: (row) => percent(coverage[row]), isNumber: true });
  all.push(numberColumn(words.late, undefined, numbers(answer, "late"), 0));
  if (!has(answer, "weeks")) return all;
  for (const of of ["volume", "speed", "occupancy"] as const) {
    for (const share of ["p15", "p50", "p85"] as const) {
      const title = words.usually(words.measures[of], words.shares[share]);
      all.push(numberColumn(title, UNITS[of], numbers(answer, `${of}_${share}`), DIGITS[of]));
    }
  }
  all.push(numberColumn(words.weeksTitle, undefined, numbers(answer, "weeks"), 0));
  return all;
}
