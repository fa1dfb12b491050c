/** Puts the parts together: replicas and what is known of them in, a service's plan out. */
import { fieldOf, type Field, type Track, type Tracks } from './field.js';
import { fraction } from './hash.js';
import { healthDue } from './health.js';
import { isByClient, isInTurn } from './policy.js';
import { reasonsOf } from './reasons.js';
import { tableOf, type Table } from './table.js';
import { earlierPlaces, nextTracks } from './tracks.js';
import {
  rings,
  type Measured,
  type Place,
  type Replica,
  type RuleName,
  type ServicePlan,
  type ServicePolicy,
  type WeightedReplica,
} from './types.js';
import { noSpills, weigh, type Grouping, type Spills, type Weights } from './weights.js';

export interface PlanInput {
  policy: ServicePolicy;
  place: Place;
  /** of one port in one address family, in a lasting order (replicasOf sorts them) */
  replicas: readonly Replica[];
  /** left out while nothing is known of any */
  measured?: (replica: Replica) => Measured | undefined;
  /** any clock that does not go back, ms */
  now: number;
}

/** What the next plan wants to know of this one. */
export interface PlanState {
  readonly at: number;
  readonly replicas: readonly Replica[];
  readonly tracks: Tracks | undefined;
  readonly spills: Spills;
  readonly table: Table;
}

export interface Planned {
  /** `choices` is the same object as before where the kernel's table may stay */
  plan: ServicePlan;
  state: PlanState;
  /** plan again then although nothing was heard, ms on the same clock; absent: no need */
  dueAt?: number;
}

/** Loads are reported once a second. */
const usualStepMs = 1_000;

export function planService(input: PlanInput, earlier?: PlanState): Planned {
  const { policy, place, replicas, now } = input;
  const elapsedMs = earlier === undefined ? usualStepMs : now - earlier.at;
  const measured = measuredOf(input);
  const byClient = isByClient(policy);
  const places = earlier === undefined ? undefined : earlierPlaces(replicas, earlier.replicas);
  const tracks = nextTracks({
    node: place.node,
    replicas,
    measured,
    earlier,
    places,
    easesIn: !byClient,
    now,
  });
  const field = fieldOf({ place, replicas, measured, tracks, zoneOnly: isZoneOnly(policy), now });
  const grouping = groupingOf(policy);
  const weights = weigh({
    field,
    grouping,
    byLoad: policy.balance === 'LeastLoad' && !byClient,
    spills: earlier?.spills ?? noSpills,
    elapsedMs,
  });
  const table = tableOf({
    replicas,
    weights: weights.weights,
    numbers: byClient ? 'client' : isInTurn(policy) ? 'turn' : 'chance',
    phase: byClient ? 0.5 : fraction(place.node, 1),
    earlier: earlier?.table,
    samePlaces: places === undefined,
  });
  const made = { input: { policy, place, replicas, now }, measured, tracks, weights, grouping };
  const plan = new LazyPlan(ruleOf(policy, place, field, weights.weights), table.choices, made);
  const state = { at: now, replicas, tracks: weights.tracks, spills: weights.spills, table };
  const dueAt = dueOf(weights, now);
  return dueAt === undefined ? { plan, state } : { plan, state, dueAt };
}

/** Undefined where nothing is known of anybody: then there is nothing to keep either. */
function measuredOf({ replicas, measured }: PlanInput): Array<Measured | undefined> | undefined {
  if (measured === undefined) return undefined;
  let found: Array<Measured | undefined> | undefined;
  for (let i = 0; i < replicas.length; i++) {
    const measure = measured(replicas[i] as Replica);
    if (measure !== undefined)
      (found ??= new Array<Measured | undefined>(replicas.length).fill(undefined))[i] = measure;
  }
  return found;
}

function groupingOf(policy: ServicePolicy): Grouping {
  if (policy.locality === 'Ignore') return 'whole';
  return isByClient(policy) ? 'client' : 'rings';
}

/** What the replicas of a plan are made from. */
interface Made {
  input: Pick<PlanInput, 'policy' | 'place' | 'replicas' | 'now'>;
  measured: Field['measured'];
  tracks: Tracks | undefined;
  weights: Weights;
  grouping: Grouping;
}

/**
 * Its replicas are made anew whenever somebody asks for them: nobody does for most services, and of 100,000 they and their
 * reasons took 25 MB, and half of the time that it takes to plan them.
 */
class LazyPlan implements ServicePlan {
  constructor(
    readonly rule: RuleName,
    readonly choices: Uint32Array,
    private readonly made: Made,
  ) {}

  get replicas(): WeightedReplica[] {
    const { input, measured, tracks, weights, grouping } = this.made;
    const { policy, place, replicas, now } = input;
    const field = fieldOf({ place, replicas, measured, tracks, zoneOnly: isZoneOnly(policy), now });
    const reason = reasonsOf(field, weights, grouping, policy, now);
    return replicas.map((replica, i): WeightedReplica => {
      const load = measured?.[i]?.load;
      const result: WeightedReplica = {
        ...replica,
        ring: rings[field.ring[i] as number] as WeightedReplica['ring'],
        weight: weights.weights[i] as number,
        health: tracks?.[i]?.health?.state ?? 'good',
        reason: reason(i),
      };
      if (load !== undefined) result.load = load;
      return result;
    });
  }
}

function isZoneOnly({ locality }: ServicePolicy): boolean {
  return locality === 'Require';
}

function ruleOf(
  policy: ServicePolicy,
  place: Place,
  { tier, replicas }: Field,
  weights: readonly number[],
): RuleName {
  if (tier === 'none') return policy.whenEmpty === 'Wait' ? 'DELAY' : 'DROP';
  if (tier === 'moving') return 'DELAY';
  return replicas.every(({ node }, i) => weights[i] === 0 || node === place.node) ? 'DEMUX' : 'FORWARD';
}

/** Who is silent or eased in, and what steers, changes with time alone. */
function dueOf({ tracks, spills }: Weights, now: number): number | undefined {
  let due = spills.some(({ active }) => active) ? now + usualStepMs : Infinity;
  if (tracks !== undefined)
    for (const track of tracks) if (track !== undefined) due = Math.min(due, trackDue(track, now));
  return due === Infinity ? undefined : due;
}

function trackDue({ health, slow }: Track, now: number): number {
  const changes = health === undefined ? undefined : healthDue(health, now);
  return changes ?? (slow === 0 ? Infinity : now + usualStepMs);
}
