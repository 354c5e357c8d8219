import { describe, expect, test } from "vitest";
import { CallError, frames } from "../src/flight/grpc_web";
import { decodeFlightData, encodeTicket } from "../src/flight/protobuf";
import { downloadPath, sqlOf } from "../src/flight/question";

const bytes = (...values: number[]) => Uint8Array.from(values);
const frame = (flag: number, body: Uint8Array) => bytes(flag, 0, 0, body.length >> 8, body.length & 255, ...body);
const trailer = (text: string) => frame(0x80, new TextEncoder().encode(text));

async function read(all: Uint8Array, size: number): Promise<Uint8Array[]> {
  let at = 0;
  const next = async () => (at < all.length ? all.subarray(at, (at += size)) : undefined);
  const found: Uint8Array[] = [];
  for await (const message of frames(next)) found.push(Uint8Array.from(message));
  return found;
}

const joined = (...parts: Uint8Array[]) => bytes(...parts.flatMap((part) => [...part]));

describe("gRPC-web", () => {
  test("messages are the same however the network cuts them", async () => {
    const large = new Uint8Array(300).fill(7);
    const all = joined(frame(0, bytes(1, 2, 3)), frame(0, bytes()), frame(0, large), trailer("grpc-status: 0\r\n"));
    for (const size of [1, 2, 5, 6, 7, 299, 10_000]) {
      expect(await read(all, size)).toEqual([bytes(1, 2, 3), bytes(), large]);
    }
  });

  test("an answer without its end is broken, wherever it is cut", async () => {
    const all = joined(frame(0, bytes(1, 2, 3)), trailer("grpc-status: 0\r\n"));
    for (let length = 0; length < all.length; length++) {
      await expect(read(all.subarray(0, length), 4)).rejects.toThrow("the answer broke off");
    }
  });

  test("what went wrong is in the trailers", async () => {
    const all = joined(frame(0, bytes(1)), trailer("grpc-status:8\r\ngrpc-message: too%20much\r\n"));
    const error = await read(all, 3).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CallError);
    expect(error).toMatchObject({ code: 8, message: "too much" });
  });

  test("lengths are not believed", async () => {
    await expect(read(bytes(0, 255, 255, 255, 255), 5)).rejects.toThrow("too large");
    expect(() => decodeFlightData(bytes(0x12, 200, 1, 0))).toThrow(RangeError);
    expect(() => decodeFlightData(bytes(...new Array<number>(12).fill(0xff)))).toThrow(RangeError);
  });
});

describe("messages", () => {
  test("a ticket has its length before it", () => {
    expect(encodeTicket(bytes(9))).toEqual(bytes(0x0a, 1, 9));
    expect([...encodeTicket(new Uint8Array(300)).subarray(0, 3)]).toEqual([0x0a, 0xac, 0x02]);
  });

  test("fields are found in any order, and others passed over", () => {
    const data = decodeFlightData(bytes(0xc2, 0x3e, 2, 5, 6, 0x12, 1, 4, 0x08, 3, 0x1a, 1, 9));
    expect(data).toEqual({ header: bytes(4), metadata: bytes(9), body: bytes(5, 6) });
  });
});

describe("a question", () => {
  const question = { dataset: "traffic", width: "15m", sensor: ["it's", "b"], from: "2026-11-01T00:00:00Z" };

  test("is a statement", () => {
    expect(sqlOf(question)).toBe(
      "SELECT *\nFROM traffic('15m')\nWHERE sensor IN ('it''s', 'b')\n  AND time >= '2026-11-01T00:00:00Z'",
    );
  });

  test("is a file", () => {
    expect(downloadPath(question, "csv")).toBe("/export/traffic.csv?width=15m&sensor=it%27s%2Cb&from=2026-11-01T00%3A00%3A00Z");
    expect(downloadPath({ sql: "SELECT 1" }, "parquet", "one")).toBe("/export/one.parquet?sql=SELECT+1");
  });
});
