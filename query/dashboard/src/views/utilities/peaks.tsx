import { createMemo, For, Show } from "solid-js";
import { Bars } from "../../chart/bars";
import { Figure } from "../../chart/figure";
import { asked } from "../../city/answer";
import { dayOf, timeOf } from "../../city/format";
import { isOfferKnown, offers } from "./offered";
import { clock } from "../../city/session";
import { numbers, texts } from "../../flight/columns";
import { show } from "../../route";
import { number } from "../../words/language";
import { utilities } from "../../words/utilities";
import { demandUnit, widthsFor } from "./counting";
import { MeterLink } from "./link";
import type { Counts } from "./meter";
import type { Place } from "./place";
import { peaksOfDay, peaksOfMeter } from "./questions";
import { quantity } from "./shown";

const words = () => utilities().demand;

/** The peak demand of a meter, day by day. */
export function Peaks(props: { place: Place; meter: string; counts: Counts }) {
  const isFine = () => widthsFor(props.counts.intervalS)[0] !== "1d";
  const answered = asked(() =>
    offers("demand") && isFine() ? peaksOfMeter(props.meter, props.counts.metric, props.place.range()) : undefined,
  );
  const of = createMemo(() => {
    const answer = answered.answer();
    if (answer === undefined || answer.rows === 0) return undefined;
    const [times, peak, peakAt, sliding, slidingAt, load, power, block] = [
      "time",
      "peak",
      "peak_at",
      "sliding_peak",
      "sliding_peak_at",
      "load_factor",
      "power_factor",
      "block_s",
    ].map((name) => numbers(answer, name));
    const unit = texts(answer, "demand_unit")[0] ?? demandUnit(props.counts.unit);
    return {
      times: times!,
      peak: peak!,
      peakAt: peakAt!,
      sliding: sliding!,
      slidingAt: slidingAt!,
      load: load!,
      power: power!,
      blockS: block![0]!,
      unit,
    };
  });
  const about = () =>
    Array.from(of()!.peak, (peak, day) => {
      if (Number.isNaN(peak)) return undefined;
      const { peakAt, sliding, slidingAt, load, power, unit } = of()!;
      const said = [
        words().at(timeOf(peakAt[day]!)),
        words().slidingAt(quantity(sliding[day]!, unit), timeOf(slidingAt[day]!)),
        `${words().loadFactor} ${number(load[day]!, 2)}`,
      ];
      return [...said, ...(Number.isNaN(power[day]!) ? [] : [`${words().powerFactor} ${number(power[day]!, 2)}`])].join(
        " · ",
      );
    });
  return (
    <Figure
      name="peaks"
      title={words().peaksOfMeter}
      about={
        of() === undefined
          ? words().peaksOfMeterAbout
          : `${words().peaksOfMeterAbout} (${words().block(number(of()!.blockS / 60))})`
      }
      asked={answered}
      isEmpty={answered.answer() !== undefined && (of()?.peak.every((peak) => Number.isNaN(peak)) ?? true)}
      empty={isOfferKnown() && !offers("demand") ? words().absent : isFine() ? words().noPeaks : words().coarse}
      height={290}
    >
      <Show when={of()}>
        {(of) => (
          <Bars
            label={words().peaksOfMeter}
            times={of().times}
            parts={[{ label: words().peak, values: of().peak, style: 0, digits: 2 }]}
            unit={of().unit}
            about={about()}
            chosen={of().times.indexOf(clock().start(props.place.on()))}
            onChoose={(day) => show({ on: clock().day(of().times[day]!) })}
          />
        )}
      </Show>
    </Figure>
  );
}

/** Which meters of a zone made its peak. */
export function PeaksOfDay(props: { place: Place }) {
  const question = () =>
    props.place.zone() !== undefined && offers("demand") && 0 < props.place.steps().length
      ? peaksOfDay(props.place.zone()!, props.place.metric(), clock().range(props.place.on()))
      : undefined;
  const answered = asked(question);
  const rows = createMemo(() => {
    const answer = answered.answer();
    if (answer === undefined) return [];
    const [sensor, unit] = [texts(answer, "sensor"), texts(answer, "demand_unit")];
    const [peak, peakAt, sliding, slidingAt, load, power] = [
      "peak",
      "peak_at",
      "sliding_peak",
      "sliding_peak_at",
      "load_factor",
      "power_factor",
    ].map((name) => numbers(answer, name));
    return sensor
      .map((sensor, row) => ({
        sensor: sensor!,
        unit: unit[row] ?? props.place.demandUnit(),
        peak: peak![row]!,
        peakAt: peakAt![row]!,
        sliding: sliding![row]!,
        slidingAt: slidingAt![row]!,
        load: load![row]!,
        power: power![row]!,
      }))
      .filter((row) => !Number.isNaN(row.peak));
  });
  const hasPower = () => rows().some((row) => !Number.isNaN(row.power));
  return (
    <Figure
      name="peaks"
      isGrid
      title={words().peaks}
      about={`${words().peaksAbout} ${dayOf(clock().start(props.place.on()))}`}
      asked={answered}
      isEmpty={answered.answer() !== undefined && rows().length === 0}
      empty={
        isOfferKnown() && !offers("demand")
          ? words().absent
          : props.place.steps().length === 0
            ? words().coarse
            : words().noPeaks
      }
    >
      <div class="grid" tabindex="0" role="region" aria-label={words().peaks}>
        <table>
          <caption class="unseen">{words().peaks}</caption>
          <thead>
            <tr>
              <th scope="col">{utilities().meter}</th>
              <th scope="col" class="number">
                {words().peak}
              </th>
              <th scope="col" class="number">
                {words().sliding}
              </th>
              <th scope="col" class="number">
                {words().loadFactor}
              </th>
              <Show when={hasPower()}>
                <th scope="col" class="number">
                  {words().powerFactor}
                </th>
              </Show>
            </tr>
          </thead>
          <tbody>
            <For each={rows()}>
              {(row) => (
                <tr>
                  <th scope="row">
                    <MeterLink place={props.place} meter={row.sensor} />
                  </th>
                  <td class="number">
                    {quantity(row.peak, row.unit)} <small>{words().at(timeOf(row.peakAt))}</small>
                  </td>
                  <td class="number">
                    {quantity(row.sliding, row.unit)} <small>{words().at(timeOf(row.slidingAt))}</small>
                  </td>
                  <td class="number">{number(row.load, 2)}</td>
                  <Show when={hasPower()}>
                    <td class="number">{number(row.power, 2)}</td>
                  </Show>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </div>
    </Figure>
  );
}
