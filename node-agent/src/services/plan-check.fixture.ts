/** What holds for every plan. */
import { expect } from '@jest/globals';
import type { Planned } from './plan.js';
import type { ServicePolicy, WeightedReplica } from './types.js';

export function check(planned: Planned, policy: Partial<ServicePolicy>): void {
  const { rule, replicas, choices } = planned.plan;
  const sum = replicas.reduce((total, { weight }) => total + weight, 0);
  if (choices.length === 0) {
    expect(sum).toBe(0);
    expect(rule).toBe(policy.whenEmpty === 'Wait' ? 'DELAY' : 'DROP');
  } else expect(sum).toBeCloseTo(1, 9);
  replicas.forEach((each) => checkReplica(each, policy));
  const chosen = [...new Set(choices)].map((i) => replicas[i]!);
  expect(chosen.filter(({ weight }) => weight === 0)).toEqual([]);
  if (rule === 'DEMUX') expect(chosen.every(({ ring }) => ring === 'node')).toBe(true);
  const isBetter = chosen.some(({ ready, load: known }) => ready && known?.moving !== true);
  if (isBetter) expect(chosen.every(({ draining }) => !draining)).toBe(true);
}

function checkReplica(
  { weight, reason, health, ready, draining, ring }: WeightedReplica,
  { locality }: Partial<ServicePolicy>,
): void {
  expect(weight).toBeGreaterThanOrEqual(0);
  expect(reason).not.toBe('');
  if (health === 'dead' || !(ready || draining)) expect(weight).toBe(0);
  if (locality === 'Require' && (ring === 'region' || ring === 'world')) expect(weight).toBe(0);
}
