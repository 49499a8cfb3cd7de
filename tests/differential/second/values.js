// Bodies, segments, fork proofs and cursors, as docs/protocol/values.rst says.
import { formatAuthor, genesisId, sha256, verifyHead } from "./crypto.js";
import * as limits from "./limits.js";
import { malformed, MAX_SEQ, Refused } from "./limits.js";
import { packArray, packBin, packInt, Reader } from "./msgpack.js";

export function readBody(bytes) {
  if (bytes.length > limits.MAX_BODY_BYTES) malformed("a body too large");
  const reader = new Reader(bytes), count = reader.array(2);
  const body = { timestamp_ms: reader.int(0, MAX_SEQ), payload: reader.bin(), after: [] };
  if (count > 2) {
    for (let left = reader.array(0, limits.MAX_REFERENCES); left > 0; left--) {
      const size = reader.array(1, limits.MAX_ITEM_ELEMENTS), author = reader.bin();
      if (author.length !== 32) for (let n = size; n > 1; n--) reader.skip();
      else if (size !== 3) malformed("a reference of another size");
      else body.after.push({ author, seq: reader.int(1, MAX_SEQ), id16: reader.bin(16) });
    }
  }
  for (let left = count - 3; left > 0; left--) reader.skip();
  reader.end();
  return body;
}

const HOLE_BYTES = 35;
const LEAST = { 0xc5: 256, 0xc6: 65536 }; // what does not fit into a shorter form
const bad = (message) => { throw new Refused(limits.BAD_SEGMENT, message); };

/** The items of a segment, each with its size and the hash of its body. */
function readItems({ count, bodies }) {
  const found = [];
  let at = 0;
  for (let left = count; left > 0; left--) {
    const room = bodies.length - at, head = bodies[at];
    let start, length;
    if (head === 0xc4 && room >= 2) [start, length] = [2, bodies[at + 1]];
    else if (head === 0xc5 && room >= 3) [start, length] = [3, bodies[at + 1] * 256 + bodies[at + 2]];
    else if (head === 0xc6 && room >= 5) [start, length] = [5, Buffer.from(bodies).readUInt32BE(at + 1)];
    else if (head === 0xc7 && room >= 3 && bodies[at + 1] === 32 && bodies[at + 2] === 1) [start, length] = [3, 32];
    else bad("no item");
    if (length < (LEAST[head] ?? 0)) bad("not the shortest form");
    if (length > limits.MAX_BODY_BYTES || start + length > room) bad("an item too large");
    const content = bodies.subarray(at + start, at + start + length);
    found.push({ size: start + length, hash: head === 0xc7 ? content : sha256(content) });
    at += start + length;
  }
  if (at !== bodies.length) bad("bytes behind the items");
  return found;
}

/** Conditions 1 to 5 of a segment. */
function checkShape({ author, first, count, previous, signature, bodies }) {
  if (author.length !== 32 || previous.length !== 32 || signature.length !== 64) bad("a length");
  const last = first - 1 + count; // in this order: first may be 2^53
  if (first < 1 || count < 0 || last < 1 || last > MAX_SEQ) bad("first or count");
  if (count > limits.MAX_SEGMENT_ENTRIES) bad("too many entries");
  if (bodies.length > (count === 1 ? limits.MAX_BODY_BYTES + 5 : limits.MAX_SEGMENT_BYTES)) bad("too large");
  if (first === 1 && !genesisId(author).equals(previous)) bad("another id(0)");
}

/** The ids of the entries of a segment that is valid but for its signature. */
export function chainIds(segment) {
  checkShape(segment);
  let id = segment.previous;
  return readItems(segment).map(({ hash }) => (id = sha256(id, hash)));
}

export function isSigned(segment, ids) {
  const id = ids.length ? ids[ids.length - 1] : segment.previous;
  return verifyHead(segment.author, segment.first - 1 + segment.count, id, segment.signature);
}

/** Throws unless a proof proves a fork. */
export function checkProof({ author, seq, id, signature, segment }) {
  const no = (message) => { throw new Refused(limits.BAD_FORK, message); };
  let ids;
  try {
    ids = chainIds(segment);
  } catch (error) {
    no(error.message);
  }
  if (segment.first - 1 !== seq || Buffer.compare(segment.previous, id) === 0) no("no contradiction");
  if (segment.bodies.length > limits.MAX_SEGMENT_BYTES || readItems(segment).some(({ size }) => size > HOLE_BYTES))
    no("a body that is larger than its hash");
  if (!isSigned(segment, ids) || !verifyHead(author, seq, id, signature)) no("not signed");
}

/** The five elements of a segment behind its author, in a message. */
export function readHeader(reader, author) {
  const first = reader.int(1, 2 ** 53), count = reader.int(0, limits.MAX_SEGMENT_ENTRIES), last = first - 1 + count;
  if (last < 1 || last > MAX_SEQ) malformed("a seq out of range");
  return { author, first, count, previous: reader.bin(32), signature: reader.bin(64), bodies: reader.bin() };
}

/** The elements of a proof behind its author. */
export function readProof(reader, author) {
  const proof = { author, seq: reader.int(1, MAX_SEQ), id: reader.bin(32), signature: reader.bin(64) };
  reader.array(5, 5);
  return { ...proof, segment: readHeader(reader, author) };
}

function packProof({ author, seq, id, signature, segment: s }) {
  const last = [packArray(5), packInt(s.first), packInt(s.count), packBin(s.previous), packBin(s.signature), packBin(s.bodies)];
  return Buffer.concat([packArray(5), packBin(author), packInt(seq), packBin(id), packBin(signature), ...last]);
}

const MAGIC = "gossiplog/1 fork proof";

/** The proof in a file: exactly what a writer makes of it, but for the ends of lines.  Anything else is no proof. */
export function readProofFile(bytes) {
  try {
    return readLines(bytes);
  } catch (error) {
    throw error instanceof Refused ? new Refused(limits.BAD_FORK, error.message) : error;
  }
}

function readLines(bytes) {
  if (bytes.length > limits.MAX_PROOF_FILE_BYTES) malformed("too large");
  let text = Buffer.from(bytes).toString("latin1").replace(/\r\n?/g, "\n");
  if (!text.endsWith("\n")) text += "\n";
  const reader = new Reader(Buffer.from(text.split("\n").slice(2).join(""), "base64"));
  reader.array(5, 5);
  const proof = readProof(reader, reader.bin(32));
  reader.end();
  const again = packProof(proof).toString("base64").replace(/.{76}(?=.)/g, "$&\n");
  if (`${MAGIC}\n${formatAuthor(proof.author)} ${proof.seq}\n${again}\n` !== text) malformed("not as a writer makes it");
  checkProof(proof);
  return proof;
}

export function readCursor(bytes) {
  const reader = new Reader(bytes), count = reader.array(1);
  if (count % 3 !== 1 || reader.int(0, MAX_SEQ) !== 1) malformed("not a cursor");
  const entries = [], again = [packArray(count), packInt(1)];
  for (let left = count; left > 1; left -= 3) {
    const entry = [reader.bin(32), reader.int(1, MAX_SEQ), reader.bin(0, 8)];
    if (entries.length && Buffer.compare(entries[entries.length - 1][0], entry[0]) >= 0) malformed("not ascending");
    entries.push(entry);
    again.push(packBin(entry[0]), packInt(entry[1]), packBin(entry[2]));
  }
  reader.end();
  if (Buffer.compare(Buffer.concat(again), bytes) !== 0) malformed("not the shortest form");
  return entries;
}
