import { describe, expect, it } from '@jest/globals';
import { discoveryVersion, serviceNameLabel, type ServalService } from '@serval/api';
import { readDocuments } from './documents.js';
import type { ResourceProblem } from './store.js';
import { service, slice } from './testing.fixture.js';

function problemsOf(object: unknown): ResourceProblem[] {
  return readDocuments('f.yaml', JSON.stringify(object)).flatMap(({ problems }) => problems);
}

function objectOf(object: unknown): unknown {
  const [document] = readDocuments('f.yaml', JSON.stringify(object));
  expect(document?.problems).toEqual([]);
  return document?.object;
}

/** One problem, at this field, in these words. */
function expectProblem(object: unknown, field: string, reason: RegExp, remedy: RegExp): void {
  expect(problemsOf(object)).toEqual([
    {
      file: 'f.yaml',
      document: 1,
      field,
      reason: expect.stringMatching(reason),
      remedy: expect.stringMatching(remedy),
    },
  ]);
}

const long = 'a'.repeat(63);
const http = { name: 'http', port: 80 };

describe('ServalService', () => {
  it.each<[string, Parameters<typeof service>]>([
    ['the least', ['web']],
    ['a name of 63 characters', [long]],
    ['a name that begins with a digit', ['3d']],
    ['two families', ['web', { virtualIPs: ['10.96.0.1', 'fd00::1'] }]],
    ['a port in two protocols', ['dns', { ports: [http, { ...http, name: 'u', protocol: 'UDP' }] }]],
    [
      'the ends of the ports',
      [
        'web',
        {
          ports: [
            { name: long, port: 1 },
            { name: 'b', port: 65_535 },
          ],
        },
      ],
    ],
    ['everything', ['web', everything(10, 20, 0)]],
    ['the other ends', ['web', everything(1, 10_000, 3_600_000)]],
  ])('takes %s, as it is', (_, [name, spec]) => {
    expect(objectOf(service(name, spec))).toEqual(service(name, spec));
  });

  function everything(
    attempts: number,
    synTimeoutMs: number,
    maxDelayMs: number,
  ): Partial<ServalService['spec']> {
    return {
      locality: 'Require',
      balance: 'Hash',
      affinity: 'Client',
      ownReplica: 'Prefer',
      failover: { attempts, synTimeoutMs },
      whenEmpty: 'Wait',
      maxDelayMs,
    };
  }

  it.each<[string, object, string, RegExp, RegExp]>([
    ['no ports', { ports: [] }, 'spec.ports', /without ports/, /at least one port/],
    ['ports left out', { ports: undefined }, 'spec.ports', /without ports/, /at least one port/],
    ['no address', { virtualIPs: [] }, 'spec.virtualIPs', /without a virtual IP/, /address/],
    ['addresses left out', { virtualIPs: undefined }, 'spec.virtualIPs', /without a virtual IP/, /address/],
    ['a name for an address', { virtualIPs: ['web'] }, 'spec.virtualIPs[0]', /"web" is no IPv4/, /10\.1/],
    [
      'an address twice',
      { virtualIPs: ['::1:2', '0::1:2'] },
      'spec.virtualIPs[1]',
      /spec.virtualIPs\[0\]/,
      /Remove/,
    ],
    [
      'a mapped one',
      { virtualIPs: ['1.2.3.4', '::ffff:1.2.3.4'] },
      'spec.virtualIPs[1]',
      /already/,
      /Remove/,
    ],
    ['any address', { virtualIPs: ['0.0.0.0'] }, 'spec.virtualIPs[0]', /unspecified/, /connect/],
    ['any of IPv6', { virtualIPs: ['::'] }, 'spec.virtualIPs[0]', /unspecified/, /connect/],
    ['multicast', { virtualIPs: ['224.0.0.1'] }, 'spec.virtualIPs[0]', /multicast/, /connect/],
    ['multicast of IPv6', { virtualIPs: ['ff02::1'] }, 'spec.virtualIPs[0]', /multicast/, /connect/],
    ['broadcast', { virtualIPs: ['255.255.255.255'] }, 'spec.virtualIPs[0]', /broadcast/, /connect/],
    ['a zone', { virtualIPs: ['fe80::1%eth0'] }, 'spec.virtualIPs[0]', /zone/, /connect/],
    ['port 0', { ports: [{ port: 0 }] }, 'spec.ports[0].port', /0 is no port: .*1 to 65535/, /443/],
    ['port 65536', { ports: [{ port: 65_536 }] }, 'spec.ports[0].port', /no port/, /443/],
    ['half a port', { ports: [{ port: 80.5 }] }, 'spec.ports[0].port', /no port/, /443/],
    [
      'a range',
      { ports: [{ port: '8000-8010' }] },
      'spec.ports[0].port',
      /"8000-8010" is a range/,
      /each port/,
    ],
    ['a port as text', { ports: [{ port: '80' }] }, 'spec.ports[0].port', /text/, /without quotes/],
    ['a named port', { ports: [{ port: 'http' }] }, 'spec.ports[0].port', /"http" is no port/, /443/],
    ['no number', { ports: [{ name: 'a' }] }, 'spec.ports[0].port', /missing/, /Set it/],
    ['SCTP', { ports: [{ port: 1, protocol: 'SCTP' }] }, 'spec.ports[0].protocol', /"SCTP"/, /TCP, UDP/],
    [
      'a port twice',
      { ports: [http, { name: 'b', port: 80, protocol: 'TCP' }] },
      'spec.ports[1]',
      /80\/TCP is declared by spec.ports\[0\]/,
      /Remove/,
    ],
    [
      'a port name twice',
      { ports: [http, { name: 'http', port: 81 }] },
      'spec.ports[1].name',
      /"http" is the name of spec.ports\[0\]/,
      /of its own/,
    ],
    [
      'one unnamed of two',
      { ports: [http, { port: 81 }] },
      'spec.ports[1].name',
      /missing, .*the only one/,
      /EndpointSlices/,
    ],
    [
      'a port name of 64',
      { ports: [{ name: `${long}a`, port: 1 }] },
      'spec.ports[0].name',
      /64 characters.*at most 63/,
      /shorter/,
    ],
    ['a wrong port name', { ports: [{ name: 'Http', port: 1 }] }, 'spec.ports[0].name', /"Http"/, /web-1/],
    ['101 ports', { ports: manyPorts(101) }, 'spec.ports', /101 items, and 100/, /at most/],
    ['no locality of these', { locality: 'Near' }, 'spec.locality', /"Near"/, /Prefer, Require, Ignore/],
    ['no balance of these', { balance: 'Random' }, 'spec.balance', /"Random"/, /LeastLoad, RoundRobin, Hash/],
    ['no affinity of these', { affinity: 'ClientIP' }, 'spec.affinity', /"ClientIP"/, /None, Client/],
    ['no ownReplica of these', { ownReplica: 'No' }, 'spec.ownReplica', /"No"/, /Prefer, Ignore/],
    ['no whenEmpty of these', { whenEmpty: 'Drop' }, 'spec.whenEmpty', /"Drop"/, /Fail, Wait/],
    [
      'no attempts',
      { failover: { attempts: 0 } },
      'spec.failover.attempts',
      /0 is less than 1/,
      /at least 1 and at most 10/,
    ],
    [
      '11 attempts',
      { failover: { attempts: 11 } },
      'spec.failover.attempts',
      /11 is more than 10/,
      /at most 10/,
    ],
    [
      '19 ms',
      { failover: { synTimeoutMs: 19 } },
      'spec.failover.synTimeoutMs',
      /less than 20/,
      /at most 10000/,
    ],
    [
      '10,001 ms',
      { failover: { synTimeoutMs: 10_001 } },
      'spec.failover.synTimeoutMs',
      /more than 10000/,
      /at least 20/,
    ],
    ['a negative delay', { maxDelayMs: -1 }, 'spec.maxDelayMs', /less than 0/, /at least 0/],
    ['a delay of over an hour', { maxDelayMs: 3_600_001 }, 'spec.maxDelayMs', /more than 3600000/, /at most/],
    ['a misspelt field', { localty: 'Prefer' }, 'spec.localty', /no such field/, /locality/],
  ])('refuses %s', (_, spec, field, reason, remedy) => {
    expectProblem({ ...service('web'), spec: { ...service('web').spec, ...spec } }, field, reason, remedy);
  });

  function manyPorts(count: number): object[] {
    return Array.from({ length: count }, (_, index) => ({ name: `p${index}`, port: index + 1 }));
  }

  it.each<[string, object, string, RegExp, RegExp]>([
    [
      'of 64 characters',
      { name: `${long}a` },
      'metadata.name',
      /64 characters.*DNS label: at most 63/,
      /shorter/,
    ],
    ['with a dot', { name: 'web.shop' }, 'metadata.name', /dot.*one DNS label/, /"-"/],
    ['in capitals', { name: 'Web' }, 'metadata.name', /"Web".*lower-case/, /web-1/],
    [
      'in too long a namespace',
      { name: 'web', namespace: `${long}a` },
      'metadata.namespace',
      /64 char/,
      /shorter/,
    ],
  ])('refuses a name %s', (_, metadata, field, reason, remedy) => {
    expectProblem({ ...service('web'), metadata }, field, reason, remedy);
  });

  it('is of its own version only', () => {
    const other = { ...service('web'), apiVersion: discoveryVersion, spec: {} };
    expectProblem(
      other,
      'apiVersion',
      /ServalService is read in serval.io\/v1alpha1, not in "discovery/,
      /Write/,
    );
  });
});

