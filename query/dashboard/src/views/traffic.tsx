/** One place of the road on one day, against what is usual there; or all roads, where none is chosen. */

import { createMemo, For, Show } from "solid-js";
import { areDetectorsRead } from "../city/detectors";
import { isRegistryRead } from "../city/registry";
import { Link } from "../controls/link";
import { linkTo, param, params } from "../route";
import "../style/traffic.css";
import { common } from "../words/common";
import { traffic } from "../words/traffic";
import { Choices } from "./traffic/choices";
import { day, place } from "./traffic/chosen";
import { DayChart } from "./traffic/day_chart";
import { DayFacts } from "./traffic/facts";
import { Network } from "./traffic/network";
import { directionOf, memberTitle, placeTitle } from "./traffic/title";

export default function Traffic() {
  const isReady = () => isRegistryRead() && areDetectorsRead() && day() !== undefined;
  const unknown = createMemo(() => place().members.filter((member) => member.detectors.length === 0));
  const directions = createMemo(() => {
    const all = place().members.map((member) => directionOf(member.direction));
    return [...new Set(all)].filter((name) => name !== "");
  });
  return (
    <div class="view traffic">
      <h1>{placeTitle(place())}</h1>
      <Show when={isReady()} fallback={<p role="status">{common().loading} …</p>}>
        <Show when={1 < directions().length}>
          <p class="hint">{traffic().bothDirections(directions().join(", "))}</p>
        </Show>
        <Choices />
        <For each={unknown()}>{(member) => <p class="failed">{traffic().unknown(memberTitle(member))}</p>}</For>
        <Show when={0 < place().members.length} fallback={<Network />}>
          <DayChart />
          <DayFacts />
          <Show when={params("segment").length === 1}>
            <p>
              <Link to={linkTo("corridor", { road: params("segment")[0], day: param("day") })}>{traffic().toCorridor}</Link>
            </p>
          </Show>
        </Show>
      </Show>
    </div>
  );
}
