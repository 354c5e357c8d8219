/** A local day, with its neighbours and what is special about it. */

import { createUniqueId, Show } from "solid-js";
import { addDays, type Day, isDay, isoWeek } from "../city/clock";
import { clock } from "../city/session";
import { common } from "../words/common";
import { number } from "../words/language";

export const today = (): Day => clock().day(Date.now());

export function DayChoice(props: { label?: string; day: Day; onChoose: (day: Day) => void }) {
  const id = createUniqueId();
  const hours = () => clock().hours(props.day);
  return (
    <div class="day">
      <label for={id}>{props.label ?? common().day}</label>
      <div class="row">
        <button type="button" class="quiet" aria-label={common().dayBefore} title={common().dayBefore} onClick={() => props.onChoose(addDays(props.day, -1))}>
          ‹
        </button>
        <input id={id} type="date" value={props.day} onChange={(event) => isDay(event.currentTarget.value) && props.onChoose(event.currentTarget.value)} />
        <button type="button" class="quiet" aria-label={common().dayAfter} title={common().dayAfter} onClick={() => props.onChoose(addDays(props.day, 1))}>
          ›
        </button>
        <button type="button" class="quiet" disabled={props.day === today()} onClick={() => props.onChoose(today())}>
          {common().today}
        </button>
        <span class="hint">{isoWeek(props.day)}</span>
      </div>
      <Show when={hours() !== 24}>
        <p class="hint">{common().clocksChange(number(hours(), 1))}</p>
      </Show>
    </div>
  );
}
