/** Amounts of some things, side by side: a list that reads well without its bars, too. */

import { For } from "solid-js";
import { units } from "../city/session";
import { shownUnit } from "../city/unit";
import { number } from "../words/language";
import "../style/ranking.css";

export interface RankingProps {
  label: string;
  /** In UCUM, of all values. */
  unit: string | undefined;
  /** In the storage unit; NaN is missing. */
  rows: { label: string; value: number }[];
  digits?: number;
}

export function Ranking(props: RankingProps) {
  const unit = () => shownUnit(props.unit, units());
  const known = () => props.rows.map((row) => row.value).filter((value) => !Number.isNaN(value));
  const low = () => Math.min(0, ...known());
  const high = () => Math.max(0, ...known());
  const share = (value: number) => `${((value - low()) / (high() - low() || 1)) * 100}%`;
  const edges = (value: number) => ({ left: share(Math.min(value, 0)), width: `calc(${share(Math.max(value, 0))} - ${share(Math.min(value, 0))})` });
  return (
    <table class="ranking">
      <caption>
        {props.label}
        {unit().text === "" ? "" : ` (${unit().text})`}
      </caption>
      <tbody>
        <For each={props.rows}>
          {(row) => (
            <tr>
              <th scope="row" title={row.label}>{row.label}</th>
              <td class="number">{number(row.value * unit().factor, props.digits ?? 2)}</td>
              <td class="bar" aria-hidden="true">
                <span classList={{ none: Number.isNaN(row.value) }} style={Number.isNaN(row.value) ? { left: "0", width: "100%" } : edges(row.value)} />
              </td>
            </tr>
          )}
        </For>
      </tbody>
    </table>
  );
}
