// As much of msgpack as the protocol needs: a reader with a method for each type, and a writer of shortest forms.
import { malformed, MAX_NESTING } from "./limits.js";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  #take(length) {
    if (length > this.bytes.length - this.at) malformed("cut off");
    const at = this.at;
    this.at += length;
    return at;
  }

  /** An unsigned number of so many bytes; from eight on a BigInt. */
  #unsigned(width) {
    const at = this.#take(width);
    if (width === 8) return Buffer.from(this.bytes.subarray(at, at + 8)).readBigUInt64BE();
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + this.bytes[at + i];
    return value;
  }

  #signed(width) {
    const value = BigInt(this.#unsigned(width));
    return BigInt.asIntN(8 * width, value);
  }

  peek() {
    if (this.at >= this.bytes.length) malformed("cut off");
    return this.bytes[this.at];
  }

  #head() {
    return this.bytes[this.#take(1)];
  }

  end() {
    if (this.at !== this.bytes.length) malformed("bytes behind");
  }

  nil() {
    if (this.#head() !== 0xc0) malformed("not nil");
    return null;
  }

  bool() {
    const head = this.#head();
    if (head !== 0xc2 && head !== 0xc3) malformed("not a bool");
    return head === 0xc3;
  }

  /** Any int as a BigInt, in any form. */
  #int() {
    const head = this.#head();
    if (head < 0x80) return BigInt(head);
    if (head >= 0xe0) return BigInt(head - 256);
    if (head >= 0xcc && head <= 0xcf) return BigInt(this.#unsigned(1 << (head - 0xcc)));
    if (head >= 0xd0 && head <= 0xd3) return this.#signed(1 << (head - 0xd0));
    return malformed("not an int");
  }

  /** An int within bounds of up to 2^53. */
  int(low, high) {
    const value = this.#int();
    if (value < BigInt(low) || value > BigInt(high)) malformed("an int out of range");
    return Number(value);
  }

  /** An int from 0 to 2^64 - 1, as a BigInt. */
  u64() {
    const value = this.#int();
    return value < 0n ? malformed("an int out of range") : value;
  }

  /** The length that stands behind one of the three heads, or in the head itself. */
  #length(what, heads, fix = null, mask = 0) {
    const head = this.#head();
    if (fix !== null && (head & ~mask) === fix) return head & mask;
    const width = heads.indexOf(head);
    return width < 0 ? malformed(`not ${what}`) : this.#unsigned(1 << width);
  }

  array(low = 0, high = 0xffffffff) {
    const count = this.#length("an array", [null, 0xdc, 0xdd], 0x90, 0x0f);
    return count < low || count > high ? malformed("a number of elements") : count;
  }

  bin(...lengths) {
    const length = this.#length("bin", [0xc4, 0xc5, 0xc6]), at = this.#take(length);
    return lengths.length && !lengths.includes(length) ? malformed("a length of bin") : this.bytes.subarray(at, at + length);
  }

  str(high) {
    const length = this.#length("str", [0xd9, 0xda, 0xdb], 0xa0, 0x1f), at = this.#take(length);
    if (length > high) malformed("a length of str");
    try {
      return strict.decode(this.bytes.subarray(at, at + length));
    } catch {
      return malformed("not UTF-8");
    }
  }

  /** Passes over a value of any type, in which arrays and maps are nested no deeper than MAX_NESTING. */
  skip() {
    const open = []; // values that are to come in each array and map around
    do {
      const inside = this.#step();
      if (open.length) open[open.length - 1] -= 1;
      if (inside !== null) {
        if (open.length === MAX_NESTING) malformed("nested too deep");
        open.push(inside);
      }
      while (open.length && open[open.length - 1] === 0) open.pop();
    } while (open.length);
  }

  /** Passes over a head and what is not nested; how many values are inside, null for what is no array or map. */
  #step() {
    const head = this.#head();
    if (head < 0x80 || head >= 0xe0) return null;
    if (head < 0x90) return 2 * (head & 0x0f);
    if (head < 0xa0) return head & 0x0f;
    if (head < 0xc0) return this.#pass(head & 0x1f);
    if (head === 0xc1) malformed("a byte that is never used");
    if (head <= 0xc3) return null;
    if (head <= 0xc6) return this.#pass(this.#unsigned(1 << (head - 0xc4)));
    if (head <= 0xc9) return this.#pass(1 + this.#unsigned(1 << (head - 0xc7)));
    if (head <= 0xcb) return this.#pass(4 << (head - 0xca));
    if (head <= 0xcf) return this.#pass(1 << (head - 0xcc));
    if (head <= 0xd3) return this.#pass(1 << (head - 0xd0));
    if (head <= 0xd8) return this.#pass(1 + (1 << (head - 0xd4)));
    if (head <= 0xdb) return this.#pass(this.#unsigned(1 << (head - 0xd9)));
    if (head <= 0xdd) return this.#unsigned(2 << (head - 0xdc));
    return 2 * this.#unsigned(2 << (head - 0xde));
  }

  #pass(length) {
    this.#take(length);
    return null;
  }
}

// Shortest forms, to be joined with Buffer.concat.

function sized(length, fixed, one, two, four) {
  if (fixed !== null && length < fixed[1]) return Buffer.of(fixed[0] | length);
  if (one !== null && length < 0x100) return Buffer.of(one, length);
  if (length < 0x10000) return Buffer.of(two, length >> 8, length & 255);
  return Buffer.of(four, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255);
}

export const packArray = (count) => sized(count, [0x90, 16], null, 0xdc, 0xdd);
export const packBin = (bytes) => Buffer.concat([sized(bytes.length, null, 0xc4, 0xc5, 0xc6), bytes]);

export function packInt(value) {
  if (value < 0x80) return Buffer.of(value);
  if (value < 0x100000000) return sized(value, null, 0xcc, 0xcd, 0xce);
  const out = Buffer.alloc(9, 0xcf);
  out.writeBigUInt64BE(BigInt(value), 1);
  return out;
}
