import { describe, expect, it } from '@jest/globals';
import {
  endpoints,
  endpointTargets,
  markedReplicas,
  maxServices,
  replicasEach,
  virtualIp,
  virtualTargets,
} from './plan.js';

describe('the plan of services', () => {
  it('gives each service and each replica an address of its own', () => {
    const plan = { services: maxServices };
    const virtual = virtualTargets(plan);
    const replicas = endpointTargets(plan);
    expect(new Set(virtual).size).toBe(maxServices);
    expect(new Set(replicas).size).toBe(maxServices * replicasEach);
    expect([virtual[0], virtual.at(-1)]).toEqual(['10.96.4.0:80', '10.96.82.31:80']);
    expect([replicas[0], replicas.at(-1)]).toEqual(['10.128.0.0:8080', '10.131.13.63:8080']);
  });

  it('changes one endpoint, and only that', () => {
    const replaced = markedReplicas[1]?.address ?? '';
    const before = endpoints({ services: 2 }, 0);
    expect(endpoints({ services: 2, replaced }, 0)).toEqual([replaced, ...before.slice(1)]);
    expect(endpoints({ services: 2, replaced }, 1)).toEqual(endpoints({ services: 2 }, 1));
    expect(virtualIp(1)).toBe('10.96.4.1');
  });

  it('has marks that are nobody else and can be told apart', () => {
    const replicas = new Set(endpointTargets({ services: maxServices }));
    const sizes = markedReplicas.map(({ mss }) => mss);
    for (const { address } of markedReplicas) expect(replicas).not.toContain(`${address}:8080`);
    expect(sizes.every((size, i) => i === 0 || (sizes[i - 1] as number) - size >= 16)).toBe(true);
  });
});
