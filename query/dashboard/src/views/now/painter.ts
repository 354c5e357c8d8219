/** Tells the map what changed, and not more. */

import { createEffect, on, untrack } from "solid-js";
import type { Look, Mark, Sheet } from "../../map/sheet";
import type { Changes } from "./board";
import type { Choices } from "./choices";
import type { Shown } from "./shown";
import { conditionOf } from "./state";
import type { Watch } from "./watch";

export interface Painter {
  /** It is there, or other things are on it. */
  attach(sheet: Sheet | undefined): void;
  /** What a flush of the board says, for those of the layer. */
  told(changes: Changes): void;
}

export function painter(city: Watch, { by }: Choices, shown: Shown): Painter {
  let sheet: Sheet | undefined;
  let marked = "";
  function all(): void {
    if (sheet === undefined) return;
    const now = Date.now();
    const marks: [string, Mark][] = [];
    const looks = shown.entries().map((entry): [string, Look] => {
      const { state } = conditionOf(entry, now);
      if (state !== "ok") marks.push([entry.sensor.id, state]);
      return [entry.sensor.id, shown.look(entry, now)];
    });
    sheet.look("dot", looks);
    sheet.look(
      "road",
      shown.roads().map(({ id }): [string, Look] => [id, shown.lookOfRoad(id)]),
    );
    const text = JSON.stringify(marks);
    if (text !== marked) sheet.mark(marks);
    marked = text;
  }
  createEffect(on([city.refreshed, by, shown.metric, shown.scale], all));
  return {
    attach(there) {
      sheet = there;
      marked = "";
      untrack(all);
    },
    told({ changed, heard }) {
      const now = Date.now();
      const looks = Array.from(changed).flatMap((id): [string, Look][] => {
        const entry = city.board.entries.get(id);
        return entry === undefined ? [] : [[id, shown.look(entry, now)]];
      });
      sheet?.look("dot", looks);
      sheet?.pulse(heard);
    },
  };
}
