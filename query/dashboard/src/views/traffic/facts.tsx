/** The day in numbers: how many, when most, how fast; each with how much of it was seen. */

import { createMemo, For, type JSX, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { asked } from "../../city/answer";
import { countsPassages } from "../../city/detectors";
import { sees } from "../../city/datasets";
import { spanOf, timeOf } from "../../city/format";
import { units } from "../../city/session";
import { shownUnit } from "../../city/unit";
import type { Answer } from "../../flight/flight";
import { numbers, texts } from "../../flight/columns";
import { number, percent } from "../../words/language";
import { traffic } from "../../words/traffic";
import { day, place, range, seesOnlyHours, type Step, STEP_MS } from "./chosen";
import { ended, peakHour, whole } from "./day";
import { level, passages, total } from "./sql";
import { segmentTitle } from "./title";

const AGAIN_MS = 300_000;
const HEIGHT = 84;

const shown = (value: number | undefined, unit: string, digits = 0): string => {
  const { text, factor } = shownUnit(unit, units());
  return `${number(value === undefined ? undefined : value * factor, digits)} ${text}`;
};

const sum = (values: Float64Array): number => values.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : value), 0);

/** A number with its name above and how it is to be read below. */
export interface Fact {
  title: string;
  value: string;
  about: string;
}

function Facts(props: { facts: Fact[] }) {
  return (
    <dl class="facts">
      <For each={props.facts}>
        {(fact) => (
          <div>
            <dt>{fact.title}</dt>
            <dd>
              {fact.value}
              <br />
              <small>{fact.about}</small>
            </dd>
          </div>
        )}
      </For>
    </dl>
  );
}

/** Quarter hours, or hours for who may not see them. */
const width = (): Step => (seesOnlyHours() ? "1h" : "15m");
const perHour = () => 3_600_000 / STEP_MS[width()];

const isPast = () => range().to < Date.now();
const isChosen = () => day() !== undefined && 0 < place().sensors.length;
const again = () => (isPast() ? undefined : AGAIN_MS);

function Counted() {
  const answer = asked(() => (isChosen() ? { sql: total(width(), place().sensors, range()) } : undefined), again);
  const about = () => {
    const late = answer.answer() === undefined ? 0 : sum(numbers(answer.answer()!, "late"));
    return [traffic().numbersAbout, late === 0 ? "" : traffic().lateCount(number(late))].join(" ");
  };
  return (
    <Figure name="numbers" title={traffic().numbers} about={about()} asked={answer} height={HEIGHT}>
      <Show when={answer.answer()}>{(answer) => <Facts facts={counted(answer())} />}</Show>
    </Figure>
  );
}

function counted(answer: Answer): Fact[] {
  const words = traffic();
  const time = numbers(answer, "time");
  const steps = ended(time, STEP_MS[width()], Date.now());
  const [volume, speed, coverage] = ["volume", "speed", "coverage"].map((name) => numbers(answer, name).slice(0, steps));
  const all = whole({ volume: volume!, speed: speed!, coverage: coverage! }, steps);
  const peak = peakHour(volume!, perHour());
  const lanes = place().sensors.length;
  return [
    {
      title: isPast() ? words.volumeOfDay : words.volumeSoFar,
      value: shown(all.volume, "{veh}"),
      about: words.counted[width() === "1h" ? "hours" : "quarters"](percent(all.coverage, 1), number(all.known), number(all.steps)),
    },
    {
      title: words.peakHour,
      value: peak === undefined ? "–" : spanOf(time[peak.at]!, time[peak.at]! + 3_600_000),
      about: peak === undefined ? words.noPeak : words.peak(shown(peak.volume, "{veh}"), number(peak.factor, 2)),
    },
    {
      title: words.meanSpeed,
      value: shown(all.speed, "km/h", 1),
      about: Number.isNaN(all.speed) ? words.noSpeed : words.spaceMean,
    },
    { title: words.detectorsTitle, value: number(lanes), about: words.silent },
  ];
}

