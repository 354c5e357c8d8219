/** The few fields of Arrow Flight's messages that a page needs, in protocol buffers. */

const TICKET = 1; // Ticket.ticket
const DATA_HEADER = 2; // FlightData.data_header
const APP_METADATA = 3; // FlightData.app_metadata
const DATA_BODY = 1000; // FlightData.data_body
const LENGTH_DELIMITED = 2;

/** One message of an answer: the header and body of an Arrow IPC message, and what the service says beside it. */
export interface FlightData {
  header: Uint8Array;
  metadata: Uint8Array;
  body: Uint8Array;
}

const NOTHING = new Uint8Array(0);

export function encodeTicket(ticket: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = ticket.length; ; rest = Math.floor(rest / 128)) {
    length.push(rest < 128 ? rest : (rest % 128) | 128);
    if (rest < 128) break;
  }
  const message = new Uint8Array(1 + length.length + ticket.length);
  message[0] = (TICKET << 3) | LENGTH_DELIMITED;
  message.set(length, 1);
  message.set(ticket, 1 + length.length);
  return message;
}

/** @throws RangeError when the bytes are no such message. */
export function decodeFlightData(bytes: Uint8Array): FlightData {
  const data: FlightData = { header: NOTHING, metadata: NOTHING, body: NOTHING };
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || factor > 2 ** 49) throw new RangeError("a number that does not end");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const [field, kind] = [Math.floor(tag / 8), tag % 8];
    if (kind === 0) {
      varint();
      continue;
    }
    const length = kind === LENGTH_DELIMITED ? varint() : kind === 1 ? 8 : kind === 5 ? 4 : Number.NaN;
    if (!(at + length <= bytes.length)) throw new RangeError("a field that is longer than its message");
    const value = bytes.subarray(at, at + length);
    at += length;
    if (field === DATA_HEADER) data.header = value;
    else if (field === APP_METADATA) data.metadata = value;
    else if (field === DATA_BODY) data.body = value;
  }
  return data;
}
