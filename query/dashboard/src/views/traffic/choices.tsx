/** What is looked at, when, and against what. */

import { createMemo, createUniqueId, For, Show } from "solid-js";
import { addDays, isDay } from "../../city/clock";
import { detectors, stationsBySegment } from "../../city/detectors";
import { registry } from "../../city/registry";
import { Choice, type Option } from "../../controls/choice";
import { DayChoice, today } from "../../controls/day";
import { Pick } from "../../controls/pick";
import { params, show } from "../../route";
import { common } from "../../words/common";
import { number } from "../../words/language";
import { traffic } from "../../words/traffic";
import { COMPARED, type Compared, compared, day, isDayChosen, isSplit, measure, otherDay, place, step, STEPS } from "./chosen";
import { MEMBERS_MAX, split } from "./place";
import { MEASURES } from "./sql";
import { directionOf, segmentTitle, sensorTitle } from "./title";

const [ROAD, SENSOR] = ["segment:", "sensor:"];

/** Roads first, then single detectors. */
function options(): Option[] {
  const words = traffic();
  const roads = [...stationsBySegment()].map(([id, stations]) => {
    const lanes = Math.max(...stations.map((station) => station.detectors.length));
    return { id: `${ROAD}${id}`, title: words.roadOption(segmentTitle(id), number(lanes)) };
  });
  const single = detectors().map((sensor) => {
    const where = sensor.segment === undefined ? "" : `${sensor.segment} ${directionOf(sensor.direction)}`.trim();
    return { id: `${SENSOR}${sensor.id}`, title: words.detectorOption(sensorTitle(sensor.id), where) };
  });
  return [...roads, ...single];
}

export function Choices() {
  const all = createMemo(options);
  const chosen = () => [...params("segment").map((id) => ROAD + id), ...params("sensor").map((id) => SENSOR + id)];
  const choose = (ids: string[]) => {
    const of = (prefix: string) =>
      ids.filter((id) => id.startsWith(prefix)).map((id) => id.slice(prefix.length)).join(",");
    show({ segment: of(ROAD), sensor: of(SENSOR), at: undefined });
  };
  const each = () => (place().members.length === 1 ? "lane" : split(place()));
  const isPlace = () => 0 < chosen().length;
  const behind = () => {
    const [segment, ...others] = [...params("segment"), ...params("sensor")];
    return others.length === 0 ? (stationsBySegment().get(segment ?? "") ?? []) : [];
  };
  return (
    <>
      <div class="choices">
        <Choice label={traffic().place} options={all()} chosen={chosen()} most={MEMBERS_MAX} onChoose={choose} />
        <Show when={isPlace()}>
          <button type="button" class="quiet whole" onClick={() => show({ segment: undefined, sensor: undefined, at: undefined })}>
            {traffic().wholeNetwork}
          </button>
        </Show>
        <Show when={day()}>{(day) => <DayChoice day={day()} onChoose={(day) => show({ day })} />}</Show>
      </div>
      <Show when={registry().isCut}>
        <p class="hint">{common().tooManySensors(number(registry().sensors.size))}</p>
      </Show>
      <Show when={!isDayChosen() && day() !== undefined && day() !== today()}>
        <p class="hint">{traffic().lastDay}</p>
      </Show>
      <Show when={isPlace()}>
        <div class="choices">
          <Show when={1 < behind().length}>
            <Pick
              label={traffic().station}
              options={behind().map((station) => ({ id: `${station.offsetM}`, title: traffic().stationAt(number(station.offsetM)) }))}
              chosen={`${place().members[0]?.station?.offsetM}`}
              onChoose={(at) => show({ at })}
            />
          </Show>
          <Pick
            label={traffic().measure}
            options={MEASURES.map((id) => ({ id, title: traffic().measures[id] }))}
            chosen={measure()}
            onChoose={(id) => show({ measure: id === "volume" ? undefined : id })}
          />
          <Pick
            label={common().width}
            options={STEPS.map((id) => ({ id, title: common().widths[id]! }))}
            chosen={step()}
            onChoose={(id) => show({ step: id })}
          />
          <Pick
            label={traffic().lines}
            options={(["total", "each"] as const).map((id) => ({ id, title: traffic().linesOf[id === "each" ? each() : id] }))}
            chosen={isSplit() ? "each" : "total"}
            onChoose={(id) => show({ lines: id === "each" ? id : undefined })}
          />
          <Show when={!isSplit()}>
            <Against />
          </Show>
        </div>
      </Show>
    </>
  );
}

function Against() {
  const id = createUniqueId();
  const choose = (to: Compared) => {
    const other = otherDay() ?? (day() === undefined ? undefined : addDays(day()!, -1));
    show({ compare: to === "typical" ? undefined : to === "date" ? other : to });
  };
  return (
    <div class="pick">
      <label for={id}>{traffic().compare}</label>
      <div class="row">
        <select id={id} onChange={(event) => choose(event.currentTarget.value as Compared)}>
          <For each={COMPARED}>{(one) => <option value={one} selected={compared() === one}>{traffic().compared[one]}</option>}</For>
        </select>
        <Show when={compared() === "date"}>
          <input
            type="date"
            aria-label={traffic().compared.date}
            value={otherDay() ?? ""}
            onChange={(event) => isDay(event.currentTarget.value) && show({ compare: event.currentTarget.value })}
          />
        </Show>
      </div>
    </div>
  );
}
