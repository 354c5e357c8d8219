import { createMemo, For, type JSX } from "solid-js";
import { Figure } from "../../chart/figure";
import { asked } from "../../city/answer";
import { dayOf, instantOf, timeOf } from "../../city/format";
import { isOfferKnown, offers } from "./offered";
import { clock } from "../../city/session";
import { numbers, texts } from "../../flight/columns";
import { number } from "../../words/language";
import { utilities } from "../../words/utilities";
import { type Happening, happenings } from "./history";
import type { Counts } from "./meter";
import type { Place } from "./place";
import { events } from "./questions";
import { quantity } from "./shown";

const words = () => utilities().events;
const WIDTHS_MS = { "1h": 3_600_000, "1d": 86_400_000 };

/** What happened, in words; `children` are shown between the question and its table, and are told of it. */
export function Happened(props: {
  place: Place;
  meter: string;
  counts: Counts;
  children: (happened: () => Happening[]) => JSX.Element;
}) {
  const seen = () => ({
    conflicts: offers("conflict"),
    calibrations: offers("calibration"),
    readings: offers("reading", "quality"),
    serials: offers("sensor", "serial"),
  });
  const width = () => (3_600 < props.counts.intervalS ? "1d" : "1h");
  const answered = asked(() =>
    isOfferKnown() ? events(props.meter, props.counts.metric, width(), props.place.range(), seen()) : undefined,
  );
  const happened = createMemo((): Happening[] => {
    const answer = answered.answer();
    if (answer === undefined) return [];
    const [times, counts, values] = ["time", "count", "value"].map((name) => numbers(answer, name));
    const rows = {
      times: times!,
      counts: counts!,
      values: values!,
      events: texts(answer, "event"),
      details: texts(answer, "detail"),
    };
    return happenings(rows, WIDTHS_MS[width()]);
  });
  const notSeen = () => {
    const { conflicts, calibrations, readings } = seen();
    const { kinds } = words();
    const hidden = [
      conflicts ? undefined : kinds.conflict,
      calibrations ? undefined : kinds.calibration,
      readings ? undefined : `${kinds.late}, ${kinds.flagged}`,
    ];
    const named = hidden.filter((kind) => kind !== undefined);
    return named.length === 0 ? "" : words().notSeen(named.join(", "));
  };
  return (
    <>
      {props.children(happened)}
      <Figure
        name="events"
        isGrid
        title={words().title}
        about={`${words().about} ${notSeen()}`}
        asked={answered}
        empty={words().empty}
        height={120}
      >
        <div class="grid events" tabindex="0" role="region" aria-label={words().title}>
          <table>
            <caption class="unseen">{words().title}</caption>
            <thead>
              <tr>
                <th scope="col">{words().when}</th>
                <th scope="col">{words().what}</th>
                <th scope="col">{words().details}</th>
              </tr>
            </thead>
            <tbody>
              <For each={happened()}>
                {(one) => (
                  <tr>
                    <td>{when(one)}</td>
                    <th scope="row">{words().kinds[one.kind]}</th>
                    <td>{told(one, props.counts.unit)}</td>
                  </tr>
                )}
              </For>
            </tbody>
          </table>
        </div>
      </Figure>
    </>
  );
}

function when({ from, to }: Happening): string {
  if (from === to) return instantOf(from);
  return clock().day(from) === clock().day(to)
    ? `${dayOf(from)}, ${timeOf(from)} – ${timeOf(to)}`
    : `${instantOf(from)} – ${instantOf(to)}`;
}

/** A happening as a sentence; what only readings know, such as where a register fell, is said with them. */
export function told(one: Happening, unit: string): string {
  const say = words();
  switch (one.kind) {
    case "rollover":
      return say.rolloverSomewhere;
    case "reset":
      return say.resetSomewhere;
    case "exchange":
      return one.detail === undefined ? say.exchangeOnly : say.exchange(one.detail);
    case "calibration":
      return say.calibration(one.detail ?? "");
    case "spread":
      return say.spread(quantity(one.value, unit));
    case "conflict":
      return say.conflict(quantity(one.value, unit, 3), quantity(Number(one.detail ?? Number.NaN), unit, 3));
    case "late":
      return say.late(number(one.count));
    case "flagged":
      return say.flagged(number(one.count));
  }
}
