/** What the service offers whoever asks: roles see different datasets and columns. */

import { datasets, datasetsState, sees } from "../../city/datasets";

export const isOfferKnown = (): boolean => datasetsState() !== "loading";

/** Where the list of datasets cannot be read, all may be asked: the answer will say. */
export function offers(dataset: string, column?: string): boolean {
  if (sees(dataset) !== true) return false;
  if (column === undefined || datasetsState() === "failed") return true;
  return datasets().some(({ name, columns }) => name === dataset && columns.some((one) => one.name === column));
}
