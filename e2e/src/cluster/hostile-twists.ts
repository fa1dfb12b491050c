/** What is done to a good object to make it a hostile one, and what has to come of it. */
import type { Chance } from './chance.js';

/** An object as somebody writes it who has not read the CRD. */
export interface Draft {
  apiVersion?: unknown;
  kind?: unknown;
  metadata: Record<string, unknown>;
  spec: Record<string, unknown>;
  [more: string]: unknown;
}

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

export interface Twist {
  name: string;
  expect: 'refused' | 'accepted' | 'either';
  /** which field a refusal has to name */
  field?: string;
  /** what a refusal has to tell beside */
  remedy?: RegExp;
  /** what the condition of an accepted one has to say */
  told?: RegExp;
  /** keeps an API server busy for long: not many of these */
  isHeavy?: boolean;
  /** default: any */
  validation?: FieldValidation;
  /** In place. Returns the field, where that depends on chance. */
  change: (draft: Draft, chance: Chance) => string | void;
}

type Change = Twist['change'];

export function heavy(twist: Twist): Twist {
  return { ...twist, isHeavy: true };
}

export function refuses(name: string, field: string, change: Change, remedy?: RegExp): Twist {
  return { name, expect: 'refused', field, change, ...(remedy === undefined ? {} : { remedy }) };
}

export function accepts(name: string, change: Change, told?: RegExp): Twist {
  return { name, expect: 'accepted', change, ...(told === undefined ? {} : { told }) };
}

export function either(name: string, field: string, change: Change): Twist {
  return { name, expect: 'either', field, change };
}

/** Of a type that the field does not have: the field's own type is among `not`. */
export function wrongType(chance: Chance, not: readonly string[]): unknown {
  const all: ReadonlyArray<[string, unknown]> = [
    ['string', chance.word(5)],
    ['number', 7],
    ['number', -1.5],
    ['boolean', true],
    ['array', []],
    ['array', [[[]]]],
    ['object', { a: { b: 'c' } }],
  ];
  return chance.pick(all.filter(([type]) => !not.includes(type)))[1];
}

/** So many arrays or objects in one another. */
export function nested(depth: number, chance: Chance): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = chance.percent(50) ? [value] : { a: value };
  return value;
}

const long = (length: number): string => 'a'.repeat(length);

/** Of metadata, and of the object as a whole: alike for all kinds. */
export const commonTwists: readonly Twist[] = [
  refuses('no name', 'name', ({ metadata }) => void delete metadata['name']),
  refuses('an empty name', 'name', ({ metadata }) => void (metadata['name'] = '')),
  refuses('a name of 254 characters', 'metadata.name', ({ metadata }) => void (metadata['name'] = long(254))),
  heavy(refuses('a huge name', 'metadata.name', ({ metadata }) => void (metadata['name'] = long(100_000)))),
  refuses('an odd name', 'metadata.name', ({ metadata }, chance) => void (metadata['name'] = chance.odd())),
  refuses(
    'a name that is a path',
    'metadata.name',
    ({ metadata }, chance) =>
      void (metadata['name'] = chance.pick(['..', '.', 'a/b', 'a%b', '../../nodes', 'A', '_'])),
  ),
  refuses('a name that is no text', 'name', ({ metadata }, chance) => {
    metadata['name'] = wrongType(chance, ['string']);
  }),
  refuses('an odd label key', 'metadata.labels', ({ metadata }, chance) => {
    metadata['labels'] = { [`${chance.odd()}!`]: 'x' };
  }),
  refuses('a label value of 64 characters', 'metadata.labels', ({ metadata }) => {
    metadata['labels'] = { a: long(64) };
  }),
  refuses('labels of the wrong type', 'labels', ({ metadata }, chance) => {
    metadata['labels'] = chance.pick([7, 'a', ['a']]);
  }),
  accepts('labels at their limits', ({ metadata }) => {
    metadata['labels'] = { [`${long(60)}.${long(60)}/${long(63)}`]: long(63), a: '' };
  }),
  heavy(
    accepts('a thousand labels', ({ metadata }, chance) => {
      metadata['labels'] = Object.fromEntries(
        Array.from({ length: 1_000 }, (_, i) => [`k${i}`, chance.word(3)]),
      );
    }),
  ),
  heavy(
    accepts('annotations of 200 kB', ({ metadata }) => void (metadata['annotations'] = { a: long(200_000) })),
  ),
  heavy(
    refuses('annotations of 300 kB', 'metadata.annotations', ({ metadata }) => {
      metadata['annotations'] = { a: long(300_000) };
    }),
  ),
  accepts(
    'odd words in annotations',
    ({ metadata }, chance) => void (metadata['annotations'] = { a: chance.odd() }),
  ),
  refuses(
    'a finalizer without a name',
    'metadata.finalizers',
    ({ metadata }) => void (metadata['finalizers'] = ['a b']),
  ),
  refuses('an owner without a uid', 'metadata.ownerReferences', ({ metadata }) => {
    metadata['ownerReferences'] = [{ apiVersion: 'v1', kind: 'Pod', name: 'a' }];
  }),
  refuses('another namespace', 'namespace', ({ metadata }) => void (metadata['namespace'] = 'elsewhere')),
  refuses('another kind', 'kind', (draft) => void (draft.kind = 'Pod')),
  refuses('another version', 'version', (draft) => void (draft.apiVersion = 'serval.io/v9')),
  refuses('no spec', 'spec', (draft) => void delete (draft as { spec?: unknown }).spec),
  refuses('a spec of the wrong type', 'spec', (draft, chance) => {
    (draft as { spec: unknown }).spec = wrongType(chance, ['object']);
  }),
  accepts('a status of its own', (draft, chance) => void (draft['status'] = nested(5, chance))),
  accepts('an unknown field', ({ spec }, chance) => void (spec[`x${chance.word(5)}`] = nested(3, chance))),
  refuses('an unknown field', 'spec', ({ spec }, chance) => {
    const name = `x${chance.word(5)}`;
    spec[name] = 1;
    return `spec.${name}`;
  }),
  heavy(accepts('an unknown field, deep', ({ spec }, chance) => void (spec['deep'] = nested(2_000, chance)))),
  heavy(refuses('more than 3 MB', 'limit', ({ spec }) => void (spec['huge'] = long(3_145_800)))),
].map((twist) => withValidation(twist));

/** An unknown field is refused by who asks for that, and left out else. */
function withValidation(twist: Twist): Twist {
  if (!/unknown field|status of/.test(twist.name)) return twist;
  return { ...twist, validation: twist.expect === 'refused' ? 'Strict' : 'Ignore' };
}
