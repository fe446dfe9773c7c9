/** Frames of HTTP/2 (RFC 9113 §4), made and read by hand: for load that costs next to nothing, and for what no library would send. */

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

const HEAD_BYTES = 9;

/** One frame as it goes over the wire. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A flat list of fields as HPACK literals that no table keeps (RFC 7541 §6.2.2): the same bytes at any time. */
export function literals(fields: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  fields.forEach((text, index) => {
    const bytes = Buffer.from(text, 'latin1');
    if (index % 2 === 0) parts.push(Buffer.from([0]));
    parts.push(lengthOf(bytes.byteLength), bytes);
  });
  return Buffer.concat(parts);
}

/** A WINDOW_UPDATE. */
export function windowUpdate(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(FRAME.WINDOW_UPDATE, 0, stream, payload);
}

/** A reader of the bytes of a connection, however they are cut: feed it, and it calls `each` for every whole frame. */
export function frameReader(
  each: (type: number, flags: number, stream: number, payload: Buffer) => void,
): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.byteLength - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3);
      if (bytes.byteLength < end) break;
      each(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, bytes.readUInt32BE(at + 5), bytes.subarray(at + HEAD_BYTES, end));
      at = end;
    }
    rest = bytes.subarray(at);
  };
}

/** An HPACK integer with a prefix of seven bits (RFC 7541 §5.1), for a text without Huffman code. */
function lengthOf(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let left = length - 127;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
  return Buffer.from([...bytes, left]);
}
