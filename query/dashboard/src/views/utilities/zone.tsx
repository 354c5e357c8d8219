import { Show } from "solid-js";
import { Balance } from "./balance";
import { isWater, NO_ZONE } from "./counting";
import { ZoneDemand } from "./demand";
import { Meters } from "./meters";
import { Nights } from "./night";
import { PeaksOfDay } from "./peaks";
import type { Place } from "./place";
import { utilities } from "../../words/utilities";

/** A zone: what came in, what was counted, what was lost, when it peaks, and by whom. */
export function ZonePage(props: { place: Place }) {
  const has = (role: string) => props.place.ofZone().some((one) => one.role === role && isWater(one.metric));
  /** Why there is no balance, in words; none where there is one. */
  const lack = () => {
    const words = utilities().balance;
    if (!isWater(props.place.metric())) return words.onlyWater;
    if (props.place.zone() === NO_ZONE) return words.noZone;
    if (!has("inlet")) return words.noInlet;
    return has("customer") ? undefined : words.noCustomer;
  };
  return (
    <>
      <Show when={lack() === undefined} fallback={<p class="figure lack">{lack()}</p>}>
        <Balance place={props.place} />
        <Nights place={props.place} />
      </Show>
      <ZoneDemand place={props.place} />
      <PeaksOfDay place={props.place} />
      <Meters place={props.place} />
    </>
  );
}
