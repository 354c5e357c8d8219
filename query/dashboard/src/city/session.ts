/** Who asks, which city answers, and how people want its numbers. */

import { createSignal } from "solid-js";
import { authorize, authorization, fetched } from "../flight/flight";
import { param } from "../route";
import { Clock } from "./clock";
import type { System } from "./unit";

const KEPT = "screenline.token";

export interface City {
  clock: Clock;
  role: string;
  /** Of who signed in; none where nobody has to. */
  name: string | undefined;
  version: string;
}

export type Session = { state: "starting" } | { state: "signed-out"; refused: boolean } | { state: "failed" } | { state: "ready"; city: City };

const [session, setSession] = createSignal<Session>({ state: "starting" });
export { session };

/** Only inside of views, which are shown when it is there. */
export function city(): City {
  const now = session();
  if (now.state !== "ready") throw new Error("asked for the city before it answered");
  return now.city;
}

export const clock = (): Clock => city().clock;

export const units = (): System => (param("units") === "imperial" ? "imperial" : "metric");

/** Up to when answers are complete, in milliseconds since 1970. */
const [completeUntil, setCompleteUntil] = createSignal<number>();
export { completeUntil };

export function heard(until: number | undefined): void {
  if (until !== undefined) setCompleteUntil((known) => Math.max(known ?? until, until));
}

interface Page {
  version: string;
  time_zone: string | null;
  clocks: [string, number, string][];
  role: string;
  name: string | null;
  complete_until: string | null;
}

/** Asks for the city, with the token that was kept. */
export async function start(): Promise<void> {
  authorize(sessionStorage.getItem(KEPT) ?? undefined);
  const header = authorization();
  try {
    const response = await fetched("/city");
    if (response.status === 401) {
      setSession({ state: "signed-out", refused: header !== undefined });
      return;
    }
    if (!response.ok) throw new Error(`${response.status}`);
    const page: Page = await response.json();
    const changes = page.clocks.map(([from, seconds, abbreviation]) => ({ from: Date.parse(from), offsetMs: seconds * 1000, abbreviation }));
    const clock = new Clock(page.time_zone ?? "UTC", changes);
    heard(page.complete_until === null ? undefined : Date.parse(page.complete_until));
    setSession({ state: "ready", city: { clock, role: page.role, name: page.name ?? undefined, version: page.version } });
  } catch {
    setSession({ state: "failed" });
  }
}

export async function signIn(token: string): Promise<void> {
  sessionStorage.setItem(KEPT, `Bearer ${token.trim()}`);
  await start();
}

export function signOut(): void {
  sessionStorage.removeItem(KEPT);
  authorize(undefined);
  setSession({ state: "signed-out", refused: false });
}
