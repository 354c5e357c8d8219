/** Tables and columns by a part of their names or descriptions. Pure. */

import type { Dataset, DatasetColumn } from "../../city/datasets";

/** As a statement names it. */
export const called = (dataset: Dataset): string => (dataset.filters.includes("width") ? `${dataset.name}('1h')` : dataset.name);

export interface Found {
  dataset: Dataset;
  /** Those that fit; all of them where the dataset itself does. */
  columns: DatasetColumn[];
  isOpen: boolean;
}

/** The datasets and columns that have all words. */
export function found(all: Dataset[], typed: string): Found[] {
  const parts = typed.toLowerCase().split(/\s+/).filter((part) => part !== "");
  const fits = (...texts: string[]) => parts.every((part) => texts.some((text) => text.toLowerCase().includes(part)));
  return all.flatMap((dataset): Found[] => {
    if (parts.length === 0) return [{ dataset, columns: dataset.columns, isOpen: false }];
    const columns = dataset.columns.filter((column) => fits(column.name, column.comment, dataset.name));
    if (fits(dataset.name, dataset.about)) return [{ dataset, columns: dataset.columns, isOpen: false }];
    return columns.length === 0 ? [] : [{ dataset, columns, isOpen: true }];
  });
}