const labels = { [serviceNameLabel]: 'web' };
const plain = slice('web-1', 'web', ['10.1.0.1']);
const endpoint = plain.endpoints[0];

describe('EndpointSlice', () => {
  it('keeps what is used of what Kubernetes writes, and nothing else', () => {
    const kubernetes = {
      apiVersion: discoveryVersion,
      kind: 'EndpointSlice',
      metadata: {
        name: 'web-x7k2p',
        generateName: 'web-',
        namespace: 'shop',
        uid: '5d0c2a66-7f43-4b9c-9d1f-0f6f0e3a1a11',
        resourceVersion: '4711',
        generation: 3,
        creationTimestamp: '2026-01-01T00:00:00Z',
        labels: { ...labels, 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' },
        ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name: 'web', uid: 'u', controller: true }],
        managedFields: [{ manager: 'kube-controller-manager', fieldsV1: { 'f:ports': {} } }],
        annotations: null,
        finalizers: null,
      },
      addressType: 'IPv4',
      endpoints: [
        {
          addresses: ['10.1.0.1'],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: 'host-1',
          zone: 'a',
          hostname: 'web-0',
          hints: { forZones: [{ name: 'a' }] },
          deprecatedTopology: { rack: '1' },
          targetRef: { kind: 'Pod', name: 'web-0', namespace: 'shop', uid: 'u', resourceVersion: '1' },
        },
        { addresses: ['10.1.0.2'], conditions: {}, nodeName: null, zone: null, targetRef: null, hints: null },
        { addresses: ['10.1.0.3'], conditions: null },
      ],
      ports: [{ name: '', port: 8080, protocol: 'TCP', appProtocol: null }],
    };
    expect(objectOf(kubernetes)).toEqual({
      apiVersion: discoveryVersion,
      kind: 'EndpointSlice',
      metadata: {
        name: 'web-x7k2p',
        namespace: 'shop',
        uid: '5d0c2a66-7f43-4b9c-9d1f-0f6f0e3a1a11',
        creationTimestamp: '2026-01-01T00:00:00Z',
        labels: kubernetes.metadata.labels,
      },
      addressType: 'IPv4',
      endpoints: [
        {
          addresses: ['10.1.0.1'],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: 'host-1',
          zone: 'a',
          targetRef: { kind: 'Pod', name: 'web-0', namespace: 'shop', uid: 'u' },
        },
        { addresses: ['10.1.0.2'], conditions: {} },
        { addresses: ['10.1.0.3'] },
      ],
      ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    });
  });

  it.each([
    ['none, as Kubernetes writes that', { endpoints: null, ports: null }, { endpoints: [] }],
    ['no ports', { ports: undefined }, {}],
    ['no time', { metadata: { ...plain.metadata, creationTimestamp: null } }, {}],
    ['a port for all', { ports: [{ name: 'any', port: null }] }, { ports: [{ name: 'any' }] }],
    ['SCTP', { ports: [{ port: 1, protocol: 'SCTP' }] }, { ports: [{ port: 1, protocol: 'SCTP' }] }],
    ['IPv6', { addressType: 'IPv6', endpoints: [{ addresses: ['fd00::1'] }] }, { addressType: 'IPv6' }],
    ['names', { addressType: 'FQDN', endpoints: [{ addresses: ['db.example'] }] }, { addressType: 'FQDN' }],
    ['1,000 endpoints', { endpoints: Array<unknown>(1_000).fill(endpoint) }, {}],
  ])('takes %s', (_, fields, expected) => {
    expect(objectOf({ ...plain, ...fields })).toMatchObject(expected);
  });

  it.each<[string, object, string, RegExp, RegExp]>([
    [
      'no label',
      { metadata: { name: 'x' } },
      `metadata.labels.${serviceNameLabel}`,
      /missing.*of no service/,
      /name of the ServalService/,
    ],
    [
      'an empty label',
      { metadata: { name: 'x', labels: { [serviceNameLabel]: '' } } },
      `metadata.labels.${serviceNameLabel}`,
      /can't be the name of a service/,
      /name of the Serv/,
    ],
    [
      '1,001 endpoints',
      { endpoints: Array<unknown>(1_001).fill(endpoint) },
      'endpoints',
      /1001 endpoints.*at most 1000, as in Kubernetes/,
      /more EndpointSlices/,
    ],
    ['no endpoints field', { endpoints: undefined }, 'endpoints', /missing/, /Set it/],
    ['a spec', { spec: {} }, 'spec', /has no spec.*top level/, /further out/],
    ['a status', { status: {} }, 'status', /no such field/, /endpoints/],
    [
      'an unknown field',
      { endpoints: [{ ...endpoint, address: 'x' }] },
      'endpoints[0].address',
      /no such field/,
      /addresses/,
    ],
    [
      'no address',
      { endpoints: [{ addresses: [] }] },
      'endpoints[0].addresses',
      /fewer than 1/,
      /at least 1/,
    ],
    [
      'IPv6 as IPv4',
      { endpoints: [endpoint, { addresses: ['fd00::1'] }] },
      'endpoints[1].addresses[0]',
      /no IPv4/,
      /addressType IPv4/,
    ],
    ['IPv4 as IPv6', { addressType: 'IPv6' }, 'endpoints[0].addresses[0]', /no IPv6/, /addressType IPv6/],
    [
      'an address as a name',
      { addressType: 'FQDN', endpoints: [{ addresses: ['a_b'] }] },
      'endpoints[0].addresses[0]',
      /no DNS name/,
      /FQDN/,
    ],
    [
      'any address',
      { endpoints: [{ addresses: ['0.0.0.0'] }] },
      'endpoints[0].addresses[0]',
      /unspecified/,
      /address/,
    ],
    ['an unknown type', { addressType: 'IP' }, 'addressType', /"IP"/, /IPv4, IPv6, FQDN/],
    [
      'a wrong condition',
      { endpoints: [{ ...endpoint, conditions: { ready: 'yes' } }] },
      'endpoints[0].conditions.ready',
      /"yes"/,
      /boolean/,
    ],
    [
      'a wrong node',
      { endpoints: [{ ...endpoint, nodeName: 'Host 1' }] },
      'endpoints[0].nodeName',
      /"Host 1"/,
      /host-1/,
    ],
    ['a range', { ports: [{ port: '1-2' }] }, 'ports[0].port', /range/, /each port/],
    ['port 0', { ports: [{ port: 0 }] }, 'ports[0].port', /no port/, /443/],
    [
      'a port name twice',
      { ports: [{ port: 1 }, { name: '', port: 2 }] },
      'ports[1].name',
      /"" is the name of ports\[0\]/,
      /of its own/,
    ],
    [
      'a wrong port name',
      { ports: [{ name: 'A', port: 1 }] },
      'ports[0].name',
      /"A" is no DNS label/,
      /http/,
    ],
  ])('refuses %s', (_, fields, field, reason, remedy) => {
    expectProblem({ ...plain, ...fields }, field, reason, remedy);
  });

  it.each(['serval.io/v1alpha1', 'discovery.k8s.io/v1beta1', 1])('is not of version %j', (apiVersion) => {
    const other = { ...plain, apiVersion, endpoints: [{ ...endpoint, topology: {} }] };
    expectProblem(other, 'apiVersion', /EndpointSlice is read in discovery.k8s.io\/v1, not in /, /Write/);
  });

  it('has what many of them have in common once, and may not be changed', () => {
    const [one, other] = ['a', 'b'].map((name) => objectOf({ ...plain, metadata: { name, labels } })) as [
      typeof plain,
      typeof plain,
    ];
    expect(one.ports).toBe(other.ports);
    expect(one.endpoints[0]?.conditions).toBe(other.endpoints[0]?.conditions);
    for (const part of [one, one.ports, one.ports?.[0], one.endpoints, one.endpoints[0]?.conditions])
      expect(Object.isFrozen(part)).toBe(true);
  });
});
