/** What a ServalService asks for, with its defaults. */
import type { ServalServiceSpec } from '@serval/api';
import type { ServicePolicy } from './types.js';

export const defaultPolicy: Readonly<ServicePolicy> = {
  locality: 'Prefer',
  balance: 'LeastLoad',
  affinity: 'None',
  ownReplica: 'Ignore',
  whenEmpty: 'Fail',
  attempts: 3,
  synTimeoutMs: 100,
  maxDelayMs: 30_000,
};

/** Most services want the same: each policy is there once. So many at most: then it begins anew. */
const known = new Map<string, ServicePolicy>();
const mostKnown = 1_000;

export function policyOf(spec: ServalServiceSpec): Readonly<ServicePolicy> {
  const policy = filledIn(spec);
  const key = Object.values(policy).join();
  const same = known.get(key);
  if (same !== undefined) return same;
  if (known.size >= mostKnown) known.clear();
  known.set(key, policy);
  return policy;
}

function filledIn(spec: ServalServiceSpec): ServicePolicy {
  return {
    locality: spec.locality ?? defaultPolicy.locality,
    balance: spec.balance ?? defaultPolicy.balance,
    affinity: spec.affinity ?? defaultPolicy.affinity,
    ownReplica: spec.ownReplica ?? defaultPolicy.ownReplica,
    whenEmpty: spec.whenEmpty ?? defaultPolicy.whenEmpty,
    attempts: spec.failover?.attempts ?? defaultPolicy.attempts,
    synTimeoutMs: spec.failover?.synTimeoutMs ?? defaultPolicy.synTimeoutMs,
    maxDelayMs: spec.maxDelayMs ?? defaultPolicy.maxDelayMs,
  };
}

/** The client decides, not the load: the kernel numbers flows by a hash of the client, and weights change with membership only. */
export function isByClient({ balance, affinity }: ServicePolicy): boolean {
  return balance === 'Hash' || affinity === 'Client';
}

/** The kernel numbers flows in the order in which they come. */
export function isInTurn(policy: ServicePolicy): boolean {
  return policy.balance === 'RoundRobin' && !isByClient(policy);
}
