/** One of a few: buttons side by side. */

import { For } from "solid-js";

export function Pick<T extends string>(props: { label: string; options: { id: T; title: string }[]; chosen: T; onChoose: (id: T) => void }) {
  return (
    <div class="pick">
      <span class="label" aria-hidden="true">{props.label}</span>
      <div class="row" role="group" aria-label={props.label}>
        <For each={props.options}>
          {(option) => (
            <button type="button" aria-pressed={props.chosen === option.id} onClick={() => props.onChoose(option.id)}>
              {option.title}
            </button>
          )}
        </For>
      </div>
    </div>
  );
}
