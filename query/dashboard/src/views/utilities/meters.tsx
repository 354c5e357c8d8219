import { createMemo, createSignal, createUniqueId, For, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { asked } from "../../city/answer";
import { dayOf, shortDayOf } from "../../city/format";
import { offers } from "./offered";
import { registry, titled } from "../../city/registry";
import { clock } from "../../city/session";
import { numbers, texts } from "../../flight/columns";
import { param, show } from "../../route";
import { common } from "../../words/common";
import { number } from "../../words/language";
import { utilities } from "../../words/utilities";
import { MeterLink } from "./link";
import type { Place } from "./place";
import { health, used } from "./questions";
import { daysTitle, findingTitle, percents, quantity, roleTitle } from "./shown";
import { type Order, ordered, ORDERS, totals, type Used } from "./used";

const words = () => utilities().meters;
const SHOWN = 100;

/** The meters of a zone: what each counted, how well it was observed, and what is wrong with it. */
export function Meters(props: { place: Place }) {
  const id = createUniqueId();
  const answered = asked(() =>
    props.place.zone() === undefined
      ? undefined
      : used(props.place.zone()!, props.place.together(), props.place.range()),
  );
  const all = createMemo((): Used[] => {
    const answer = answered.answer();
    if (answer === undefined) return [];
    const [sensor, role, unit] = ["sensor", "role", "unit"].map((name) => texts(answer, name));
    const [amount, share, coverage, known, days, spread, resets, rollovers] = [
      "amount",
      "share_percent",
      "coverage_percent",
      "days_known",
      "days",
      "days_spread",
      "resets",
      "rollovers",
    ].map((name) => numbers(answer, name));
    return sensor!.map((sensor, row) => ({
      sensor: sensor!,
      role: role![row]!,
      unit: unit![row] ?? "",
      amount: amount![row]!,
      sharePercent: share![row]!,
      coveragePercent: coverage![row]!,
      daysKnown: known![row]!,
      days: days![row]!,
      daysSpread: spread![row]!,
      resets: resets![row]!,
      rollovers: rollovers![row]!,
    }));
  });
  const ids = createMemo(() => all().map((one) => one.sensor), undefined, { equals: (a, b) => a.join() === b.join() });
  const judged = asked(() =>
    0 < ids().length && offers("health") ? health(ids(), clock().range(props.place.day())) : undefined,
  );
  const findings = createMemo(() => {
    const answer = judged.answer();
    if (answer === undefined) return new Map<string, string>();
    const [sensor, finding] = [texts(answer, "sensor"), texts(answer, "finding")];
    const since = numbers(answer, "since");
    return new Map(
      sensor.map((sensor, row) => [sensor!, words().finding(findingTitle(finding[row]!), shortDayOf(since[row]!))]),
    );
  });
  const order = (): Order => ORDERS.find((order) => order === param("sort")) ?? "amount";
  const [typed, setTyped] = createSignal("");
  const [most, setMost] = createSignal(SHOWN);
  const title = (one: Used) => titled({ id: one.sensor, name: registry().sensors.get(one.sensor)?.name });
  const found = () =>
    ordered(all(), order()).filter((one) => title(one).toLowerCase().includes(typed().trim().toLowerCase()));
  return (
    <Figure
      name="meters"
      isGrid
      title={words().title}
      about={`${daysTitle(props.place.day(), props.place.days())}. ${words().about}`}
      asked={answered}
      empty={words().none}
      height={400}
    >
      <div class="filter over">
        <label for={id}>{words().filter}</label>
        <input id={id} type="search" value={typed()} onInput={(event) => setTyped(event.currentTarget.value)} />
        <For each={totals(all())}>
          {(sum) => (
            <span class="hint">
              {words().total(number(sum.meters), roleTitle(sum.role), quantity(sum.amount, sum.unit))}
            </span>
          )}
        </For>
        <span class="hint">
          {judged.error() === undefined
            ? words().lastDay(dayOf(clock().start(props.place.day())))
            : words().healthFailed}
        </span>
      </div>
      <div class="grid" tabindex="0" role="region" aria-label={words().title}>
        <table>
          <caption class="unseen">{words().title}</caption>
          <thead>
            <tr>
              <Head order="meter" now={order()} title={words().meter} />
              <Head order="role" now={order()} title={words().role} />
              <Head order="amount" now={order()} title={words().amount} isNumber />
              <Head order="share" now={order()} title={words().share} isNumber />
              <Head order="coverage" now={order()} title={words().coverage} isNumber />
              <th scope="col" class="number">
                {words().daysKnown}
              </th>
              <th scope="col">{words().notes}</th>
            </tr>
          </thead>
          <tbody>
            <For each={found().slice(0, most())}>
              {(one) => <Row place={props.place} one={one} finding={findings().get(one.sensor)} />}
            </For>
          </tbody>
        </table>
        <Show when={most() < found().length}>
          <button type="button" class="quiet" onClick={() => setMost((most) => most + 4 * SHOWN)}>
            {common().more(number(found().length - most()))}
          </button>
        </Show>
      </div>
    </Figure>
  );
}

function Head(props: { order: Order; now: Order; title: string; isNumber?: boolean }) {
  const isNow = () => props.order === props.now;
  const direction = () => (props.order === "amount" || props.order === "share" ? "descending" : "ascending");
  return (
    <th scope="col" classList={{ number: props.isNumber }} aria-sort={isNow() ? direction() : undefined}>
      <button
        type="button"
        class="quiet"
        title={words().sortBy(props.title)}
        onClick={() => show({ sort: props.order === "amount" ? undefined : props.order })}
      >
        {props.title}
        <span aria-hidden="true">{isNow() ? (direction() === "descending" ? " ▾" : " ▴") : ""}</span>
      </button>
    </th>
  );
}

function Row(props: { place: Place; one: Used; finding: string | undefined }) {
  const notes = () => {
    const { resets, rollovers, daysSpread } = props.one;
    return [
      0 < rollovers ? words().rollovers(number(rollovers)) : undefined,
      0 < resets ? words().resets(number(resets)) : undefined,
      0 < daysSpread ? words().spread(number(daysSpread)) : undefined,
    ].filter((note) => note !== undefined);
  };
  return (
    <tr>
      <th scope="row">
        <MeterLink place={props.place} meter={props.one.sensor} />
      </th>
      <td>{roleTitle(props.one.role)}</td>
      <td class="number">{quantity(props.one.amount, props.one.unit)}</td>
      <td class="number">
        <div class="share">
          {percents(props.one.sharePercent)}
          <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
            <rect width="100" height="10" fill="var(--ground)" />
            <rect width={Math.min(Math.max(props.one.sharePercent || 0, 0), 100)} height="10" fill="var(--line-1)" />
          </svg>
        </div>
      </td>
      <td class="number">{percents(props.one.coveragePercent, 0)}</td>
      <td class="number">{words().ofDays(number(props.one.daysKnown), number(props.one.days))}</td>
      <td>
        <ul>
          <Show when={props.finding}>
            <li class="finding">▼ {props.finding}</li>
          </Show>
          <For each={notes()}>{(note) => <li>{note}</li>}</For>
        </ul>
      </td>
    </tr>
  );
}
