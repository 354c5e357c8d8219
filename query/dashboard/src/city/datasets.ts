/** What can be asked for, as the service describes it: only what the role may see is there. */

import { createMemo, createResource, createRoot, type Resource } from "solid-js";
import { authorization } from "../flight/flight";
import { session } from "./session";

export interface DatasetColumn {
  name: string;
  type: string;
  unit: string | null;
  comment: string;
}

export interface Dataset {
  name: string;
  about: string;
  filters: string[];
  columns: DatasetColumn[];
}

/** Computed for a range of time, in buckets of any width. */
export const hasWidth = (dataset: Dataset): boolean => dataset.filters.includes("width");

async function read(): Promise<Dataset[]> {
  const header = authorization();
  const response = await fetch("/datasets", { headers: header === undefined ? {} : { authorization: header } });
  if (!response.ok) throw new Error(`the service answers ${response.status}`);
  return response.json();
}

const [resource, { refetch }]: [Resource<Dataset[]>, { refetch: () => unknown }] = createRoot(() =>
  createResource(() => session().state === "ready" || undefined, read),
);

/** Empty until it is read. */
export const datasets = createRoot(() => createMemo((): Dataset[] => (resource.state === "ready" ? resource() : [])));

export const datasetsState = (): "loading" | "failed" | "ready" =>
  resource.state === "ready" ? "ready" : resource.state === "errored" ? "failed" : "loading";

export const readDatasets = (): void => void refetch();

/** Whether the role may see a dataset; none while that is not known, and true where it cannot be told. */
export function sees(name: string): boolean | undefined {
  if (datasetsState() === "loading") return undefined;
  return datasetsState() === "failed" || datasets().some((dataset) => dataset.name === name);
}
