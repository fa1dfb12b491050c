/** Why a replica has the weight that it has, for people. Made for 100,000 at a time, so most share one text. */
import type { Field } from './field.js';
import { healthShare, reliability } from './health.js';
import { zoneRing } from './rings.js';
import type { Grouping, Weights } from './weights.js';
import { rings, type Replica, type ServicePolicy } from './types.js';

const percent = (part: number): string => `${Math.round(part * 100)} %`;

/** Gives the reason for a replica by its index. */
export function reasonsOf(
  field: Field,
  { weights, ringShares, spills }: Weights,
  grouping: Grouping,
  policy: ServicePolicy,
  now: number,
): (index: number) => string {
  const common = rings.map((_, ring) => chosenBecause(field, ring, ringShares, spills, grouping));
  const means = meanWeights(field, weights, grouping);
  return (i) => {
    const ring = field.ring[i] as number;
    if (weights[i] === 0) return excludedBecause(field, i, policy);
    const details = detailsOf(field, i, (weights[i] as number) / (means[ring] as number), now);
    return details.length === 0 ? (common[ring] as string) : `${common[ring]}; ${details}`;
  };
}

const byTier = {
  moving: 'all that could be chosen are being moved: flows wait at it',
  draining: 'terminating, but nothing else is left',
  silent: 'it did not answer, but nothing else is left',
  silentDraining: 'terminating, and it did not answer, but nothing else is left',
  none: '',
} as const;

function chosenBecause(
  { tier }: Field,
  ring: number,
  ringShares: readonly number[],
  spills: Weights['spills'],
  grouping: Grouping,
): string {
  if (tier !== 'usable') return byTier[tier];
  if (grouping === 'client') return 'chosen by client among the nearest';
  if (grouping === 'whole') return 'all are alike: locality is Ignore';
  const name = rings[ring] as string;
  const share = ringShares[ring] as number;
  const kept = spills[ring as 0 | 1 | 2]?.kept ?? 1;
  if (kept < 1) return `${name} is loaded beyond its share: ${percent(1 - kept)} spill over`;
  return share > 0.9995 ? `the nearest: ${name} takes all` : `${name} takes ${percent(share)}`;
}

function excludedBecause(field: Field, i: number, policy: ServicePolicy): string {
  const { ready, draining } = field.replicas[i] as Replica;
  const state = field.tracks?.[i]?.health?.state;
  if (state === 'dead') return 'its host says that it is gone';
  if (!ready && !draining) return 'not ready';
  if (policy.locality === 'Require' && (field.ring[i] as number) > zoneRing)
    return 'not in this zone, and locality is Require';
  if (field.member[i] === 1) return 'nearer ones take all';
  return passedOver(field, i, ready);
}

function passedOver({ measured, tracks }: Field, i: number, ready: boolean): string {
  if (!ready) return 'terminating: it keeps its connections and gets no new ones';
  if (measured?.[i]?.load?.moving === true) return 'being moved, and others can take its flows';
  return tracks?.[i]?.health?.state === 'silent' ? 'it does not answer' : 'others are better';
}

function detailsOf(field: Field, i: number, ofMean: number, now: number): string {
  const health = field.tracks?.[i]?.health;
  if (field.tier !== 'usable') return '';
  const details: string[] = [];
  if (health?.state === 'easing') details.push(`eased in: ${percent(healthShare(health, now))}`);
  if (health !== undefined && reliability(health) < 0.9)
    details.push(`${percent(1 - Math.sqrt(reliability(health)))} of its connects fail`);
  else if (health?.state !== 'easing' && Math.abs(Math.log(ofMean)) > 0.2)
    details.push(`${ofMean < 1 ? 'more' : 'less'} loaded than others: ${percent(ofMean)} of their share`);
  return details.join('; ');
}

/** Of those that are chosen, by ring. */
function meanWeights({ ring }: Field, weights: readonly number[], grouping: Grouping): number[] {
  const sums = rings.map(() => 0);
  const counts = rings.map(() => 0);
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    const at = ring[i] as number;
    sums[at] = (sums[at] as number) + (weights[i] as number);
    counts[at] = (counts[at] as number) + 1;
  }
  if (grouping === 'rings') return sums.map((sum, at) => sum / (counts[at] as number));
  const all = sums.reduce((a, b) => a + b, 0) / counts.reduce((a, b) => a + b, 0);
  return sums.fill(all);
}
