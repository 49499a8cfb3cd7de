// The limits of docs/protocol/wire.rst and values.rst, and the two ways in which bytes are refused.
export const MAX_SEQ = Number.MAX_SAFE_INTEGER; // 2^53 - 1
export const MAX_BODY_BYTES = 1048576;
export const MAX_SEGMENT_ENTRIES = 4096;
export const MAX_SEGMENT_BYTES = 132096;
export const MAX_PROOF_FILE_BYTES = 196608;
export const MAX_REFERENCES = 64;
export const MAX_FRAME_BYTES = 1049600;
export const MAX_ELEMENTS = 64;
export const MAX_ITEM_ELEMENTS = 8;
export const MAX_NESTING = 1024;
export const MAX_VERSION = 65535;
export const MAX_CODE = 65535;
export const MAX_EXCEPTIONS = 1024;
export const MAX_RANGES = 320;
export const MAX_LIST_ITEMS = 2048;
export const MAX_WANT_ITEMS = 1024;
export const MAX_HAVE_ITEMS = 2048;
export const MAX_FILL_RANGES = 256;
export const MAX_PEERS = 64;
export const MAX_CONTACT_ADDRESSES = 8;
export const MAX_TEXT_BYTES = 256;
export const MAX_FEATURES = 32;

export const MALFORMED = 5, TOO_LARGE = 7, BAD_SEGMENT = 8, BAD_SIGNATURE = 9, BAD_FORK = 10;

/** What is wrong with bytes, with the code of BYE. */
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const malformed = (message) => { throw new Refused(MALFORMED, message); };
