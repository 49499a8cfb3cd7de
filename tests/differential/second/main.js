// Reads lines "KIND HEX" and writes a line of JSON for each: what the bytes are, or {"refused": code}.
import { createInterface } from "node:readline";
import { verifyHead } from "./crypto.js";
import { BAD_SEGMENT, BAD_SIGNATURE, MALFORMED, MAX_SEQ, Refused } from "./limits.js";
import { readFrames, readMessage } from "./messages.js";
import { chainIds, checkProof, isSigned, readBody, readCursor, readProofFile } from "./values.js";

/** A value as JSON holds it: bytes in hexadecimal, large numbers as text, keys in order, no `reserved` that is 0. */
function plain(value) {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (typeof value === "bigint") return value <= 2n ** 53n ? Number(value) : String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  const keys = Object.keys(value).filter((key) => key !== "reserved" || value.reserved).sort();
  return Object.fromEntries(keys.map((key) => [key, plain(value[key])]));
}

const KINDS = {
  frames: readFrames,
  message: readMessage,
  body: readBody,
  cursor: readCursor,
  file: readProofFile,
  // frames of SEGMENT and FORK, to the end
  segment: (bytes) => {
    const [name, segment] = readMessage(bytes);
    if (name !== "Segment") throw new Refused(BAD_SEGMENT, "another message");
    const ids = chainIds(segment);
    return [ids.length ? ids[ids.length - 1] : segment.previous, isSigned(segment, ids)];
  },
  fork: (bytes) => {
    const [name, fields] = readMessage(bytes);
    if (name !== "Fork") throw new Refused(BAD_SEGMENT, "another message");
    checkProof(fields.proof);
    return fields.proof.seq;
  },
  // author, seq, id and signature, one after the other
  signature: (bytes) => {
    if (bytes.length !== 136) throw new Refused(MALFORMED, "another length");
    const seq = bytes.readBigUInt64BE(32), parts = [bytes.subarray(0, 32), seq, bytes.subarray(40, 72), bytes.subarray(72)];
    if (seq < 1n || seq > BigInt(MAX_SEQ)) throw new Refused(MALFORMED, "a seq out of range");
    if (!verifyHead(...parts)) throw new Refused(BAD_SIGNATURE, "not signed");
    return seq;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, text] = line.split(" ");
  let verdict;
  try {
    verdict = plain(KINDS[kind](Buffer.from(text, "hex")));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    verdict = { refused: error.code };
  }
  process.stdout.write(`${JSON.stringify(verdict)}\n`);
}
