/** What the fuzzer does to packets. A mutation takes a frame of its own and gives one back; it knows roughly where the headers lie. */
import type { Seedling } from './fuzz-corpus.js';
import type { Random } from './prng.js';

type Mutation = (frame: Buffer, from: Seedling, random: Random, all: readonly Seedling[]) => Buffer;

const lengths = [0, 1, 8, 19, 20, 21, 28, 39, 40, 48, 1500, 65535];

const flipBits: Mutation = (frame, _, random) => {
  for (let i = random.below(4); i >= 0; i--) {
    const at = random.below(Math.min(frame.length, 140));
    frame[at] = (frame[at] as number) ^ (1 << random.below(8));
  }
  return frame;
};

const setBytes: Mutation = (frame, { l3 }, random) => {
  for (let i = random.below(3); i >= 0; i--)
    frame[Math.min(l3 + random.below(64), frame.length - 1)] = random.word();
  return frame;
};

const truncate: Mutation = (frame, _, random) =>
  frame.subarray(0, 14 + random.below(Math.max(1, frame.length - 14)));

/** Within the headers, where it hurts. */
const truncateHeaders: Mutation = (frame, { l4 }, random) =>
  frame.subarray(0, Math.max(14, l4 - 4 + random.below(24)));

const extend: Mutation = (frame, _, random) => {
  const longer = Buffer.alloc(frame.length + 1 + random.below(60));
  frame.copy(longer);
  random.fill(longer, frame.length);
  return longer;
};

const lie: Mutation = (frame, { l3, l4 }, random) => {
  const value = random.chance(50)
    ? random.pick(lengths)
    : Math.max(0, frame.length - l3 - 4 + random.below(9));
  const at = random.pick([l3 + 2, l3 + 4, l4 + 4]);
  if (at + 2 <= frame.length) frame.writeUInt16BE(value, at);
  return frame;
};

const lieAboutHeaders: Mutation = (frame, { l3, l4 }, random) => {
  if (random.chance(50)) frame[l3] = ((frame[l3] as number) & 0xf0) | random.below(16);
  else if (l4 + 12 < frame.length) frame[l4 + 12] = random.word();
  return frame;
};

const addOptions: Mutation = (frame, { l3 }, random) => {
  const first = frame[l3] as number;
  const words = 1 + random.below(10);
  if (first >> 4 !== 4 || (first & 15) !== 5 || frame.length < l3 + 20) return frame;
  const options = Buffer.alloc(words * 4);
  if (random.chance(30)) random.fill(options);
  else randomOptions(options, random);
  const longer = insert(frame, l3 + 20, options);
  longer[l3] = 0x45 + words;
  longer.writeUInt16BE(longer.length - l3, l3 + 2);
  return longer;
};

/** Options as hosts send them, source routes among them, some too long. */
function randomOptions(options: Buffer, random: Random): void {
  for (let at = 0; at < options.length;) {
    const type = random.pick([0, 1, 7, 68, 131, 137, 148]);
    options[at] = type;
    if (type < 2) {
      at++;
      continue;
    }
    const length = 3 + random.below(9);
    if (at + 2 < options.length) {
      options[at + 1] = length;
      options[at + 2] = random.pick([4, 4, length, length + 1, 8]);
    }
    at += length;
  }
}

const addExtension: Mutation = (frame, { l3 }, random) => {
  if ((frame[l3] as number) >> 4 !== 6 || frame.length < l3 + 40) return frame;
  let longer = frame;
  for (let i = random.chance(10) ? 8 : random.below(3); i >= 0; i--)
    longer = insertExtension(longer, l3, random);
  if (random.chance(70)) longer.writeUInt16BE(longer.length - l3 - 40, l3 + 4);
  return longer;
};

