/** Hashes of our own, for tables: fast, the same everywhere, and nothing secret. */

// Looked up once: as a property of a global object it costs more than the rest wherever globals are not plain ones.
const { imul } = Math;

/** 32 bits of a text (the mixing of MurmurHash2 and 3, over UTF-16 units). */
export function hashText(text: string, seed: number): number {
  let hash = (seed ^ imul(text.length, 0x9e3779b1)) | 0;
  for (let at = 0; at < text.length; at++) {
    hash = imul(hash ^ text.charCodeAt(at), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  return mix(hash);
}

/** 32 bits of a number: every bit of it touches every bit of the result. */
export function mix(value: number): number {
  let hash = imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A text as a number from 0 to below 1. */
export function fraction(text: string, seed: number): number {
  return hashText(text, seed) / 2 ** 32;
}
