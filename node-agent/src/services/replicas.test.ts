import { describe, expect, it } from '@jest/globals';
import type { EndpointSlice } from '@serval/api';
import fc from 'fast-check';
import { replicasOf, sliceOwner, type Surroundings } from './replicas.js';
import { service, slice } from './services.fixture.js';
import type { Replica } from './types.js';

const places: Record<string, { zone?: string; region?: string }> = {
  n1: { zone: 'a', region: 'r' },
  n2: { zone: 'b', region: 'r' },
};
const surroundings: Surroundings = { node: (name) => places[name] };

function only(slices: readonly EndpointSlice[], spec = {}, around = surroundings): Replica[] {
  return replicasOf(service(spec), slices, around).ports[0]?.replicas ?? [];
}

const endpoint = (address: string, more = {}) => ({ addresses: [address], nodeName: 'n1', ...more });

describe('replicas of a service', () => {
  it('have the place of their node, and the zone that the endpoint says', () => {
    expect(
      only([slice([endpoint('10.1.0.2'), endpoint('10.1.0.1', { nodeName: 'n2', zone: 'c' })])]),
    ).toEqual([
      { address: '10.1.0.1', port: 8080, node: 'n2', zone: 'c', region: 'r', ready: true, draining: false },
      { address: '10.1.0.2', port: 8080, node: 'n1', zone: 'a', region: 'r', ready: true, draining: false },
    ]);
  });

  it.each([
    [undefined, true, false],
    [{}, true, false],
    [{ ready: true }, true, false],
    [{ ready: false }, false, false],
    [{ ready: false, serving: true, terminating: true }, false, true],
    [{ ready: false, serving: false, terminating: true }, false, false],
    [{ ready: false, serving: true }, false, false],
    // publishNotReadyAddresses
    [{ ready: true, serving: true, terminating: true }, true, false],
  ])('conditions %j: ready %s, draining %s', (conditions, ready, draining) => {
    expect(only([slice([{ addresses: ['10.1.0.1'], ...(conditions && { conditions }) }])])).toEqual([
      { address: '10.1.0.1', port: 8080, ready, draining },
    ]);
  });

  it('are there once, whatever the number of slices: what is ready in one is ready', () => {
    const gone = { ready: false, serving: true, terminating: true };
    const slices = [
      slice([endpoint('10.1.0.1', { conditions: gone }), endpoint('10.1.0.2')]),
      slice([endpoint('10.1.0.1'), endpoint('10.1.0.2', { conditions: { ready: false } })]),
    ];
    for (const each of [slices, slices.toReversed()])
      expect(only(each).map(({ address, ready }) => [address, ready])).toEqual([
        ['10.1.0.1', true],
        ['10.1.0.2', true],
      ]);
  });

  it('come in the same order from whatever slices', () => {
    const addresses = fc.uniqueArray(fc.ipV4(), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(addresses, fc.integer({ min: 0, max: 20 }), (list, cut) => {
        const all = list.map((address) => endpoint(address));
        const halves = [slice(all.slice(cut).toReversed()), slice(all.slice(0, cut))];
        expect(only(halves)).toEqual(only([slice(all)]));
        expect(only([slice(all)])).toHaveLength(list.length);
      }),
    );
  });

  it('are found by the name of the port and its protocol', () => {
    const ports = [
      { name: 'dns', port: 53, protocol: 'UDP' as const },
      { name: 'web', port: 8080 },
      { name: 'dns-tcp', port: 53 },
    ];
    const spec = {
      ports: [
        { name: 'web', port: 80 },
        { name: 'dns', port: 53, protocol: 'UDP' as const },
        { name: 'other', port: 1 },
      ],
    };
    const { ports: found } = replicasOf(
      service(spec),
      [slice([endpoint('10.1.0.1')], { ports })],
      surroundings,
    );
    expect(
      found.map(({ name, protocol, replicas }) => [name, protocol, replicas.map(({ port }) => port)]),
    ).toEqual([
      ['web', 'TCP', [8080]],
      ['dns', 'UDP', [53]],
      ['other', 'TCP', []],
    ]);
  });

  it("let a service's only port do without a name, and a slice's without a number", () => {
    expect(only([slice([endpoint('10.1.0.1')], { ports: [{ name: 'web', port: 8080 }] })])[0]?.port).toBe(
      8080,
    );
    expect(only([slice([endpoint('10.1.0.1')], { ports: [{}] })])[0]?.port).toBe(80);
    const two = [
      { name: 'web', port: 8080 },
      { name: 'admin', port: 9090 },
    ];
    expect(only([slice([endpoint('10.1.0.1')], { ports: two })])).toEqual([]);
  });

  it('keep address families apart', () => {
    const both = { virtualIPs: ['10.96.0.1', 'FD00::0001'] };
    const slices = [slice([endpoint('10.1.0.1')]), slice([endpoint('fd00:1::00A')], { addressType: 'IPv6' })];
    const { ports } = replicasOf(service(both), slices, surroundings);
    expect(
      ports.map(({ family, virtualIPs, replicas }) => [family, virtualIPs, replicas[0]?.address]),
    ).toEqual([
      [4, ['10.96.0.1'], '10.1.0.1'],
      [6, ['fd00::1'], 'fd00:1::a'],
    ]);
  });

  it('refuse names, and what is no address of the family, in words', () => {
    const slices = [
      slice([endpoint('web.example')], { addressType: 'FQDN' }),
      slice([endpoint('10.1.0.1'), endpoint('fd00::1'), { addresses: [] }, endpoint('x')]),
    ];
    const { ports, problems } = replicasOf(service(), slices, surroundings);
    expect(ports[0]?.replicas).toHaveLength(1);
    expect(problems.map(({ reason }) => reason)).toEqual([
      'its addressType is FQDN: names are not resolved here',
      '3 of its endpoints have no IPv4 address ("fd00::1", "", …)',
    ]);
  });

  it('are where a move took them, and stay who they were', () => {
    const moved = (address: string) =>
      address === '10.1.0.1' ? { address: '10.2.0.9', node: 'n2' } : undefined;
    const [first] = only([slice([endpoint('10.1.0.1')])], {}, { ...surroundings, moved });
    expect(first).toMatchObject({ address: '10.2.0.9', identity: '10.1.0.1', node: 'n2', zone: 'b' });
  });

  it('are one while slices list the old and the new address', () => {
    const moved = (address: string) =>
      address === '10.1.0.5' ? { address: '10.2.0.9', node: 'n2' } : undefined;
    const terminating = { ready: false, serving: true, terminating: true };
    const slices = [
      slice([endpoint('10.1.0.5', { conditions: terminating }), endpoint('10.1.0.7')]),
      slice([endpoint('10.2.0.9', { nodeName: 'n2' })]),
    ];
    const found = only(slices, {}, { ...surroundings, moved });
    expect(found.map(({ address, identity, ready }) => [address, identity, ready])).toEqual([
      ['10.2.0.9', '10.1.0.5', true],
      ['10.1.0.7', undefined, true],
    ]);
  });

  it('belong to the service that the label names', () => {
    expect(sliceOwner(slice([]))).toBe('shop/cart');
    expect(sliceOwner(slice([], { metadata: { name: 'x' } }))).toBeUndefined();
  });
});