function insertExtension(frame: Buffer, l3: number, random: Random): Buffer {
  const number = random.pick([0, 43, 44, 51, 60, 135]);
  const units = number === 44 ? 1 : 1 + random.below(3);
  const bytes = Buffer.alloc(units * 8);
  random.fill(bytes);
  bytes[0] = frame[l3 + 6] as number;
  bytes[1] = number === 51 ? units * 2 - 2 : units - 1;
  if (number === 43) bytes[3] = random.below(3) === 0 ? 1 : 0;
  if (number === 44) bytes.writeUInt16BE(random.pick([0, 1, 40, 41]), 2);
  if (number === 44) bytes.writeUInt32BE(random.below(4), 4);
  const longer = insert(frame, l3 + 40, bytes);
  longer[l3 + 6] = number;
  return longer;
}

function insert(frame: Buffer, at: number, bytes: Buffer): Buffer {
  return Buffer.concat([frame.subarray(0, at), bytes, frame.subarray(at)]);
}

const addTags: Mutation = (frame, _, random) => {
  let longer = frame;
  for (let i = random.below(3); i >= 0; i--) {
    const tag = Buffer.from(
      random.chance(50) ? [0x81, 0, 0, random.word() & 0xff] : [0x88, 0xa8, 0, random.word() & 0xff],
    );
    longer = insert(longer, 12, tag);
  }
  return longer;
};

const fragmented: Mutation = (frame, { l3 }, random) => {
  if ((frame[l3] as number) >> 4 !== 4 || frame.length < l3 + 20) return frame;
  frame.writeUInt16BE(random.below(4), l3 + 4);
  frame.writeUInt16BE(random.pick([0x2000, 0x2000, 0x2005, 5, 0x4000, 0x8000]), l3 + 6);
  return frame;
};

const damageQuote: Mutation = (frame, { l4 }, random) => {
  const from = l4 + 8 + random.below(48);
  random.fill(frame, Math.min(from, frame.length), Math.min(from + 1 + random.below(4), frame.length));
  return frame;
};

/** The end of another packet, from the same offset on: another quote, another transport header. */
const splice: Mutation = (frame, { l4 }, random, all) => {
  const other = random.pick(all).frame;
  const at = Math.min(random.pick([l4, l4 + 8, l4 + 28, 34]), frame.length);
  return Buffer.concat([frame.subarray(0, at), other.subarray(at)]);
};

const otherEnds: Mutation = (frame, { l3 }, random, all) => {
  const other = random.pick(all);
  const length = (frame[l3] as number) >> 4 === 6 ? 32 : 8;
  const at = length === 32 ? 8 : 12;
  if (frame.length >= l3 + at + length && other.frame.length >= other.l3 + at + length)
    other.frame.copy(frame, l3 + at, other.l3 + at, other.l3 + at + length);
  return frame;
};

const otherType: Mutation = (frame, { l3, l4 }, random) => {
  if (random.chance(50) && l4 < frame.length) frame[l4] = random.below(140);
  else if (l3 + 9 < frame.length)
    frame[l3 + ((frame[l3] as number) >> 4 === 6 ? 6 : 9)] = random.pick([1, 6, 17, 58, 51, 47, 59]);
  return frame;
};

const noise: Mutation = (_, __, random) => {
  const bytes = Buffer.alloc(14 + random.below(120));
  random.fill(bytes);
  bytes.writeUInt16BE(random.pick([0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806]), 12);
  if (bytes.length > 14 && random.chance(70)) bytes[14] = random.pick([0x45, 0x45, 0x46, 0x4f, 0x60]);
  return bytes;
};

const mutations: readonly Mutation[] = [
  flipBits,
  flipBits,
  setBytes,
  setBytes,
  truncate,
  truncateHeaders,
  extend,
  lie,
  lieAboutHeaders,
  addOptions,
  addExtension,
  addTags,
  fragmented,
  damageQuote,
  damageQuote,
  splice,
  otherEnds,
  otherType,
  noise,
];

/** The next frame: a fifth as they are, the others with up to three mutations. */
export function nextFrame(from: Seedling, random: Random, all: readonly Seedling[]): Buffer {
  let frame = Buffer.from(from.frame);
  if (random.chance(20)) return frame;
  for (let i = random.pick([0, 0, 0, 1, 2]); i >= 0; i--) {
    frame = random.pick(mutations)(frame, from, random, all) as typeof frame;
    if (frame.length <= from.l3) break;
  }
  return frame;
}
