/** Where somebody is: the address says it all, so that a copied address shows the same. */

import { createSignal } from "solid-js";

export const VIEWS = ["now", "traffic", "corridor", "utilities", "quality", "ask"] as const;
export type View = (typeof VIEWS)[number];
export type Params = Record<string, string | undefined>;

/** Chosen once for all views. */
const SHARED = ["units", "lang"];

interface Place {
  view: View;
  params: URLSearchParams;
}

function here(): Place {
  const name = location.pathname.slice(1);
  return { view: VIEWS.find((view) => view === name) ?? "now", params: new URLSearchParams(location.search) };
}

const [place, setPlace] = createSignal<Place>(here());
addEventListener("popstate", () => setPlace(here()));

export const view = (): View => place().view;

/** What the address says of the view; none where it says nothing. */
export const param = (name: string): string | undefined => place().params.get(name) ?? undefined;

/** Names in one parameter, separated by commas. */
export const params = (name: string): string[] => param(name)?.split(",").filter((part) => part !== "") ?? [];

function changed(from: URLSearchParams, changes: Params): URLSearchParams {
  const next = new URLSearchParams(from);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === "") next.delete(name);
    else next.set(name, value);
  }
  return next;
}

function address(view: View, params: URLSearchParams): string {
  // Commas and colons are plain in a query, and easier to read so.
  const query = `${params}`.replaceAll("%2C", ",").replaceAll("%3A", ":");
  return `/${view}${query === "" ? "" : `?${query}`}`;
}

/** Another view with these parameters, as an address. */
export function linkTo(view: View, changes: Params = {}): string {
  const shared = new URLSearchParams(SHARED.flatMap((name) => (param(name) === undefined ? [] : [[name, param(name)!]])));
  return address(view, changed(shared, changes));
}

export function go(to: string): void {
  history.pushState(null, "", to);
  setPlace(here());
}

/** Changes what the view shows. Each change is a step that Back undoes, but for those that follow a pointer. */
export function show(changes: Params, { replace = false } = {}): void {
  const to = address(view(), changed(place().params, changes));
  if (to === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  setPlace(here());
}
