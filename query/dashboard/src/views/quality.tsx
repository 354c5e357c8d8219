/** How far the numbers can be believed: what came, what is broken, what was late or refused, and whether it adds up. */

import { Match, Switch } from "solid-js";
import { Pick } from "../controls/pick";
import { show } from "../route";
import { words } from "../words/quality";
import { AccountPart } from "./quality/account_part";
import { ChangesPart } from "./quality/changes_part";
import { SensorChoices } from "./quality/choices";
import { part, PARTS } from "./quality/chosen";
import { CoveragePart } from "./quality/coverage_part";
import { Facts } from "./quality/facts";
import { HealthPart } from "./quality/health_part";
import { RefusedPart } from "./quality/refused_part";
import "../style/quality.css";

export default function Quality() {
  return (
    <div class="view quality">
      <div>
        <h1>{words().title}</h1>
        <p class="hint">{words().about}</p>
      </div>
      <Facts />
      <Pick label={words().part} options={PARTS.map((id) => ({ id, title: words().parts[id] }))} chosen={part()} onChoose={(part) => show({ part: part === "coverage" ? undefined : part, day: undefined, row: undefined })} />
      <Switch>
        <Match when={part() === "coverage"}>
          <SensorChoices />
          <CoveragePart />
        </Match>
        <Match when={part() === "health"}>
          <SensorChoices />
          <HealthPart />
        </Match>
        <Match when={part() === "refused"}><RefusedPart /></Match>
        <Match when={part() === "account"}><AccountPart /></Match>
        <Match when={part() === "changes"}><ChangesPart /></Match>
      </Switch>
    </div>
  );
}
