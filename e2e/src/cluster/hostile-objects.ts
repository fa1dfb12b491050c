/**
 * ServalServices and ServalMigrations by chance, within the schema and outside of it: good objects with one twist, now and
 * then with two or none. The same seed gives the same objects.
 */
import { Chance } from './chance.js';
import { goodMigration, migrationTwists } from './hostile-migrations.js';
import { goodService, serviceTwists } from './hostile-services.js';
import { commonTwists, type Draft, type FieldValidation, type Twist } from './hostile-twists.js';

export type HostileKind = 'ServalService' | 'ServalMigration';

export interface Hostile {
  /** from 0 */
  number: number;
  kind: HostileKind;
  draft: Draft;
  validation: FieldValidation;
  expected: Expected;
}

/** What has to come of it. */
export interface Expected {
  /** names of its twists, for people */
  twists: string[];
  verdict: 'refused' | 'accepted' | 'either';
  /** a refusal has to name one of these */
  fields: string[];
  /** what a refusal has to tell beside */
  remedy?: RegExp;
  /** what the condition of an accepted one has to say */
  told?: RegExp;
}

export function* hostileObjects(seed: number, count: number): Generator<Hostile> {
  const chance = new Chance(seed);
  for (let number = 0; number < count; number++) yield hostile(number, chance);
}

function hostile(number: number, chance: Chance): Hostile {
  const isService = chance.percent(70);
  const name = `h${number}`;
  const draft = isService ? goodService(name, chance) : goodMigration(name, chance);
  const own = isService ? serviceTwists : migrationTwists;
  const twists = Array.from({ length: howMany(chance) }, () =>
    picked(chance.percent(65) ? own : commonTwists, chance),
  );
  const validation =
    twists.find((twist) => twist.validation !== undefined)?.validation ??
    chance.pick(['Strict', 'Warn', 'Ignore']);
  const fields = twists.map((twist) => changed(twist, draft, chance) ?? twist.field);
  const expected = expectedOf(twists, fields);
  return { number, kind: isService ? 'ServalService' : 'ServalMigration', draft, validation, expected };
}

function picked(twists: readonly Twist[], chance: Chance): Twist {
  const twist = chance.pick(twists);
  return twist.isHeavy && chance.percent(90) ? picked(twists, chance) : twist;
}

function howMany(chance: Chance): number {
  const number = chance.below(100);
  return number < 5 ? 0 : number < 90 ? 1 : 2;
}

/** What an earlier twist took away can not be changed any more. */
function changed(twist: Twist, draft: Draft, chance: Chance): string | undefined {
  if (typeof draft.spec !== 'object' || draft.spec === null) return undefined;
  return twist.change(draft, chance) ?? undefined;
}

/** Two twists may undo each other, or be told in place of each other. */
function expectedOf(twists: readonly Twist[], fields: ReadonlyArray<string | undefined>): Expected {
  const [only] = twists;
  const common = {
    twists: twists.map(({ name }) => name),
    fields: fields.filter((field) => field !== undefined),
  };
  if (only === undefined) return { ...common, verdict: 'accepted' };
  if (twists.length > 1) return { ...common, verdict: 'either' };
  const { expect: verdict, remedy, told } = only;
  return {
    ...common,
    verdict,
    ...(remedy === undefined ? {} : { remedy }),
    ...(told === undefined ? {} : { told }),
  };
}
