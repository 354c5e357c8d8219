import { createMemo, Show } from "solid-js";
import { Bars } from "../../chart/bars";
import { Figure } from "../../chart/figure";
import { Plot } from "../../chart/plot";
import { asked } from "../../city/answer";
import { clock } from "../../city/session";
import { Pick } from "../../controls/pick";
import { numbers } from "../../flight/columns";
import { param, show } from "../../route";
import { common } from "../../words/common";
import { number, percent } from "../../words/language";
import { utilities } from "../../words/utilities";
import { widthsFor } from "./counting";
import type { Counts } from "./meter";
import type { Place } from "./place";
import { consumption } from "./questions";
import { quantity } from "./shown";

/** What is observed nearly whole is not spoken of. */
const WHOLE = 0.995;

/** What a meter counted, bucket by bucket. */
export function Consumption(props: { place: Place; meter: string; counts: Counts }) {
  const words = () => utilities().consumption;
  const widths = () => widthsFor(props.counts.intervalS);
  const width = () => widths().find((width) => width === param("step")) ?? "1d";
  const answered = asked(() => consumption(props.meter, props.counts.metric, width(), props.place.range()));
  const of = createMemo(() => {
    const answer = answered.answer();
    if (answer === undefined) return undefined;
    const [times, amount, coverage, partial, resets, rollovers] = [
      "time",
      "amount",
      "coverage",
      "partial",
      "resets",
      "rollovers",
    ].map((name) => numbers(answer, name));
    return {
      times: times!,
      amount: amount!,
      coverage: coverage!,
      partial: partial!,
      resets: resets!,
      rollovers: rollovers!,
    };
  });
  const isSpread = (bucket: number) => of()!.partial[bucket] === 1;
  const some = (keep: (bucket: number) => boolean) =>
    of()!.amount.map((amount, bucket) => (keep(bucket) ? amount : Number.NaN));
  const known = () => some((bucket) => !isSpread(bucket));
  const spread = () => some(isSpread);
  const sum = () => {
    const amounts = Array.from(of()!.amount).filter((amount) => !Number.isNaN(amount));
    return {
      amount: amounts.length === 0 ? Number.NaN : amounts.reduce((sum, amount) => sum + amount, 0),
      buckets: amounts.length,
    };
  };
  const hasSpread = () => of()!.partial.includes(1);
  const marks = () =>
    Array.from(of()!.times).flatMap((_, column) => {
      const [resets, rollovers] = [of()!.resets[column]!, of()!.rollovers[column]!];
      const texts = [
        0 < rollovers ? words().rollovers(number(rollovers)) : "",
        0 < resets ? words().resets(number(resets)) : "",
      ].filter((text) => text !== "");
      return texts.length === 0 ? [] : [{ column, text: texts.join(", ") }];
    });
  const about = () =>
    Array.from(of()!.coverage, (coverage) => (coverage < WHOLE ? words().observed(percent(coverage)) : undefined));
  return (
    <Figure
      name="consumption"
      title={words().title}
      about={words().about}
      asked={answered}
      isEmpty={of() !== undefined && of()!.amount.every((amount) => Number.isNaN(amount))}
      empty={words().empty}
      height={330}
      tools={
        <Show when={1 < widths().length}>
          <Pick
            label={common().width}
            options={widths().map((width) => ({ id: width, title: common().widths[width] ?? width }))}
            chosen={width()}
            onChoose={(width) => show({ step: width === "1d" ? undefined : width })}
          />
        </Show>
      }
    >
      <Show when={of()}>
        {(of) => (
          <>
            <p class="told">
              {utilities().facts.used}: {quantity(sum().amount, props.counts.unit)}{" "}
              <Show when={width() === "1d"}>
                <small class="hint">
                  {utilities().facts.knownDays(number(sum().buckets), number(of().times.length))}
                </small>
              </Show>
            </p>
            <Show
              when={width() === "1d"}
              fallback={
                <Plot
                  label={words().title}
                  times={of().times}
                  lines={[
                    { label: words().used, values: hasSpread() ? known() : of().amount, digits: 3 },
                    ...(hasSpread() ? [{ label: words().spread, values: spread(), style: 1 as const, digits: 3 }] : []),
                  ]}
                  unit={props.counts.unit}
                  range={props.place.range()}
                  isStepped
                  knownUntil={Date.now()}
                  fromZero
                  marks={marks().map(({ column, text }) => ({ time: of().times[column]!, text }))}
                />
              }
            >
              <Bars
                label={words().title}
                times={of().times}
                parts={[
                  { label: words().used, values: known(), style: 0, digits: 3 },
                  ...(hasSpread() ? [{ label: words().spread, values: spread(), style: 1 as const, digits: 3 }] : []),
                ]}
                unit={props.counts.unit}
                marks={marks()}
                about={about()}
                chosen={of().times.indexOf(clock().start(props.place.on()))}
                onChoose={(column) => show({ on: clock().day(of().times[column]!) })}
              />
            </Show>
          </>
        )}
      </Show>
    </Figure>
  );
}
