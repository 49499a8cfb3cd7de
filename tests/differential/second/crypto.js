// Hashes and the signature rule.  OpenSSL's Ed25519 is cofactorless, checks S < L and compares R as bytes; points of
// small order and a key that is not canonical have to be refused here.
import crypto from "node:crypto";

const SPKI = Buffer.from("302a300506032b6570032100", "hex");
// y of the points of small order
const SMALL = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);

const tag = (text) => Buffer.concat([Buffer.from(text)], 32);
export const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), crypto.createHash("sha256")).digest();
export const genesisId = (author) => sha256(tag("gossiplog/1 log"), author);

function good(point) {
  const y = Buffer.from(point);
  y[31] &= 127;
  const canonical = !(y[31] === 127 && y.subarray(1, 31).every((byte) => byte === 255) && y[0] >= 0xed);
  return canonical && !SMALL.has(y.toString("hex"));
}

export function verifyHead(author, seq, id, signature) {
  if (author.length !== 32 || signature.length !== 64 || !good(author) || !good(signature.subarray(0, 32))) return false;
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(seq));
  try {
    const key = crypto.createPublicKey({ key: Buffer.concat([SPKI, author]), format: "der", type: "spki" });
    return crypto.verify(null, Buffer.concat([tag("gossiplog/1 head"), number, id]), key, signature);
  } catch {
    return false;
  }
}

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** The text form of an author. */
export function formatAuthor(author) {
  const bytes = Buffer.concat([author, sha256(tag("gossiplog/1 text"), Buffer.from("author"), author).subarray(0, 2)]);
  let out = "", bits = 0, value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    for (bits += 8; bits >= 5; bits -= 5) out += ALPHABET[(value >> (bits - 5)) & 31];
  }
  return `author_${out}${bits ? ALPHABET[(value << (5 - bits)) & 31] : ""}`;
}
