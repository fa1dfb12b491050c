/**
 * A million inputs for the parser of messages and replies. Whatever comes, the result is a valid value or a ServalError of
 * the kind that names a field, soon, and without memory that stays. The seed is fixed: a failure says which input it was.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ServalError } from '@serval/api';
import { Random } from '../packet-tests/prng.js';
import { decodeMessage, decodeReply, encodeMessage, encodeReply } from './codec.js';
import type { AnyKind } from './kinds.js';
import { messageKinds, randomMessage, randomReply } from './messages.fixture.js';

const seed = 20_261_125;
const inputs = 1_000_000;
/** After so many it is looked what has stayed in memory, which must be next to nothing: measured, at most 3 MB. */
const lookEvery = 100_000;
const stays = 16 << 20;

/** Values that parsers trip over. */
const oddities: readonly string[] = [
  'null',
  'true',
  '""',
  '[]',
  '{}',
  '0',
  '-1',
  '1.5',
  '1e999',
  '-0',
  '65536',
  '9007199254740993',
  '"\\u0000"',
  '"::1"',
  '"10.0.0.256"',
  '[[[[[[]]]]]]',
  '{"__proto__":{"x":1}}',
  '"constructor"',
  '[0,0,0]',
  '"\\ud800"',
  '1E400',
  '2147483648',
];

type Sample = { kind: AnyKind | undefined; bytes: Buffer };

/** A valid message (kind undefined) or a valid reply to that kind. */
function valid(random: Random): Sample {
  const kind = random.pick(messageKinds);
  if (random.chance(70)) return { kind: undefined, bytes: encodeMessage(randomMessage(random, kind)) };
  return { kind, bytes: encodeReply(kind, randomReply(random, kind)) };
}

function flipBytes(random: Random, { kind, bytes }: Sample): Sample {
  const changed = Buffer.from(bytes);
  for (let left = 1 + random.below(4); left > 0; left--)
    changed[random.below(changed.length)] = random.word() & 0xff;
  return { kind, bytes: changed };
}

function cutOrRepeat(random: Random, { kind, bytes }: Sample): Sample {
  const [from, to] = [random.below(bytes.length), random.below(bytes.length)];
  const parts = [bytes.subarray(0, from), bytes.subarray(to)];
  return { kind, bytes: Buffer.concat(parts) };
}

/** Puts an odd value in the place of a number, a text or a name. */
function oddValue(random: Random, { kind, bytes }: Sample): Sample {
  const tokens = bytes.toString().split(/("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?)/);
  const at = 1 + 2 * random.below(Math.max(1, (tokens.length - 1) / 2));
  tokens[at] = random.pick(oddities);
  return { kind, bytes: Buffer.from(tokens.join('')) };
}

/** Moves, drops or doubles a value somewhere in the tree; the JSON stays JSON. */
function changeTree(random: Random, { kind, bytes }: Sample): Sample {
  const root = JSON.parse(bytes.toString()) as Record<string, unknown>;
  const places: Array<[container: Record<string, unknown>, name: string]> = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const name of Object.keys(value)) {
      places.push([value as Record<string, unknown>, name]);
      visit((value as Record<string, unknown>)[name]);
    }
  };
  visit(root);
  const [container, name] = random.pick(places);
  const [other, otherName] = random.pick(places);
  const act = random.below(4);
  if (act === 0) delete container[name];
  else if (act === 1) container[name] = JSON.parse(random.pick(oddities));
  else if (act === 2) container[name] = structuredClone(other[otherName]);
  else
    addField(
      container,
      random.pick(['count', 'ok', 'flows', 'x', '0', 'kind', '__proto__']),
      container[name],
    );
  return { kind, bytes: Buffer.from(JSON.stringify(root)) };
}

/** Also a field of its own where an assignment would set the prototype. */
function addField(container: object, name: string, value: unknown): void {
  Object.defineProperty(container, name, { value, enumerable: true, writable: true, configurable: true });
}

function noise(random: Random): Sample {
  const bytes = Buffer.alloc(random.below(200));
  random.fill(bytes);
  // Often enough made of the signs that JSON is made of.
  if (random.chance(60))
    for (let at = 0; at < bytes.length; at++)
      bytes[at] = '{}[]",:0123456789.eE+-\\untrfalsk '.charCodeAt(random.below(33));
  return { kind: random.chance(50) ? undefined : random.pick(messageKinds), bytes };
}

/** The cheap ones more often. */
const mutations = [flipBytes, flipBytes, flipBytes, cutOrRepeat, oddValue, changeTree];

/** What came of it: a value, and how to send that on; undefined where it was refused as it should be. */
function parsed({ kind, bytes }: Sample): { value: unknown; again: () => unknown } | undefined {
  try {
    if (kind === undefined) {
      const message = decodeMessage(bytes);
      return { value: message, again: () => decodeMessage(encodeMessage(message)) };
    }
    const reply = decodeReply(kind, bytes);
    return { value: reply, again: () => decodeReply(kind, encodeReply(kind, reply)) };
  } catch (error) {
    if (error instanceof ServalError && error.code === 'ERR_BAD_INPUT' && 'field' in error.details)
      return undefined;
    throw error;
  }
}

/** True where it was taken. Now and then a value that was taken must come through once more as itself. */
function feed(sample: Sample, twice: boolean): boolean {
  const result = parsed(sample);
  if (twice && result !== undefined) expectSame(result.again(), result.value);
  return result !== undefined;
}

function expectSame(twice: unknown, value: unknown): void {
  if (JSON.stringify(twice) !== JSON.stringify(value)) throw new Error('it changed on its way');
}

/** What is left when everything is collected that can be: without that, garbage that waits would count. */
function bytesInUse(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('the parser', () => {
  // Most inputs end in an error, and its stack is a third of the work.
  const { stackTraceLimit } = Error;
  beforeAll(() => void (Error.stackTraceLimit = 0));
  afterAll(() => void (Error.stackTraceLimit = stackTraceLimit));

  it('survives a million inputs', () => {
    const random = new Random(seed);
    const slowest = { ms: 0, text: '' };
    let taken = 0;
    let sample = valid(random);
    let before = 0;
    for (let count = 0; count < inputs; count++) {
      // Not from the first input on: the engine compiles what runs often, and keeps that.
      if (count === lookEvery) before = bytesInUse();
      else if (count > 0 && count % lookEvery === 0) expect(bytesInUse() - before).toBeLessThan(stays);
      // A sample is used several times: making one costs more than parsing it.
      if (count % 8 === 0) sample = valid(random);
      const input = random.chance(15) ? noise(random) : random.pick(mutations)(random, sample);
      const start = performance.now();
      try {
        if (feed(input, count % 5 === 0)) taken++;
      } catch (cause) {
        throw new Error(`seed ${seed}, input ${count}: ${input.bytes.toString('hex')}`, { cause });
      }
      const ms = performance.now() - start;
      if (ms > slowest.ms) Object.assign(slowest, { ms, text: input.bytes.toString('latin1') });
    }
    // Both ways out are taken: a fuzzer whose inputs are all refused at the door tests the door.
    expect(taken).toBeGreaterThan(inputs / 50);
    expect(taken).toBeLessThan(inputs / 2);
    // A collection, or another process that got the processor, may fall into any of them.
    if (slowest.ms > 500) throw new Error(`an input took ${slowest.ms} ms: ${slowest.text}`);
    expect(bytesInUse() - before).toBeLessThan(stays);
  }, 120_000);
});
