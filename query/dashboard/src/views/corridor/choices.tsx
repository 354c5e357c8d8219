/** Which road, which day, which hours, which measure. */

import { createUniqueId, For, Show } from "solid-js";
import { stationsBySegment } from "../../city/detectors";
import { registry } from "../../city/registry";
import { Choice } from "../../controls/choice";
import { DayChoice, today } from "../../controls/day";
import { Pick } from "../../controls/pick";
import { params, show } from "../../route";
import { common } from "../../words/common";
import { corridor } from "../../words/corridor";
import { number } from "../../words/language";
import { directionOf, segmentTitle } from "../traffic/title";
import { type Chain, lengthM, shortened } from "./chain";
import { day, fromHour, HOURS, isDayChosen, isList, measure, road, roads, step, STEPS, toHour } from "./chosen";
import { distance } from "./heat";
import { MEASURES } from "./sql";

/** A list as long as a page is high. */
const LIST_MAX = 60;
const PARTS = [
  { id: "day", from: 0, to: HOURS },
  { id: "morning", from: 6, to: 10 },
  { id: "evening", from: 15, to: 19 },
] as const;

/** What both names begin with is said once. */
const ends = (from: string, to: string): string => `${from} → ${shortened([from, to])[1]}`;

/** From where to where, which way, how long. */
export function roadTitle({ segments }: Chain): string {
  const [first, last] = [segments[0]!, segments.at(-1)!];
  const name = first.name ?? (segments.length === 1 ? first.id : ends(first.from ?? first.id, last.to ?? last.id));
  const way = directionOf(first.direction);
  const length = lengthM({ id: "", segments });
  const size = corridor().size(number(segments.length), Number.isNaN(length) ? "" : distance(length));
  return `${name}${way === "" ? "" : `, ${way}`} · ${size}`;
}

const two = (hour: number): string => `${`${hour}`.padStart(2, "0")}:00`;

function Hour(props: { label: string; at: number; from: number; to: number; onChoose: (hour: number) => void }) {
  const id = createUniqueId();
  const hours = () => Array.from({ length: props.to - props.from + 1 }, (_, at) => props.from + at);
  return (
    <div class="pick">
      <label for={id}>{props.label}</label>
      <select id={id} onChange={(event) => props.onChoose(Number(event.currentTarget.value))}>
        <For each={hours()}>{(hour) => <option value={hour} selected={hour === props.at}>{two(hour)}</option>}</For>
      </select>
    </div>
  );
}

export function Choices() {
  const hours = (from: number, to: number) =>
    show({ from: from === 0 ? undefined : `${from}`, to: to === HOURS ? undefined : `${to}` });
  const begin = (from: number) => hours(from, Math.max(toHour(), from + 1));
  const end = (to: number) => hours(Math.min(fromHour(), to - 1), to);
  const part = () => PARTS.find((part) => part.from === fromHour() && part.to === toHour())?.id ?? "";
  const chosen = () => roads().find((chain) => chain.segments[0] === road()[0])?.id;
  const segments = () => [...registry().segments.values()].filter((segment) => stationsBySegment().has(segment.id));
  return (
    <>
      <div class="choices">
        <Choice
          label={corridor().choose}
          options={roads().map((chain) => ({ id: chain.id, title: roadTitle(chain) }))}
          chosen={isList() || chosen() === undefined ? [] : [chosen()!]}
          onChoose={([road]) => show({ road, segment: undefined })}
        />
        <Show when={day()}>{(day) => <DayChoice day={day()} onChoose={(day) => show({ day })} />}</Show>
      </div>
      <Show when={!isDayChosen() && day() !== undefined && day() !== today()}>
        <p class="hint">{corridor().lastDay}</p>
      </Show>
      <Show when={1 < roads().length && roads().every((chain) => chain.segments.length === 1)}>
        <p class="hint">{corridor().noNodes}</p>
      </Show>
      <details open={isList()}>
        <summary>{corridor().ownList}</summary>
        <Choice
          label={corridor().list}
          options={segments().map((segment) => ({ id: segment.id, title: segmentTitle(segment.id) }))}
          chosen={params("segment")}
          most={LIST_MAX}
          onChoose={(ids) => show({ segment: ids.join(","), road: undefined })}
        />
      </details>
      <div class="choices">
        <Pick
          label={corridor().measure}
          options={MEASURES.map((id) => ({ id, title: corridor().measures[id] }))}
          chosen={measure()}
          onChoose={(id) => show({ measure: id === "speed" ? undefined : id })}
        />
        <Pick
          label={common().width}
          options={STEPS.map((id) => ({ id, title: common().widths[id]! }))}
          chosen={step()}
          onChoose={(id) => show({ step: id })}
        />
        <Pick
          label={corridor().hours}
          options={PARTS.map(({ id }) => ({ id: id as string, title: corridor().parts[id] }))}
          chosen={part()}
          onChoose={(id) => {
            const { from, to } = PARTS.find((part) => part.id === id)!;
            hours(from, to);
          }}
        />
        <Hour label={corridor().from} at={fromHour()} from={0} to={HOURS - 1} onChoose={begin} />
        <Hour label={corridor().to} at={toHour()} from={1} to={HOURS} onChoose={end} />
      </div>
    </>
  );
}