/** Only where vehicles are known one by one: from what is added up, no quantile follows. */
function Passages(props: { sensors: string[] }) {
  const answer = asked(() => (isChosen() ? { sql: passages(props.sensors, range()) } : undefined), again);
  const facts = (answer: Answer): Fact[] => {
    const words = traffic();
    const [vehicles, v15, v50, v85] = ["vehicles", "v15", "v50", "v85"].map((name) => numbers(answer, name)[0]!);
    return [
      { title: words.v85, value: shown(v85, "km/h"), about: words.singles(number(vehicles)) },
      { title: words.v50, value: shown(v50, "km/h"), about: words.v50About },
      { title: words.v15, value: shown(v15, "km/h"), about: words.v15About },
    ];
  };
  const isEmpty = () => answer.answer() !== undefined && !(0 < numbers(answer.answer()!, "vehicles")[0]!);
  return (
    <Figure
      name="passages"
      title={traffic().passages}
      about={traffic().passagesAbout(number(props.sensors.length), number(place().sensors.length))}
      asked={answer}
      isEmpty={isEmpty()}
      empty={traffic().noPassages}
      height={HEIGHT}
    >
      <Show when={answer.answer()}>{(answer) => <Facts facts={facts(answer())} />}</Show>
    </Figure>
  );
}

/** Level of service and delay, of roads. */
function Level(props: { segments: string[] }) {
  const answer = asked(() => (isChosen() ? { sql: level(width(), props.segments, range()) } : undefined), again);
  const worst = createMemo(() => {
    const table = answer.answer();
    if (table === undefined) return undefined;
    const letters = texts(table, "los");
    let at = -1;
    letters.forEach((letter, row) => {
      if (letter !== null && (at < 0 || letters[at]! < letter)) at = row;
    });
    return at < 0 ? undefined : at;
  });
  const facts = (table: Answer): Fact[] => {
    const words = traffic();
    const [time, ratio, delay] = ["time", "speed_ratio", "delay_h"].map((name) => numbers(table, name));
    const delays = delay!.filter((hours) => !Number.isNaN(hours));
    const slowest = ratio!.reduce((low, value, row) => (value < (ratio![low] ?? Number.POSITIVE_INFINITY) ? row : low), -1);
    const estimated = numbers(table, "estimated").some((flag) => flag === 1);
    const los = worst();
    const segment = texts(table, "segment");
    const road = (row: number) => (1 < props.segments.length ? `${segmentTitle(segment[row] ?? "")}, ` : "");
    const where = (row: number) => road(row) + timeOf(time![row]!);
    const levelOf = (row: number) => words.losOf[texts(table, "los_of")[row] ?? ""] ?? "";
    return [
      los === undefined
        ? { title: words.los, value: "–", about: words.noLos }
        : { title: words.los, value: texts(table, "los")[los]!, about: words.losAt(where(los), levelOf(los)) },
      slowest < 0
        ? { title: words.ratio, value: "–", about: words.noRatio }
        : { title: words.ratio, value: percent(ratio![slowest]), about: words.ratioAt(where(slowest)) },
      {
        title: words.delay,
        value: delays.length === 0 ? "–" : `${number(sum(delays), 1)} h`,
        about: words.delayAbout(number(delays.length), number(table.rows)) + (estimated ? ` ${words.estimated}` : ""),
      },
    ];
  };
  return (
    <Figure name="level" title={traffic().level} about={traffic().levelAbout} asked={answer} height={HEIGHT}>
      <Show when={answer.answer()}>{(answer) => <Facts facts={facts(answer())} />}</Show>
    </Figure>
  );
}

export function DayFacts(): JSX.Element {
  const singles = () => place().sensors.filter(countsPassages);
  const segments = () => place().members.filter((member) => member.kind === "segment").map((member) => member.id);
  return (
    <>
      <Counted />
      <div class="columns">
        <Show when={0 < singles().length && sees("rollup_5m")}>
          <Passages sensors={singles()} />
        </Show>
        <Show when={0 < segments().length && sees("road")}>
          <Level segments={segments()} />
        </Show>
      </div>
      <Show when={0 < segments().length && sees("road") === false}>
        <p class="hint">{traffic().noRoad}</p>
      </Show>
    </>
  );
}
