/**
 * Pure: what a candidate does about a lease, given what it has seen of it. Others' clocks are not believed: a lease is taken
 * over when it has not changed for its whole duration by the own clock, whatever times are written in it.
 */
import type { ObjectMeta } from '@serval/api';
import { microTime } from './micro-time.js';

/** coordination.k8s.io/v1, of which this is used; what else is there stays. */
export interface Lease {
  metadata: ObjectMeta;
  spec?: LeaseSpec;
}

export interface LeaseSpec {
  /** empty or absent: nobody's */
  holderIdentity?: string | null;
  leaseDurationSeconds?: number | null;
  acquireTime?: string | null;
  renewTime?: string | null;
  /** how often it went from one holder to another */
  leaseTransitions?: number | null;
}

export interface Observed {
  /** as it was last seen; undefined: there has been none yet */
  lease: Lease | undefined;
  /** it was deleted since, which ends nobody's leading */
  isGone: boolean;
  /** when it was first seen like this, ms of the own clock */
  since: number;
}

export interface Self {
  identity: string;
  /** what the own lease lasts, ms */
  leaseMs: number;
}

export type Decision =
  /** `create`: there is no object */
  | { do: 'create' | 'take' | 'renew' }
  /** it may be somebody else's, for so many ms at least */
  | { do: 'wait'; ms: number };

/** What is known after a look at it. @param found undefined: there is none */
export function observe(before: Observed | undefined, found: Lease | undefined, now: number): Observed {
  if (found === undefined) {
    if (before?.isGone === true) return before;
    return { lease: before?.lease, isGone: true, since: now };
  }
  const isSame = before?.isGone === false && versionOf(before.lease) === versionOf(found);
  return { lease: found, isGone: false, since: isSame ? before.since : now };
}

/** @param leads whether we lead at the moment */
export function decide(observed: Observed, now: number, self: Self, leads: boolean): Decision {
  const { lease, isGone, since } = observed;
  const holder = holderOf(lease);
  const isOurs = holder === self.identity;
  // Where it was deleted, somebody may have taken it after our last look, and lead.
  const isFree = isGone ? lease === undefined || (isOurs && leads) : isOurs || holder === '';
  // A holder with other settings than ours may count on the longer one.
  const lastsMs = Math.max(self.leaseMs, (lease?.spec?.leaseDurationSeconds ?? 0) * 1_000);
  const ms = since + lastsMs - now;
  if (!isFree && ms > 0) return { do: 'wait', ms };
  if (isGone) return { do: 'create' };
  return { do: isOurs ? 'renew' : 'take' };
}

/** Its spec when it is ours from now on, or still. @param at the time of day, for others to read */
export function heldSpec(lease: Lease | undefined, self: Self, at: Date): LeaseSpec {
  const spec = lease?.spec ?? {};
  const isStill = holderOf(lease) === self.identity;
  const transitions = spec.leaseTransitions ?? 0;
  return {
    ...spec,
    holderIdentity: self.identity,
    // Never shorter than what we count on.
    leaseDurationSeconds: Math.ceil(self.leaseMs / 1_000),
    acquireTime: isStill ? (spec.acquireTime ?? microTime(at)) : microTime(at),
    renewTime: microTime(at),
    leaseTransitions: isStill || lease === undefined ? transitions : transitions + 1,
  };
}

/** Its spec when it is nobody's. */
export function freeSpec(lease: Lease, at: Date): LeaseSpec {
  return { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(at) };
}

/** Empty where it is nobody's. */
export function holderOf(lease: Lease | undefined): string {
  return lease?.spec?.holderIdentity ?? '';
}

/** One of the same name that was made anew has another one too. */
function versionOf(lease: Lease | undefined): string | undefined {
  return lease?.metadata.resourceVersion;
}
