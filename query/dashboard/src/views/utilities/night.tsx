import { createMemo, Show } from "solid-js";
import { Bars } from "../../chart/bars";
import { Figure } from "../../chart/figure";
import { asked } from "../../city/answer";
import { isOfferKnown, offers } from "./offered";
import { numbers, texts } from "../../flight/columns";
import { number } from "../../words/language";
import { utilities } from "../../words/utilities";
import type { Place } from "./place";
import { nights } from "./questions";
import { quantity } from "./shown";

/** The minimum night flow of a zone, night by night, with its baseline and alarms. */
export function Nights(props: { place: Place }) {
  const question = () =>
    props.place.zone() !== undefined && offers("night") ? nights(props.place.zone()!, props.place.range()) : undefined;
  const answered = asked(question);
  const of = createMemo(() => {
    const answer = answered.answer();
    if (answer === undefined) return undefined;
    const [times, flow, baseline, limit, alarm] = ["time", "flow", "baseline", "alarm_limit", "alarm"].map((name) =>
      numbers(answer, name),
    );
    return {
      times: times!,
      flow: flow!,
      baseline: baseline!,
      limit: limit!,
      alarm: alarm!,
      unit: texts(answer, "unit")[0] ?? "m3/h",
    };
  });
  const words = () => utilities().night;
  const alarms = () => {
    const nights = of()!;
    const at = Array.from(nights.alarm, (alarm, column) => (alarm === 1 ? column : -1)).filter((column) => 0 <= column);
    return at.map((column) => ({
      column,
      text: words().alarm(quantity(nights.flow[column]!, nights.unit), quantity(nights.limit[column]!, nights.unit)),
    }));
  };
  const told = () => {
    const nights = of()!;
    const judged = Array.from(nights.flow).filter(
      (flow, night) => !Number.isNaN(flow) && !Number.isNaN(nights.limit[night]!),
    ).length;
    if (judged === 0) return words().tooFew;
    return 0 < alarms().length ? words().alarms(number(alarms().length), number(judged)) : words().calm(number(judged));
  };
  const about = () =>
    Array.from(of()!.flow, (flow, night) =>
      Number.isNaN(flow) ? words().unknown : Number.isNaN(of()!.limit[night]!) ? words().unjudged : undefined,
    );
  return (
    <Figure
      name="night"
      title={words().title}
      about={words().about}
      asked={answered}
      height={320}
      empty={isOfferKnown() && !offers("night") ? words().absent : words().empty}
    >
      <Show when={of()}>
        {(nights) => (
          <>
            <p class="told" classList={{ alarmed: 0 < alarms().length }}>
              <Show when={0 < alarms().length}>▼ </Show>
              {told()}
            </p>
            <Bars
              label={words().title}
              times={nights().times}
              parts={[{ label: words().flow, values: nights().flow, style: 0, digits: 2 }]}
              levels={[
                { label: words().baseline, values: nights().baseline, style: 2, digits: 2 },
                { label: words().limit, values: nights().limit, style: 1, digits: 2 },
              ]}
              marks={alarms()}
              about={about()}
              unit={nights().unit}
            />
          </>
        )}
      </Show>
    </Figure>
  );
}
