/** Which sensors are looked at: by what the registry says of them today. Pure. */

import { quoted } from "../../flight/question";

export const TRAITS = ["kind", "owner", "zone", "segment"] as const;
export type Trait = (typeof TRAITS)[number];
export type Filter = Record<Trait, string[]>;

/** Stands for those of which the registry says nothing. */
export const NONE = "-";

/** `column` is one of `names`, of which one may be nothing; true where nothing is chosen. */
export function oneOf(column: string, names: string[]): string {
  const named = names.filter((name) => name !== NONE && name !== "");
  const parts = [
    ...(0 < named.length ? [`${column} IN (${named.map(quoted).join(", ")})`] : []),
    ...(named.length < names.length ? [`${column} IS NULL`] : []),
  ];
  return parts.length === 0 ? "true" : parts.length === 1 ? parts[0]! : `(${parts.join(" OR ")})`;
}

/** Conditions on rows of `sensor`, each with AND before it. */
export function conditions(filter: Filter, alias: string): string {
  return TRAITS.filter((trait) => 0 < filter[trait].length)
    .map((trait) => `\n  AND ${oneOf(`${alias}.${trait}`, filter[trait])}`)
    .join("");
}

/** Rows of `sensor` that hold now. */
export const today = (alias: string): string => `(${alias}.valid_to IS NULL OR ${alias}.valid_to > now())`;
