import { createMemo, type JSX, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { Plot } from "../../chart/plot";
import { type Asked, asked } from "../../city/answer";
import { addDays } from "../../city/clock";
import { dayOf, shortDayOf, timeOf } from "../../city/format";
import { clock } from "../../city/session";
import { DayChoice } from "../../controls/day";
import { Pick } from "../../controls/pick";
import { numbers } from "../../flight/columns";
import { param, show } from "../../route";
import { common } from "../../words/common";
import { number, percent } from "../../words/language";
import { utilities } from "../../words/utilities";
import type { Place } from "./place";
import { peakOf, profile, type Profile, twoDays } from "./profile";
import { meterProfile, type Side, zoneProfile } from "./questions";
import { quantity } from "./shown";

const words = () => utilities().demand;

/** The width of a profile's steps: what is chosen, where the meters are read so often. */
const widthOf = (widths: string[]): string | undefined =>
  widths.find((width) => width === param("profile")) ?? widths[0];

/** What a zone drew on a day, step by step, beside the same weekday of the week before. */
export function ZoneDemand(props: { place: Place }) {
  const hasInlet = () =>
    props.place.ofZone().some((one) => one.role === "inlet" && props.place.together().includes(one.metric));
  const side = (): Side => (hasInlet() && param("of") !== "customers" ? "inflow" : "customers");
  const metrics = () => (side() === "inflow" ? props.place.together() : [props.place.metric()]);
  const question = () => {
    const [zone, width] = [props.place.zone(), widthOf(props.place.steps())];
    if (zone === undefined || width === undefined) return undefined;
    return zoneProfile(zone, side(), metrics(), width, twoDays(clock(), props.place.on()));
  };
  const answered = asked(question);
  return (
    <DayFigure
      place={props.place}
      asked={answered}
      unit={props.place.demandUnit()}
      about={side() === "inflow" ? words().aboutInflow : words().aboutCustomers}
      choices={
        <Show when={hasInlet()}>
          <Pick
            label={words().of}
            options={(["inflow", "customers"] as Side[]).map((side) => ({ id: side, title: words().sides[side] }))}
            chosen={side()}
            onChoose={(side) => show({ of: side === "inflow" ? undefined : side })}
          />
        </Show>
      }
    />
  );
}

export function MeterDemand(props: { place: Place; meter: string; metric: string; demandUnit: string }) {
  const question = () => {
    const width = widthOf(props.place.steps());
    return width === undefined
      ? undefined
      : meterProfile(props.meter, props.metric, width, twoDays(clock(), props.place.on()));
  };
  const answered = asked(question);
  return <DayFigure place={props.place} asked={answered} unit={props.demandUnit} about={words().aboutMeter} />;
}

function DayFigure(props: { place: Place; asked: Asked; unit: string; about: string; choices?: JSX.Element }) {
  const day = () => clock().range(props.place.on());
  const of = createMemo((): Profile | undefined => {
    const answer = props.asked.answer();
    return answer && profile(clock(), day(), numbers(answer, "time"), numbers(answer, "demand"));
  });
  const peak = () => of() && peakOf(of()!.times, of()!.values);
  const before = () => clock().start(addDays(props.place.on(), -7));
  const widths = () => props.place.steps();
  return (
    <Figure
      name="profile"
      title={words().title(dayOf(day().from))}
      about={props.about}
      asked={props.asked}
      isEmpty={of() !== undefined && peak() === undefined && of()!.before.every((value) => Number.isNaN(value))}
      empty={<Empty place={props.place} text={widths().length === 0 ? words().coarse : words().empty} />}
      height={400}
    >
      <div class="view over">
        <div class="choices row">
          {props.choices}
          <DayChoice day={props.place.on()} onChoose={(on) => show({ on })} />
          <Show when={1 < widths().length}>
            <Pick
              label={words().step}
              options={widths().map((width) => ({ id: width, title: common().widths[width] ?? width }))}
              chosen={widthOf(widths())!}
              onChoose={(width) => show({ profile: width === widths()[0] ? undefined : width })}
            />
          </Show>
        </div>
      </div>
      <Show when={of()}>
        {(of) => (
          <>
            <Facts asked={props.asked} of={of()} unit={props.unit} />
            <Plot
              label={words().title(dayOf(day().from))}
              times={of().times}
              lines={[
                { label: words().thatDay, values: of().values, style: 0, digits: 2 },
                {
                  label: words().weekBefore(shortDayOf(before())),
                  values: of().before,
                  weight: "usual",
                  style: 1,
                  digits: 2,
                },
              ]}
              unit={props.unit}
              range={day()}
              isStepped
              knownUntil={Date.now()}
              fromZero
              marks={
                peak() === undefined
                  ? []
                  : [{ time: peak()!.at, text: words().peakMark(quantity(peak()!.value, props.unit)) }]
              }
            />
          </>
        )}
      </Show>
    </Figure>
  );
}

/** Where nothing was counted, another day can still be chosen. */
function Empty(props: { place: Place; text: string }) {
  return (
    <>
      <span>{props.text} </span>
      <DayChoice day={props.place.on()} onChoose={(on) => show({ on })} />
    </>
  );
}

function Facts(props: { asked: Asked; of: Profile; unit: string }) {
  const peak = createMemo(() => peakOf(props.of.times, props.of.values));
  const heard = createMemo(() => {
    const answer = props.asked.answer();
    if (answer === undefined || !answer.columns.some((column) => column.name === "heard")) return undefined;
    const mean = (name: string) => {
      const all = numbers(answer, name);
      return props.of.rows.reduce((sum, row) => sum + all[row]!, 0) / Math.max(props.of.rows.length, 1);
    };
    return { heard: mean("heard"), meters: mean("meters") };
  });
  return (
    <dl class="facts">
      <Show when={peak()}>
        {(peak) => (
          <>
            <div>
              <dt>{words().peak}</dt>
              <dd>
                {quantity(peak().value, props.unit)} <small>{words().at(timeOf(peak().at))}</small>
              </dd>
            </div>
            <div>
              <dt>{words().loadFactor}</dt>
              <dd>
                {number(peak().loadFactor, 2)} <small>{words().loadFactorAbout}</small>
              </dd>
            </div>
            <div>
              <dt>{words().observed}</dt>
              <dd>
                {percent(peak().observed / peak().steps)}{" "}
                <small>{words().steps(number(peak().observed), number(peak().steps))}</small>
              </dd>
            </div>
          </>
        )}
      </Show>
      <Show when={heard()}>
        {(heard) => (
          <div>
            <dt>{words().heard}</dt>
            <dd>
              <small>{words().ofMeters(number(heard().heard, 1), number(heard().meters, 1))}</small>
            </dd>
          </div>
        )}
      </Show>
    </dl>
  );
}
