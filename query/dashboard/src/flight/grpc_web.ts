/** Calls with one message there and many back, over gRPC-web: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md */

/** Bytes of one message at most; the service's have 2 MB. */
const MESSAGE_BYTES_MAX = 64 << 20;
const FRAME_HEAD = 5;
const TRAILER = 0x80;

/** gRPC's codes that a page tells apart. */
export const Code = { cancelled: 1, invalid: 3, deadline: 4, notFound: 5, denied: 7, exhausted: 8, unavailable: 14, unauthenticated: 16 } as const;

/** Why a call failed, with gRPC's code. */
export class CallError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

const UNREACHABLE = "the query service cannot be reached";

/**
 * Yields each message of the answer; ends when the service said that it is complete.
 * @throws CallError when the service refuses, the answer breaks off, or nobody answers.
 */
export async function* call(
  method: string,
  message: Uint8Array,
  credentials: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const request = new Uint8Array(FRAME_HEAD + message.length);
  new DataView(request.buffer).setUint32(1, message.length);
  request.set(message, FRAME_HEAD);
  const headers: Record<string, string> = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };
  if (credentials !== undefined) headers["authorization"] = credentials;
  let response: Response;
  try {
    response = await fetch(method, { method: "POST", headers, body: request, signal });
  } catch (error) {
    throw signal.aborted ? error : new CallError(Code.unavailable, UNREACHABLE);
  }
  check(response.headers);
  if (!response.ok || response.body === null) {
    throw new CallError(Code.unavailable, `the query service answers ${response.status}`);
  }
  const reader = response.body.getReader();
  try {
    yield* frames(() => read(reader, signal));
  } finally {
    reader.cancel().catch(() => undefined); // it may have ended
  }
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    return (await reader.read()).value;
  } catch (error) {
    throw signal.aborted ? error : new CallError(Code.unavailable, "the answer broke off");
  }
}

/** Cuts what is read into messages; the trailers must come, and last. Exported for tests. */
export async function* frames(next: () => Promise<Uint8Array | undefined>): AsyncGenerator<Uint8Array> {
  let [parts, held]: [Uint8Array[], number] = [[], 0];
  const take = (length: number): Uint8Array => {
    const [first] = parts;
    if (first !== undefined && length <= first.length) {
      parts[0] = first.subarray(length);
      held -= length;
      return first.subarray(0, length);
    }
    const taken = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const part = parts[0]!.subarray(0, length - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === parts[0]!.length) parts.shift();
      else parts[0] = parts[0]!.subarray(part.length);
    }
    held -= length;
    return taken;
  };
  const until = async (length: number): Promise<boolean> => {
    while (held < length) {
      const part = await next();
      if (part === undefined) return false;
      parts.push(part);
      held += part.length;
    }
    parts = parts.filter((part) => 0 < part.length);
    return true;
  };
  while (await until(FRAME_HEAD)) {
    const head = take(FRAME_HEAD);
    const length = new DataView(head.buffer, head.byteOffset).getUint32(1);
    if (MESSAGE_BYTES_MAX < length) throw new CallError(Code.exhausted, `a message of ${length} bytes is too large`);
    if (!(await until(length))) break;
    const message = take(length);
    if ((head[0]! & TRAILER) === 0) {
      yield message;
      continue;
    }
    const lines = new TextDecoder().decode(message).split("\r\n");
    check(new Headers(lines.filter((line) => line.includes(":")).map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    })), true);
    return;
  }
  throw new CallError(Code.unavailable, "the answer broke off");
}

/** Throws what the headers or trailers say went wrong. */
function check(headers: Headers, isEnd = false): void {
  const status = headers.get("grpc-status");
  if (status === "0" || (status === null && !isEnd)) return;
  const text = headers.get("grpc-message") ?? "";
  throw new CallError(Number(status ?? Code.unavailable), decoded(text) || `the query service says ${status}`);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not percent-encoded after all
  }
}
