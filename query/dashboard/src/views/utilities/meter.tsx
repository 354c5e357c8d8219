import { createMemo, For, Match, Show, Switch } from "solid-js";
import { reason } from "../../chart/figure";
import { asked } from "../../city/answer";
import { dayOf, instantOf, shortDayOf } from "../../city/format";
import { isOfferKnown, offers } from "./offered";
import { clock } from "../../city/session";
import { Pick } from "../../controls/pick";
import { numbers, texts } from "../../flight/columns";
import { param, show } from "../../route";
import { common } from "../../words/common";
import { number } from "../../words/language";
import { utilities } from "../../words/utilities";
import { Consumption } from "./consumption";
import { demandUnit } from "./counting";
import { MeterDemand } from "./demand";
import { Happened } from "./happened";
import { Peaks } from "./peaks";
import type { Place } from "./place";
import { health, meterRows, newest } from "./questions";
import { Register } from "./register";
import { findingTitle, metricTitle, quantity, roleTitle } from "./shown";

/** What a meter counts by one of its metrics. */
export interface Counts {
  metric: string;
  unit: string;
  /** `counter` is a register. */
  kind: string;
  role: string | undefined;
  serial: string | undefined;
  intervalS: number;
  modulus: number;
  maxGapS: number;
}

/** A meter: its register, what it counted, what happened to it, and when it peaks. */
export function MeterPage(props: { place: Place; meter: string }) {
  const rows = asked(() => (isOfferKnown() ? meterRows(props.meter, offers("sensor", "serial")) : undefined));
  const all = createMemo((): Counts[] => {
    const answer = rows.answer();
    if (answer === undefined) return [];
    const [metric, unit, kind, role] = ["metric", "unit", "counts", "role"].map((name) => texts(answer, name));
    const serial = answer.columns.some((column) => column.name === "serial") ? texts(answer, "serial") : [];
    const [interval, modulus, gap] = ["interval_s", "modulus", "max_gap_s"].map((name) => numbers(answer, name));
    // The last row of a metric is the one that holds: they are by the date from which they hold.
    const last = new Map<string, Counts>();
    metric!.forEach((metric, row) =>
      last.set(metric!, {
        metric: metric!,
        unit: unit![row] ?? "",
        kind: kind![row] ?? "",
        role: role![row] ?? undefined,
        serial: serial[row] ?? undefined,
        intervalS: interval![row]!,
        modulus: modulus![row]!,
        maxGapS: gap![row]!,
      }),
    );
    return [...last.values()];
  });
  const counts = () => all().find(({ metric }) => metric === param("metric")) ?? all()[0];
  return (
    <Switch fallback={<p role="status">{common().loading} …</p>}>
      <Match when={rows.error()}>
        {(error) => (
          <div class="failed" role="alert">
            <p>
              {common().failed} {reason(error())}
            </p>
            <button type="button" onClick={rows.again}>
              {common().retry}
            </button>
          </div>
        )}
      </Match>
      <Match when={rows.answer() !== undefined && counts() === undefined}>
        <p class="figure empty">{utilities().facts.unknownMeter(props.meter)}</p>
      </Match>
      <Match when={counts()} keyed>
        {(counts) => (
          <>
            <Show when={1 < all().length}>
              <Pick
                label={utilities().metric}
                options={all().map(({ metric }) => ({ id: metric, title: metricTitle(metric) }))}
                chosen={counts.metric}
                onChoose={(metric) => show({ metric })}
              />
            </Show>
            <Facts place={props.place} meter={props.meter} counts={counts} />
            <Happened place={props.place} meter={props.meter} counts={counts}>
              {(happened) => (
                <>
                  <Register place={props.place} meter={props.meter} counts={counts} happened={happened()} />
                  <Consumption place={props.place} meter={props.meter} counts={counts} />
                </>
              )}
            </Happened>
            <Peaks place={props.place} meter={props.meter} counts={counts} />
            <MeterDemand
              place={props.place}
              meter={props.meter}
              metric={counts.metric}
              demandUnit={demandUnit(counts.unit)}
            />
          </>
        )}
      </Match>
    </Switch>
  );
}

function Facts(props: { place: Place; meter: string; counts: Counts }) {
  const words = () => utilities().facts;
  const last = asked(() => (offers("latest") ? newest(props.meter, props.counts.metric) : undefined));
  const judged = asked(() => (offers("health") ? health([props.meter], clock().range(props.place.day())) : undefined));
  const findings = () => {
    const answer = judged.answer();
    if (answer === undefined) return undefined;
    const since = numbers(answer, "since");
    return texts(answer, "finding").map((finding, row) =>
      utilities().meters.finding(findingTitle(finding!), shortDayOf(since[row]!)),
    );
  };
  return (
    <dl class="facts">
      <div>
        <dt>{words().role}</dt>
        <dd>
          {roleTitle(props.counts.role)} <small>{metricTitle(props.counts.metric)}</small>
        </dd>
      </div>
      <Show when={props.counts.serial}>
        <div>
          <dt>{words().serial}</dt>
          <dd>{props.counts.serial}</dd>
        </div>
      </Show>
      <Show when={props.counts.kind === "counter" && 0 < (last.answer()?.rows ?? 0)}>
        <div>
          <dt>{words().shows}</dt>
          <dd>
            {quantity(numbers(last.answer()!, "value")[0]!, props.counts.unit, 3)}{" "}
            <small>{words().asOf(instantOf(numbers(last.answer()!, "time")[0]!))}</small>
          </dd>
        </div>
      </Show>
      <Show when={!Number.isNaN(props.counts.modulus)}>
        <div>
          <dt>{words().rollsOver}</dt>
          <dd>{quantity(props.counts.modulus, props.counts.unit)}</dd>
        </div>
      </Show>
      <Show when={!Number.isNaN(props.counts.intervalS)}>
        <div>
          <dt>{words().every}</dt>
          <dd>{words().minutes(number(props.counts.intervalS / 60, 1))}</dd>
        </div>
      </Show>
      <Show when={findings()}>
        {(findings) => (
          <div>
            <dt>
              {words().finding} <small>{words().findingOf(dayOf(clock().start(props.place.day())))}</small>
            </dt>
            <dd>
              <For each={findings()} fallback={<small>{words().none}</small>}>
                {(finding) => <small>▼ {finding}</small>}
              </For>
            </dd>
          </div>
        )}
      </Show>
    </dl>
  );
}
