/** Which sensors: by kind, owner, zone and segment, as the registry has them. */

import { For, Show } from "solid-js";
import { registry } from "../../city/registry";
import { Choice } from "../../controls/choice";
import { show } from "../../route";
import { words } from "../../words/quality";
import { filter } from "./chosen";
import { NONE, TRAITS, type Trait } from "./filter";

const MOST = 20;

export function SensorChoices() {
  const options = (trait: Trait) => {
    const sensors = [...registry().sensors.values()].filter((sensor) => !sensor.isQuarantined);
    const values = new Set(sensors.map((sensor) => sensor[trait] || NONE));
    const named = [...values].filter((value) => value !== NONE).toSorted((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    return [...named.map((id) => ({ id, title: id })), ...(values.has(NONE) && 0 < named.length ? [{ id: NONE, title: words().filter.none }] : [])];
  };
  return (
    <div class="choices row">
      <For each={TRAITS}>
        {(trait) => (
          <Show when={1 < options(trait).length || 0 < filter()[trait].length}>
            <Choice label={words().filter[trait]} options={options(trait)} chosen={filter()[trait]} most={MOST} onChoose={(names) => show({ [trait]: names.join(","), row: undefined })} />
          </Show>
        )}
      </For>
    </div>
  );
}
