import { createMemo, For, Show } from "solid-js";
import { Bars, type Part } from "../../chart/bars";
import { Figure } from "../../chart/figure";
import { type GridColumn, numberColumn } from "../../chart/grid";
import { runs } from "../../chart/stack";
import { asked } from "../../city/answer";
import { addDays } from "../../city/clock";
import { dayOf, shortDayOf } from "../../city/format";
import { numbers, texts } from "../../flight/columns";
import { show } from "../../route";
import { clock } from "../../city/session";
import { number, percent } from "../../words/language";
import { utilities } from "../../words/utilities";
import type { Place } from "./place";
import { balance, unheard } from "./questions";
import { dayTitle, percents, quantity } from "./shown";
import { type BalanceDays, left, total, unheardByDay } from "./water";

/** The water balance of a zone, day by day, and what it says of the period. */
export function Balance(props: { place: Place }) {
  const answered = asked(() =>
    props.place.zone() === undefined ? undefined : balance(props.place.zone()!, props.place.range()),
  );
  const days = createMemo((): BalanceDays | undefined => {
    const answer = answered.answer();
    if (answer === undefined) return undefined;
    const of = (name: string) => numbers(answer, name);
    return {
      times: of("time"),
      inflow: of("inflow"),
      exported: of("exported"),
      stored: of("stored"),
      metered: of("metered"),
      loss: of("loss"),
      nrw: of("nrw_percent"),
      imputed: of("imputed"),
      nrwImputed: of("nrw_percent_imputed"),
      unknown: of("unknown"),
    };
  });
  const unit = () => (answered.answer() === undefined ? undefined : texts(answered.answer()!, "unit")[0]) ?? "m3";
  const isKnown = () => days()?.loss.every((loss) => !Number.isNaN(loss)) ?? true;
  const silent = asked(() =>
    isKnown() ? undefined : unheard(props.place.zone()!, props.place.together(), props.place.range()),
  );
  const reasons = createMemo(() => {
    const of = days();
    if (of === undefined) return [];
    const answer = silent.answer();
    const byDay =
      answer === undefined
        ? undefined
        : unheardByDay(numbers(answer, "time"), texts(answer, "sensor"), numbers(answer, "coverage"));
    const words = utilities().balance;
    return Array.from(of.loss, (loss, day) => {
      if (!Number.isNaN(loss)) return undefined;
      if (Date.now() < of.times[day]!) return words.future;
      const meters = byDay?.get(of.times[day]!) ?? [];
      return meters.length === 0
        ? words.reason
        : words.reasonOf(meters.map(({ sensor, coverage }) => words.heard(sensor, percent(coverage))).join(", "));
    });
  });
  const about = () =>
    reasons().map((reason, day) => {
      const [of, words] = [days()!, utilities().balance];
      if (reason !== undefined) return reason;
      const said = [`${words.nrw} ${percents(of.nrw[day]!)}`];
      if (0 < of.imputed[day]!) said.push(`${percents(of.nrwImputed[day]!)} ${words.nrwImputed}`);
      if (0 < of.unknown[day]!) said.push(words.unknownSteps(number(of.unknown[day]!)));
      return said.join(" · ");
    });
  const parts = (of: BalanceDays): Part[] => {
    const words = utilities().balance;
    return [
      { label: words.metered, values: of.metered, style: 0 },
      { label: words.imputed, values: of.imputed, style: 2 },
      { label: words.loss, values: left(of), style: 1 },
    ];
  };
  const columns = (of: BalanceDays): GridColumn[] => {
    const words = utilities().balance;
    return [
      { title: utilities().date, cell: (day) => dayOf(of.times[day]!) },
      numberColumn(words.inflow, unit(), of.inflow),
      numberColumn(words.exported, unit(), of.exported),
      numberColumn(words.stored, unit(), of.stored),
      numberColumn(words.metered_, unit(), of.metered),
      numberColumn(words.imputed, unit(), of.imputed),
      numberColumn(words.lost, unit(), of.loss),
      numberColumn(words.nrw, "%", of.nrw),
      numberColumn(words.nrwImputed, "%", of.nrwImputed),
      { title: words.why, cell: (day) => reasons()[day] ?? "" },
    ];
  };
  return (
    <Figure
      name="balance"
      table={days() === undefined ? undefined : { rows: days()!.times.length, columns: columns(days()!) }}
      title={utilities().balance.title}
      about={utilities().balance.about}
      asked={answered}
      height={340}
      empty={utilities().balance.empty}
    >
      <Show when={days()}>
        {(of) => (
          <>
            <Told place={props.place} days={of()} unit={unit()} />
            <Bars
              label={utilities().balance.title}
              times={of().times}
              parts={parts(of())}
              unit={unit()}
              notes={Array.from(of().nrw, (nrw) => (Number.isNaN(nrw) ? undefined : percents(nrw)))}
              about={about()}
              chosen={of().times.indexOf(clock().start(props.place.on()))}
              onChoose={(day) => show({ on: clock().day(of().times[day]!) })}
            />
            <ul class="marks">
              <For each={runs(reasons())}>
                {(run) => (
                  <li>
                    ▨ {shortDayOf(of().times[run.from]!)}
                    {run.from === run.to ? "" : ` – ${shortDayOf(of().times[run.to]!)}`}: {run.value}
                  </li>
                )}
              </For>
            </ul>
          </>
        )}
      </Show>
    </Figure>
  );
}

/** The period in a sentence and in numbers. */
function Told(props: { place: Place; days: BalanceDays; unit: string }) {
  const all = createMemo(() => total(props.days));
  const words = () => utilities().balance;
  const sentence = () => {
    const { known, supplied, loss, nrw, imputed, nrwImputed } = all();
    if (known === 0) return words().noneKnown(number(all().days));
    const [first, last] = [dayTitle(addDays(props.place.day(), 1 - props.place.days())), dayTitle(props.place.day())];
    const lost = quantity(Math.abs(loss), props.unit);
    const said =
      loss < 0
        ? words().negative(first, last, quantity(supplied, props.unit), lost)
        : words().sentence(first, last, quantity(supplied, props.unit), lost, percents(nrw));
    const more = 0 < imputed ? words().withImputed(quantity(imputed, props.unit), percents(nrwImputed)) : "";
    return `${said} ${more} ${words().known(number(known), number(all().days))}`;
  };
  return (
    <>
      <p class="told">{sentence()}</p>
      <dl class="facts">
        <div>
          <dt>{words().nrw}</dt>
          <dd>
            {percents(all().nrw)}{" "}
            <Show when={0 < all().imputed}>
              <small>
                {percents(all().nrwImputed)} {words().nrwImputed}
              </small>
            </Show>
          </dd>
        </div>
        <div>
          <dt>{words().supplied}</dt>
          <dd>{quantity(all().known === 0 ? Number.NaN : all().supplied, props.unit)}</dd>
        </div>
        <div>
          <dt>{words().metered_}</dt>
          <dd>
            {quantity(all().known === 0 ? Number.NaN : all().metered, props.unit)}{" "}
            <Show when={0 < all().imputed}>
              <small>
                + {quantity(all().imputed, props.unit)} {words().imputed}
              </small>
            </Show>
          </dd>
        </div>
        <div>
          <dt>{words().daysKnown}</dt>
          <dd>
            {number(all().known)} <small>/ {number(all().days)}</small>
          </dd>
        </div>
      </dl>
    </>
  );
}
