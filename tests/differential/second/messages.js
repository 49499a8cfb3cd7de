// Frames of a stream, and the message in a frame, as docs/protocol/wire.rst says.  The names of fields are those there.
import * as limits from "./limits.js";
import { malformed, MAX_SEQ, Refused } from "./limits.js";
import { Reader } from "./msgpack.js";
import { readHeader, readProof } from "./values.js";

/** The frames that are whole, and how many bytes of another one are there. */
export function readFrames(stream) {
  const frames = [];
  let at = 0;
  while (stream.length - at >= 4) {
    const length = stream.readUInt32BE(at);
    if (length > limits.MAX_FRAME_BYTES) throw new Refused(limits.TOO_LARGE, `a frame of ${length} bytes`);
    if (stream.length - at - 4 < length) break;
    frames.push(stream.subarray(at + 4, (at += 4 + length)));
  }
  return [frames, stream.length - at];
}

const isReserved = (author) => author !== null && author.length !== 32;
const readAuthor = (reader, orNil) => (orNil && reader.peek() === 0xc0 ? reader.nil() : reader.bin());
const readRoot = (reader) => reader.bin(0, 16);

function list(reader, most, read) {
  const out = [];
  for (let left = reader.array(0, most); left > 0; left--) out.push(read());
  return out;
}

/** Authors in a list, and how many of them are of a later format. */
function readNames(reader, most, orNil) {
  const all = list(reader, most, () => readAuthor(reader, orNil)), known = all.filter((author) => !isReserved(author));
  return [known, all.length - known.length];
}

/** An item that begins with its author, of which read() takes the rest; null for one of a later format. */
function readItem(reader, orNil, read) {
  const size = reader.array(1, limits.MAX_ITEM_ELEMENTS), author = readAuthor(reader, orNil);
  if (!isReserved(author)) return size === 3 ? read(author) : malformed("an item of another size");
  for (let left = size; left > 1; left--) reader.skip();
  return null;
}

function readRanges(reader) {
  let lower = Buffer.alloc(0), open = true, room = limits.MAX_LIST_ITEMS;
  return list(reader, limits.MAX_RANGES, () => {
    reader.array(3, 3);
    const upper = reader.bin(), kind = reader.int(0, 3), range = { upper, kind, fingerprint: Buffer.alloc(0), items: [] };
    if (!open || upper.length > 32 || (upper.length && Buffer.compare(upper, lower) <= 0)) malformed("bounds that do not ascend");
    if (kind === 0) reader.nil();
    else if (kind === 1) range.fingerprint = reader.bin(16);
    else {
      let before = null;
      const read = (author) => {
        const item = { author, seq: reader.int(0, MAX_SEQ), check: reader.bin(8) };
        const low = before === null ? Buffer.compare(author, lower) < 0 : Buffer.compare(author, before) <= 0;
        if (low || (upper.length && Buffer.compare(author, upper) >= 0)) malformed("an item out of order");
        before = author;
        return item;
      };
      const all = list(reader, room, () => readItem(reader, false, read));
      room -= all.length;
      range.items = all.filter((item) => item !== null);
    }
    lower = upper;
    open = upper.length > 0;
    return range;
  });
}

function readHave(reader) {
  const size = reader.array(2, limits.MAX_ITEM_ELEMENTS), item = { handle: reader.u64(), seq: reader.int(0, MAX_SEQ), author: null };
  if (size > 2) item.author = reader.bin();
  if (isReserved(item.author)) {
    item.author = Buffer.alloc(0); // takes the handle
    for (let left = size; left > 3; left--) reader.skip();
  } else if (size > 3) malformed("an item of another size");
  return item;
}

function readNamed(reader) {
  const [authors, reserved] = readNames(reader, limits.MAX_WANT_ITEMS, true);
  return { authors, reserved };
}

/** Where a node can be dialled; null for an address of a later kind. */
function readAddress(reader) {
  reader.array(2, 2);
  const ip = reader.bin(), port = reader.int(1, 65535);
  return ip.length === 4 || ip.length === 16 ? { ip, port } : null;
}

