/** A live line as a view has it: paused by hand, and while nobody looks. */

import { type Accessor, createEffect, createSignal, onCleanup } from "solid-js";
import type { Table } from "../../flight/arrow";
import { follow, type Line } from "../../flight/flight";
import { Code } from "../../flight/grpc_web";
import type { Ticket } from "../../flight/question";
import { signOut } from "../../city/session";

/** `refused`: this service, or this role, has no such line. */
export type LineState =
  | Exclude<Line, { state: "broken" }>
  | { state: "broken"; until: number }
  | { state: "paused" }
  | { state: "refused" };

const REFUSED: number[] = [Code.invalid, Code.denied, Code.notFound];

/** True while the page is not seen. */
export function hidden(): Accessor<boolean> {
  const [isHidden, setHidden] = createSignal(document.hidden);
  const changed = () => setHidden(document.hidden);
  document.addEventListener("visibilitychange", changed);
  onCleanup(() => document.removeEventListener("visibilitychange", changed));
  return isHidden;
}

export function line(ticket: Ticket, isWanted: Accessor<boolean>, rows: (table: Table) => void): Accessor<LineState> {
  const [state, setState] = createSignal<LineState>({ state: "paused" });
  createEffect(() => {
    if (!isWanted()) return setState({ state: "paused" });
    const stop = new AbortController();
    let wasOpen = false;
    const hear = (line: Line) => {
      if (stop.signal.aborted) return;
      wasOpen ||= line.state === "open";
      if (line.state !== "broken") return setState(line);
      if (line.error.code === Code.unauthenticated) return signOut();
      if (!wasOpen && REFUSED.includes(line.error.code)) {
        stop.abort();
        return setState({ state: "refused" });
      }
      return setState({ state: "broken", until: Date.now() + line.retryMs });
    };
    void follow(ticket, { rows, line: hear }, stop.signal);
    onCleanup(() => stop.abort());
  });
  return state;
}
