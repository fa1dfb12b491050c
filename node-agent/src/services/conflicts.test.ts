import { describe, expect, it } from '@jest/globals';
import type { ServalService } from '@serval/api';
import { servicePoints } from './conflicts.js';
import { service } from './services.fixture.js';

const named = (
  name: string,
  spec: Partial<ServalService['spec']> = {},
  creationTimestamp?: string,
): ServalService => service(spec, { name, ...(creationTimestamp !== undefined && { creationTimestamp }) });

function reasons(services: ServalService[], replicas: readonly string[] = []): Record<string, string[]> {
  const points = servicePoints(services, (address) => replicas.includes(address));
  return Object.fromEntries(
    [...points].map(([name, { problems }]) => [name, problems.map(({ reason }) => reason)]),
  );
}

describe('who serves at which virtual IP and port', () => {
  it('is the oldest; by name where no time is given', () => {
    const services = [
      named('young', {}, '2026-02-01T00:00:00Z'),
      named('old', {}, '2026-01-01T00:00:00Z'),
      named('a-file'),
    ];
    const expected = '10.96.0.1:80/TCP belongs to service shop/old, which is older';
    expect(reasons(services)).toEqual({
      'shop/old': [],
      'shop/young': [expected],
      'shop/a-file': [expected],
    });
    expect(reasons([named('b'), named('a')])['shop/b']).toHaveLength(1);
  });

  it('may be several at one address: ports and protocols of their own', () => {
    const dns = [
      { name: 'dns', port: 53, protocol: 'UDP' as const },
      { name: 'dns-tcp', port: 53 },
    ];
    const points = servicePoints([named('web'), named('dns', { ports: dns })], () => false);
    expect(points.get('shop/dns')).toEqual({
      points: [
        { virtualIP: '10.96.0.1', port: 53, protocol: 'UDP', portIndex: 0 },
        { virtualIP: '10.96.0.1', port: 53, protocol: 'TCP', portIndex: 1 },
      ],
      problems: [],
    });
  });

  it('loses nothing else by one conflict', () => {
    const both = [
      { name: 'web', port: 80 },
      { name: 'admin', port: 8080 },
    ];
    const points = servicePoints(
      [named('a'), named('b', { ports: both, virtualIPs: ['10.96.0.1', 'fd00::1'] })],
      () => false,
    );
    expect(points.get('shop/b')?.points.map(({ virtualIP, port }) => `${virtualIP} ${port}`)).toEqual([
      '10.96.0.1 8080',
      'fd00::1 80',
      'fd00::1 8080',
    ]);
  });

  it.each([
    [{ ports: [] }, 'it has no ports'],
    [
      { ports: [{ port: '8000-8010' as unknown as number }] },
      'its port "8000-8010" is no number from 1 to 65535',
    ],
    [{ ports: [{ port: 65_536 }] }, 'its port 65536 is no number from 1 to 65535'],
    [{ ports: [{ port: 80 }, { name: 'x', port: 81 }] }, 'its port 80 has no name, and it has others'],
    [
      {
        ports: [
          { name: 'x', port: 80 },
          { name: 'y', port: 80 },
        ],
      },
      'it has 10.96.0.1:80/TCP twice',
    ],
    [{ virtualIPs: [] }, 'it has no virtual IP'],
    [{ virtualIPs: ['cart.shop'] }, 'its virtual IP "cart.shop" is no address'],
    [{ virtualIPs: ['127.0.0.1'] }, "its virtual IP 127.0.0.1 is nobody's own"],
    [{ virtualIPs: ['::ffff:10.1.0.1'] }, "its virtual IP 10.1.0.1 is a replica's own address"],
  ])('tells what is wrong with %j', (spec, reason) => {
    expect(reasons([service(spec)], ['10.1.0.1'])).toEqual({ 'shop/cart': [reason] });
  });

  it('takes names at their length limits', () => {
    const name = 'n'.repeat(63);
    const port = 'p'.repeat(15);
    const long = service({ ports: [{ name: port, port: 80 }] }, { name, namespace: 's'.repeat(63) });
    expect(reasons([long])).toEqual({ [`${'s'.repeat(63)}/${name}`]: [] });
  });

  it('takes an address that is written in two ways for one', () => {
    const services = [named('a', { virtualIPs: ['fd00::1'] }), named('b', { virtualIPs: ['FD00:0::1'] })];
    expect(reasons(services)['shop/b']).toEqual([
      '[fd00::1]:80/TCP belongs to service shop/a, which is older',
    ]);
  });
});