function readContact(reader) {
  reader.array(3, 3);
  const node = reader.bin(), age = reader.u64();
  const addresses = list(reader, limits.MAX_CONTACT_ADDRESSES, () => readAddress(reader));
  return { node, age, addresses: addresses.filter((address) => address !== null) };
}

// name, elements needed, how those after the type are read, whether the author is the first of them (then it is given),
// and how one more is read, if it is there
const MESSAGES = [
  ["Hello", 9, (reader) => {
    const low = reader.int(0, limits.MAX_VERSION), high = reader.int(low, limits.MAX_VERSION);
    const features = list(reader, limits.MAX_FEATURES, () => reader.str(limits.MAX_TEXT_BYTES));
    const agent = reader.str(limits.MAX_TEXT_BYTES), instance = reader.bin(16), interest = reader.int(0, 1);
    const [exceptions, reserved] = readNames(reader, limits.MAX_EXCEPTIONS, false);
    return { low, high, features, agent, instance, interest, exceptions, root: readRoot(reader), reserved };
  }],
  ["Ranges", 4, (reader) => ({ exchange: reader.u64(), more: reader.bool(), ranges: readRanges(reader) })],
  ["Want", 2, (reader) => {
    const read = (author) => ({ author, first: reader.int(1, MAX_SEQ), holes: reader.bool() });
    const items = list(reader, limits.MAX_WANT_ITEMS, () => readItem(reader, true, read));
    return { items: items.filter((item) => item !== null), most: 0 };
  }, false, (reader) => ({ most: reader.int(0, MAX_SEQ) })],
  ["Lazy", 2, readNamed],
  ["Refuse", 2, readNamed],
  ["Segment", 7, readHeader, true],
  ["Have", 2, (reader) => ({ items: list(reader, limits.MAX_HAVE_ITEMS, () => readHave(reader)) })],
  ["Fill", 3, (reader, author) => ({
    author,
    ranges: list(reader, limits.MAX_FILL_RANGES, () => {
      reader.array(2, 2);
      const first = reader.int(1, MAX_SEQ);
      return [first, reader.int(first, MAX_SEQ)];
    }),
  }), true],
  ["Fork", 6, (reader, author) => ({ proof: readProof(reader, author) }), true],
  ["Peers", 3, (reader) => {
    const contacts = list(reader, limits.MAX_PEERS, () => readContact(reader)).filter((each) => each.node.length === 32);
    return { contacts, seen: reader.peek() === 0xc0 ? reader.nil() : readAddress(reader) };
  }],
  ["Ping", 3, (reader) => ({ token: reader.u64(), root: readRoot(reader) })],
  ["Pong", 3, (reader) => ({ token: reader.u64(), root: readRoot(reader), done: false }), false,
    (reader) => ({ done: reader.bool() })],
  ["Bye", 3, (reader) => ({ code: reader.int(0, limits.MAX_CODE), reason: reader.str(limits.MAX_TEXT_BYTES) })],
];

/** [name, fields]; what is passed over as a whole is Unknown. */
export function readMessage(frame) {
  const reader = new Reader(frame), elements = reader.array(1, limits.MAX_ELEMENTS), type = reader.u64();
  const rest = (count) => {
    for (let left = count; left > 0; left--) reader.skip();
    reader.end();
  };
  const unknown = (count) => (rest(count), ["Unknown", { type }]);
  if (type >= 64n) return unknown(elements - 1);
  if (!(type < MESSAGES.length)) malformed(`no message has type ${type}`);
  const [name, needed, read, aboutAuthor, readMore] = MESSAGES[Number(type)];
  const author = aboutAuthor && elements > 1 ? reader.bin() : null;
  if (isReserved(author)) return unknown(elements - 2);
  if (elements < needed) malformed("too few elements");
  const fields = read(reader, author), more = readMore && elements > needed;
  if (more) Object.assign(fields, readMore(reader));
  rest(elements - needed - (more ? 1 : 0));
  return [name, fields];
}
