import { describe, expect, it } from '@jest/globals';
import type { ServiceView } from '@serval/api';
import { asRead, stateOf, type Given } from './views.fixture.js';
import { serviceView, type ViewSources } from './views.js';

const sources: ViewSources = {
  count: ({ address }) =>
    address === '10.96.0.1'
      ? { turn: 0, resolved: 5, refused: 1, waited: 0 }
      : { turn: 0, resolved: 2, refused: 0, waited: 1 },
  seen:
    () =>
    ({ address }) =>
      address === '10.0.0.2' ? { rttUs: 240, connections: 4, failures: 1 } : undefined,
};

function view(given: Given = {}): ServiceView {
  return asRead(serviceView(stateOf(given), true, sources));
}

describe('a service', () => {
  it('is told with its replicas: ring, weight, load, health, what was seen, and why', () => {
    const moving = { load: { established: 3, backlog: 1, moving: true } };
    const { ports, ...rest } = view({
      measured: { '10.0.0.1': moving, '10.0.0.3': { dead: true } },
    });
    expect(rest).toEqual({
      name: 'shop/cart',
      virtualIPs: ['10.96.0.1'],
      inUse: true,
      policy: {
        locality: 'Prefer',
        balance: 'LeastLoad',
        affinity: 'None',
        ownReplica: 'Ignore',
        whenEmpty: 'Fail',
        attempts: 3,
        synTimeoutMs: 100,
        maxDelayMs: 30_000,
      },
      problems: [],
    });
    const common = { port: 8080, ready: true, draining: false, region: 'r' };
    expect(ports).toEqual([
      {
        port: 80,
        protocol: 'tcp',
        family: 4,
        virtualIPs: ['10.96.0.1'],
        rule: 'FORWARD',
        balance: 'RANDOM',
        resolved: 5,
        refused: 1,
        waited: 0,
        replicas: [
          {
            ...{
              ...common,
              address: '10.0.0.1',
              node: 'here',
              zone: 'a',
              ring: 'node',
              health: 'good',
              weight: 0,
            },
            load: { established: 3, backlog: 1, moving: true },
            reason: expect.stringMatching(/being moved/),
          },
          {
            ...{
              ...common,
              address: '10.0.0.2',
              node: 'near',
              zone: 'a',
              ring: 'zone',
              health: 'good',
              weight: 1,
            },
            ...{ rttUs: 240, connections: 4, failures: 1 },
            reason: expect.stringMatching(/nearest/),
          },
          {
            ...{
              ...common,
              address: '10.0.0.3',
              node: 'far',
              zone: 'b',
              ring: 'region',
              health: 'dead',
              weight: 0,
            },
            reason: expect.stringMatching(/gone/),
          },
        ],
      },
    ]);
  });

  it('counts what was asked at all its virtual IPs of a family', () => {
    const { ports } = view({ spec: { virtualIPs: ['10.96.0.1', '10.96.0.2', 'fd00::1'] } });
    expect(ports.map(({ family, resolved, refused, waited }) => [family, resolved, refused, waited])).toEqual(
      [
        [4, 7, 1, 1],
        [6, 2, 0, 1],
      ],
    );
    expect(ports[0]?.virtualIPs).toEqual(['10.96.0.1', '10.96.0.2']);
    expect(ports[1]?.replicas).toEqual([]);
  });

  it.each([
    [{ balance: 'Hash' }, 'BY_CLIENT'],
    [{ affinity: 'Client' }, 'BY_CLIENT'],
    [{ balance: 'RoundRobin' }, 'IN_TURN'],
  ] as const)('with %j takes them %s', (spec, balance) => {
    expect(view({ spec }).ports[0]?.balance).toBe(balance);
  });

  it('says in words what is wrong with it, and what is served all the same', () => {
    const found = view({ spec: { virtualIPs: ['10.96.0.1', '127.0.0.1', 'no'], ports: [] } });
    expect(found.ports).toEqual([]);
    expect(found.problems).toHaveLength(3);
    expect(found.problems[0]).toBe('service shop/cart: it has no ports. Name at least one port to serve.');
    expect(found.virtualIPs).toEqual(['10.96.0.1', '127.0.0.1', 'no']);
  });
});
