/** Sensor health, as a list to work through. */

import { createMemo, For, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { type Asked, asked } from "../../city/answer";
import { dayOf, instantOf } from "../../city/format";
import { clock } from "../../city/session";
import { sees } from "../../city/datasets";
import { DayChoice } from "../../controls/day";
import { Link } from "../../controls/link";
import { linkTo, show } from "../../route";
import { findings } from "../../words/findings";
import { number } from "../../words/language";
import { words } from "../../words/quality";
import { day, filter, isFiltered, yesterday } from "./chosen";
import type { Filter } from "./filter";
import { type Group, groups, healthSql, type Ill, LOOK_BACK } from "./health";

/** The findings of the chosen day. */
export function askHealth(of: () => Filter, on: () => string): Asked {
  return asked(() => {
    const { from, to } = clock().range(on());
    return sees("health") === true ? { sql: healthSql(of(), from, to) } : undefined;
  });
}

export function HealthPart() {
  const answers = askHealth(filter, () => day(yesterday()));
  const found = createMemo(() => {
    const answer = answers.answer();
    return answer === undefined ? [] : groups(answer, day(yesterday()), clock());
  });
  const back = () => found().reduce((sum, group) => sum + group.rows.filter((ill) => ill.isBack).length, 0);
  const sensors = () => new Set(found().flatMap((group) => group.rows.map((ill) => ill.sensor))).size;
  const text = () => words().health;
  return (
    <>
      <div class="choices row">
        <DayChoice day={day(yesterday())} onChoose={(day) => show({ day: day === yesterday() ? undefined : day })} />
      </div>
      <Figure
        name="health"
        title={text().title}
        about={`${text().about} ${text().lookBack(number(LOOK_BACK))}`}
        asked={answers}
        empty={sees("health") === false ? words().hidden : isFiltered() ? text().emptyFilter : text().empty}
        height={420}
      >
        <p>
          {text().summary(number(answers.answer()?.rows ?? 0), number(sensors()))}
          <Show when={0 < back()}> {text().backCount(number(back()))}</Show>
        </p>
        <For each={found()}>{(group) => <Finding group={group} />}</For>
      </Figure>
    </>
  );
}

const ROWS_SHOWN = 50;

function Finding(props: { group: Group }) {
  const text = () => words().health;
  const known = () => findings()[props.group.finding];
  return (
    <section class="finding">
      <h3>
        {known()?.title ?? props.group.finding} <span class="hint">{text().count(number(props.group.rows.length))}</span>
      </h3>
      <p class="hint">{text().first} {known()?.first ?? props.group.detail}</p>
      <Show when={ROWS_SHOWN < props.group.rows.length} fallback={<List rows={props.group.rows} />}>
        <List rows={props.group.rows.slice(0, ROWS_SHOWN)} />
        <details>
          <summary>{`+ ${number(props.group.rows.length - ROWS_SHOWN)}`}</summary>
          <List rows={props.group.rows.slice(ROWS_SHOWN)} />
        </details>
      </Show>
    </section>
  );
}

function List(props: { rows: Ill[] }) {
  const columns = () => words().health.columns;
  return (
    <div class="list" tabindex="0" role="region" aria-label={words().health.title}>
      <table>
        <thead>
          <tr>
            <th scope="col">{columns().sensor}</th>
            <th scope="col">{columns().metric}</th>
            <th scope="col">{columns().since}</th>
            <th scope="col" class="number">{columns().days}</th>
            <th scope="col">{columns().heard}</th>
            <th scope="col">{columns().place}</th>
            <th scope="col">{columns().kind}</th>
            <th scope="col">{columns().owner}</th>
          </tr>
        </thead>
        <tbody>
          <For each={props.rows}>
            {(ill) => (
              <tr>
                <th scope="row"><Link to={linkTo("quality", { by: "sensor", kind: ill.kind, row: ill.sensor })}>{ill.title}</Link></th>
                <td>{ill.metric}</td>
                <td>{dayOf(ill.since)}</td>
                <td class="number">{ill.isLonger ? words().health.longer(number(ill.days)) : number(ill.days)}</td>
                <td>
                  {Number.isNaN(ill.lastHeard) ? words().health.never : instantOf(ill.lastHeard)}
                  <Show when={ill.isBack}> ({words().health.back})</Show>
                </td>
                <td>{ill.place || "–"}</td>
                <td>{ill.kind || "–"}</td>
                <td>{ill.owner || "–"}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}
