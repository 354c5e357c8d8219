/** Answers of the query service, and what it tells as it comes. */

import { first, rowsIn, table, type Table } from "./arrow";
import { call, CallError, Code } from "./grpc_web";
import { decodeFlightData, encodeTicket, type FlightData } from "./protobuf";
import { type Question, type Ticket, ticketBytes } from "./question";

const DO_GET = "/arrow.flight.protocol.FlightService/DoGet";
/** The service tells that it lives every 15 seconds; after two of them nobody believes it. */
const SILENCE_MS = 35_000;
const BACK_OFF_MS = { first: 500, most: 15_000 };

export interface Answer extends Table {
  /** Up to when it is complete, in milliseconds since 1970; none where that cannot be told. */
  completeUntil: number | undefined;
  tookMs: number;
  /** There is more than was asked for at most. */
  isCut: boolean;
}

/** What a page takes of one answer at most. */
export interface Most {
  rows: number;
  bytes: number;
}

/** More makes a browser slow; the files of an answer have all of it. */
export const MOST: Most = { rows: 1_000_000, bytes: 256 << 20 };

let credentials: string | undefined;

/** The header that every question carries from now on. */
export function authorize(header: string | undefined): void {
  credentials = header;
}

export const authorization = (): string | undefined => credentials;

/** A page of the service, with what every question carries. */
export function fetched(path: string): Promise<Response> {
  // Says that a script asks: else the browser would put a dialogue of its own before our sign-in.
  const headers: Record<string, string> = { "x-requested-with": "fetch" };
  if (credentials !== undefined) headers["authorization"] = credentials;
  return fetch(path, { headers });
}

async function* messages(question: Question, signal: AbortSignal): AsyncGenerator<FlightData> {
  for await (const message of call(DO_GET, encodeTicket(ticketBytes(question)), credentials, signal)) {
    yield decodeFlightData(message);
  }
}

interface Said {
  complete_until?: string | null;
  resume?: string;
  at?: string;
}

function said(message: FlightData): Said {
  return message.metadata.length === 0 ? {} : JSON.parse(new TextDecoder().decode(message.metadata));
}

/**
 * Takes the beginning of an answer that is larger than `most`.
 * @throws CallError, or what `signal` was aborted with.
 */
export async function ask(question: Question, signal: AbortSignal, most = MOST): Promise<Answer> {
  const began = performance.now();
  const all: FlightData[] = [];
  let [rows, bytes] = [0, 0];
  for await (const message of messages(question, signal)) {
    all.push(message);
    rows += rowsIn(message);
    bytes += message.body.length;
    if (most.rows < rows || most.bytes < bytes) break;
  }
  const until = all.map((message) => said(message).complete_until).find((until) => typeof until === "string");
  const isCut = most.rows < rows || most.bytes < bytes;
  const tookMs = performance.now() - began;
  return { ...first(table(all), most.rows), completeUntil: until ? Date.parse(until) : undefined, tookMs, isCut };
}

export type Line = { state: "connecting" } | { state: "open" } | { state: "broken"; error: CallError; retryMs: number };

export interface Listener {
  /** What came; never empty. */
  rows(table: Table): void;
  line(line: Line): void;
}

/**
 * Follows what is committed, message by message, and takes up again where it broke off, until `signal` is aborted.
 * After an answer that says that nothing can be taken up, it begins anew.
 */
export async function follow(ticket: Ticket, listener: Listener, signal: AbortSignal): Promise<void> {
  let resume: string | undefined;
  for (let failures = 0; !signal.aborted; ) {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    signal.addEventListener("abort", stop);
    let silence: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(stop, SILENCE_MS);
    };
    try {
      listener.line({ state: "connecting" });
      alive();
      let schema: FlightData | undefined;
      const question: Ticket = { ...ticket, live: true, ...(resume === undefined ? {} : { resume }) };
      for await (const message of messages(question, attempt.signal)) {
        alive();
        if (schema === undefined) listener.line({ state: "open" });
        schema ??= message;
        failures = 0;
        // Each message is decoded as it comes: the library's own stream is one message behind.
        if (message !== schema && 0 < message.body.length) listener.rows(table([schema, message]));
        resume = said(message).resume ?? resume;
      }
    } catch (error) {
      if (signal.aborted) break;
      const broken = error instanceof CallError ? error : new CallError(Code.unavailable, "nothing was heard for too long");
      if (broken.code === Code.invalid && resume !== undefined) resume = undefined;
      const retryMs = Math.min(BACK_OFF_MS.first * 2 ** failures, BACK_OFF_MS.most) * (0.75 + Math.random() / 2);
      failures += 1;
      listener.line({ state: "broken", error: broken, retryMs });
      await new Promise<void>((wake) => {
        const timer = setTimeout(wake, retryMs);
        signal.addEventListener("abort", () => (clearTimeout(timer), wake()), { once: true });
      });
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", stop);
    }
  }
}
