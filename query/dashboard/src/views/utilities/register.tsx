import { createMemo, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { Plot } from "../../chart/plot";
import { asked } from "../../city/answer";
import { isOfferKnown, offers } from "./offered";
import { numbers } from "../../flight/columns";
import { number } from "../../words/language";
import { utilities } from "../../words/utilities";
import { told } from "./happened";
import { fallIn, type Happening, track } from "./history";
import type { Counts } from "./meter";
import type { Place } from "./place";
import { READINGS_MAX, register } from "./questions";
import { quantity } from "./shown";

/** A gap is what is longer than so many intervals, where the registry does not say it. */
const INTERVALS = 3;

/** Every reading of a meter, with what happened to it. */
export function Register(props: { place: Place; meter: string; counts: Counts; happened: Happening[] }) {
  const words = () => utilities().register;
  const isRegister = () => props.counts.kind === "counter";
  const answered = asked(() =>
    offers("reading") ? register(props.meter, props.counts.metric, props.place.range()) : undefined,
  );
  const gapMs = () =>
    1_000 *
    Math.max(props.counts.maxGapS || INTERVALS * props.counts.intervalS, INTERVALS * (props.counts.intervalS || 0));
  const read = createMemo(() => {
    const answer = answered.answer();
    const { from, to } = props.place.range();
    return (
      answer &&
      track(numbers(answer, "time"), numbers(answer, "value"), { from, to: Math.min(to, Date.now()) }, gapMs())
    );
  });
  const value = (value: number) => quantity(value, props.counts.unit, 3);
  const marks = createMemo(() => {
    const answer = answered.answer();
    if (answer === undefined) return [];
    const [times, values] = [numbers(answer, "time"), numbers(answer, "value")];
    const { events } = utilities();
    return props.happened
      .filter(({ kind }) => kind !== "spread") // gaps are hatched
      .map((one) => {
        const isFall = one.kind === "rollover" || one.kind === "reset";
        const fall = isFall ? fallIn(one, times, values) : undefined;
        const text =
          fall === undefined
            ? told(one, props.counts.unit)
            : one.kind === "rollover"
              ? events.rollover(value(fall.before), value(fall.after))
              : events.reset(value(fall.before), value(fall.after));
        return { time: fall?.time ?? one.from, text: `${events.kinds[one.kind]}: ${text}` };
      });
  });
  const about = () => {
    const gaps = read()?.gaps ?? 0;
    const said = isRegister() ? words().about : words().aboutTotals;
    return 0 < gaps ? `${said} ${words().gaps(number(gaps), number(gapMs() / 60_000))}` : said;
  };
  return (
    <Figure
      name="register"
      title={words().title}
      about={about()}
      asked={answered}
      empty={isOfferKnown() && !offers("reading") ? words().absent : words().empty}
      height={330}
    >
      <Show when={read()}>
        {(read) => (
          <>
            <Show when={answered.answer()?.rows === READINGS_MAX}>
              <p class="told">{words().cut(number(READINGS_MAX))}</p>
            </Show>
            <Plot
              label={words().title}
              times={read().times}
              lines={[{ label: isRegister() ? words().value : words().total, values: read().values, digits: 3 }]}
              unit={props.counts.unit}
              range={props.place.range()}
              knownUntil={Date.now()}
              marks={marks()}
            />
          </>
        )}
      </Show>
    </Figure>
  );
}
