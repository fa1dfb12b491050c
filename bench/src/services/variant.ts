/** One way to reach a replica. */
import type { Plan } from './plan.js';
import type { Place } from './world.js';

export const ways = ['direct', 'sal', 'kubeProxyNft', 'kubeProxyIptables'] as const;
export type Way = (typeof ways)[number];

export interface Variant {
  readonly way: Way;
  /** whose rules they are, for people */
  readonly by: string;
  readonly place: Place;
  /** `address:port`: what its clients connect to */
  targets(plan: Plan): string[];
  /** Puts there what has to be there before `program`: resources, objects, a text. Is not part of what is timed. */
  prepare(plan: Plan): Promise<void>;
  /**
   * Programs all of it from nothing. Resolves with the time at which it was begun, ms on the clock of `performance`, when
   * nothing is left to be done here; whether clients see it already is for them to say.
   */
  program(plan: Plan): Promise<number>;
  /** Tells that one endpoint has changed; resolves with the time of the telling, as above. */
  change(before: Plan, after: Plan): Promise<number>;
  /** What holds the rules; nothing where that is the kernel alone. */
  memory(): Promise<Memory>;
  /** id of the process that programs; absent where that is none that stays */
  processId?(): number | undefined;
  /** Takes everything away that `program` made. Does nothing where that is nothing. */
  clear(): Promise<void>;
}

export interface Memory {
  /** resident, of the process that programs */
  processMb?: number;
  mapsMb?: number;
}
