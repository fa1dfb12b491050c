/** ServalServices that somebody might write, by mistake or on purpose. */
import type { Chance } from './chance.js';
import {
  accepts,
  either,
  heavy,
  nested,
  refuses,
  wrongType,
  type Draft,
  type Twist,
} from './hostile-twists.js';

/** Addresses for which several ask. */
const sharedAddresses = ['10.96.200.1', '10.96.200.2', 'fd00:96::201'];
/** Somebody else's Services: see strangers() in hostile-world.ts. */
export const strangerNames = ['owned', 'other', 'headless', 'alias', 'same'] as const;

const long = (length: number): string => 'a'.repeat(length);
const notOfType: ReadonlyArray<[field: string, types: string[]]> = [
  ['selector', ['object']],
  ['virtualIPs', ['array']],
  ['ports', ['array']],
  ['locality', ['string']],
  ['balance', ['string']],
  ['affinity', ['string']],
  ['ownReplica', ['string']],
  ['failover', ['object']],
  ['whenEmpty', ['string']],
  ['maxDelayMs', ['number']],
];

export function goodService(name: string, chance: Chance): Draft {
  return {
    apiVersion: 'serval.io/v1alpha1',
    kind: 'ServalService',
    metadata: { name },
    spec: {
      selector: { app: chance.pick(['web', 'db', 'nobody']) },
      ports: [{ port: 1 + chance.below(65_535), protocol: chance.pick(['TCP', 'UDP']) }],
    },
  };
}

const ports = (draft: Draft, ...list: unknown[]): void => void (draft.spec['ports'] = list);
const addresses = (draft: Draft, ...list: unknown[]): void => void (draft.spec['virtualIPs'] = list);
const named = (length: number): object[] =>
  Array.from({ length }, (_, i) => ({ name: `p${i}`, port: i + 1, targetPort: 8_080 }));

const names: readonly Twist[] = [
  refuses('a name of 64', 'metadata.name', ({ metadata }) => void (metadata['name'] = long(64)), /at most/),
  refuses(
    'a name that no Service has',
    'metadata.name',
    ({ metadata }, chance) => void (metadata['name'] = `${chance.pick(['7', '0a'])}${chance.word(4)}`),
    /choose such a name/,
  ),
  refuses(
    'a name with dots',
    'metadata.name',
    ({ metadata }, chance) => void (metadata['name'] = `a.${chance.word(6)}`),
    /choose such a name/,
  ),
  accepts(
    "a name of somebody else's Service",
    ({ metadata }, chance) => void (metadata['name'] = chance.pick(strangerNames)),
    /ManagedByAnother|ServiceDiffers|NoVirtualIP|NoReplicas|Serving/,
  ),
];

const selectors: readonly Twist[] = [
  accepts(
    'chooses nothing',
    ({ spec }, chance) => void (spec['selector'] = { no: chance.word(6) }),
    /NoReplicas/,
  ),
  heavy(accepts('chooses everything', ({ spec }) => void (spec['selector'] = { all: 'yes' }), /Serving/)),
  accepts('has no selector', ({ spec }) => void delete spec['selector'], /NoReplicas/),
  heavy(
    accepts('a selector at its limits', ({ spec }) => {
      const keys = Array.from({ length: 64 }, (_, i) => `${long(60)}.${long(60)}/k${i}`);
      spec['selector'] = Object.fromEntries(keys.map((key) => [key, long(63)]));
    }),
  ),
  refuses(
    'an empty selector',
    'spec.selector',
    ({ spec }) => void (spec['selector'] = {}),
    /name at least one label/,
  ),
  refuses('a selector of 65', 'spec.selector', ({ spec }) => {
    spec['selector'] = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 'x']));
  }),
  refuses(
    'an odd key',
    'spec.selector',
    ({ spec }, chance) => void (spec['selector'] = { [`${chance.odd()}!`]: '' }),
  ),
  refuses(
    'a key of 64',
    'spec.selector',
    ({ spec }) => void (spec['selector'] = { [long(64)]: '' }),
    /write it like/,
  ),
  refuses(
    'a prefix of 254',
    'spec.selector',
    ({ spec }) => void (spec['selector'] = { [`${long(254)}/a`]: '' }),
  ),
  refuses('a value of 64', 'spec.selector', ({ spec }) => void (spec['selector'] = { a: long(64) })),
  refuses(
    'an odd value',
    'spec.selector',
    ({ spec }, chance) => void (spec['selector'] = { a: `-${chance.odd()}` }),
    /write letters/,
  ),
  heavy(
    refuses('a huge selector', 'spec.selector', ({ spec }) => {
      spec['selector'] = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, 'x']));
    }),
  ),
];

const virtualIPs: readonly Twist[] = [
  accepts(
    'an address that others want too',
    (draft, chance) => addresses(draft, chance.pick(sharedAddresses)),
    /NoReplicas|Serving|ServiceRefused.*already allocated/,
  ),
  accepts('out of the range', (draft) => addresses(draft, '192.0.2.1'), /ServiceRefused.*range/),
  accepts('two of one family', (draft) => addresses(draft, '10.96.201.1', '10.96.201.2'), /ServiceRefused/),
  accepts('64 addresses', (draft) => addresses(draft, ...numbered(64)), /ServiceRefused/),
  refuses('65 addresses', 'spec.virtualIPs', (draft) => addresses(draft, ...numbered(65))),
  heavy(refuses('5,000 addresses', 'spec.virtualIPs', (draft) => addresses(draft, ...numbered(5_000)))),
  refuses('no addresses', 'spec.virtualIPs', (draft) => addresses(draft)),
  refuses(
    'no address',
    'spec.virtualIPs',
    (draft, chance) =>
      addresses(
        draft,
        chance.pick(['', 'web', '10.96.1', '10.096.0.1', '1.2.3.4/32', '::1%eth0', chance.odd()]),
      ),
    /write it like 10\.96\.0\.1/,
  ),
  refuses('an address in another', 'spec.virtualIPs', (draft) => addresses(draft, '::ffff:10.96.0.9')),
  refuses(
    'an address of nobody',
    'spec.virtualIPs',
    (draft, chance) =>
      addresses(
        draft,
        chance.pick([
          '0.0.0.0',
          '::',
          '127.0.0.1',
          '::1',
          '224.0.0.1',
          'ff02::1',
          '239.1.1.1',
          'ff05::1',
          '255.255.255.255',
        ]),
      ),
    /give an address that one can connect to/,
  ),
  refuses(
    'an address twice',
    'spec.virtualIPs',
    (draft) => addresses(draft, '10.96.202.1', '10.96.202.1'),
    /remove one/,
  ),
  refuses(
    'an address twice, in two ways',
    'spec.virtualIPs',
    (draft) => addresses(draft, 'fd00:96::301', 'fd00:96:0:0::301'),
    /remove one/,
  ),
  refuses('an address of another type', 'spec.virtualIPs', (draft, chance) =>
    addresses(draft, wrongType(chance, ['string'])),
  ),
];

const numbered = (length: number): string[] =>
  Array.from({ length }, (_, i) => `10.96.${100 + Math.floor(i / 250)}.${1 + (i % 250)}`);

const portTwists: readonly Twist[] = [
  refuses('no ports', 'spec.ports', (draft) => ports(draft)),
  refuses('ports left out', 'spec.ports', ({ spec }) => void delete spec['ports']),
  heavy(accepts('100 ports', (draft) => ports(draft, ...named(100)))),
  refuses('101 ports', 'spec.ports', (draft) => ports(draft, ...named(101))),
  heavy(refuses('5,000 ports', 'spec.ports', (draft) => ports(draft, ...named(5_000)))),
  refuses(
    'a port twice',
    'spec.ports',
    (draft) => ports(draft, { name: 'a', port: 80, protocol: 'TCP' }, { name: 'b', port: 80 }),
    /remove one/,
  ),
  accepts('a port by both protocols', (draft) =>
    ports(draft, { name: 'a', port: 53, protocol: 'TCP' }, { name: 'b', port: 53, protocol: 'UDP' }),
  ),
  refuses(
    'a name twice',
    'spec.ports',
    (draft) => ports(draft, { name: 'a', port: 1 }, { name: 'a', port: 2 }),
    /a name of its own/,
  ),
  refuses('two without names', 'spec.ports', (draft) => ports(draft, { port: 1 }, { port: 2 }), /name each/),
  refuses('a port out of range', 'spec.ports', (draft, chance) =>
    ports(draft, { port: chance.pick([0, -1, 65_536, 2 ** 31, 2 ** 53, 1e300, 1.5]) }),
  ),
  refuses('a port of another type', 'spec.ports', (draft, chance) =>
    ports(draft, { port: wrongType(chance, ['number']) }),
  ),
  refuses('a port that is not one', 'spec.ports', (draft, chance) =>
    ports(draft, wrongType(chance, ['object'])),
  ),
  refuses('a protocol that is none', 'spec.ports', (draft, chance) =>
    ports(draft, { port: 80, protocol: chance.pick(['SCTP', 'tcp', '', chance.odd()]) }),
  ),
  refuses(
    "a port's odd name",
    'spec.ports',
    (draft, chance) => ports(draft, { name: `A${chance.odd()}`, port: 80 }),
    /write it like http/,
  ),
  refuses('a target out of range', 'spec.ports', (draft, chance) =>
    ports(draft, { port: 80, targetPort: chance.pick([0, -1, 65_536]) }),
  ),
  refuses('a target that is no name', 'spec.ports', (draft, chance) =>
    ports(draft, {
      port: 80,
      targetPort: chance.pick(['', 'UPPER', '-a', 'a-', long(16), 'a--b', '80', '1-2', chance.odd()]),
    }),
  ),
];

const others: readonly Twist[] = [
  refuses('a field of another type', 'spec', ({ spec }, chance) => {
    const [field, types] = chance.pick(notOfType);
    spec[field] = wrongType(chance, types);
    return `spec.${field}`;
  }),
  either('a field that is null', 'spec', ({ spec }, chance) => {
    const [field] = chance.pick(notOfType);
    spec[field] = null;
    return `spec.${field}`;
  }),
  refuses('a choice that is none', 'spec', ({ spec }, chance) => {
    const field = chance.pick(['locality', 'balance', 'affinity', 'ownReplica', 'whenEmpty']);
    spec[field] = chance.pick(['', 'prefer', 'ALL', long(10_000), chance.odd()]);
    return `spec.${field}`;
  }),
  refuses('failover out of its limits', 'spec.failover', ({ spec }, chance) => {
    spec['failover'] = chance.pick([
      { attempts: 0 },
      { attempts: 11 },
      { synTimeoutMs: 19 },
      { synTimeoutMs: 10_001 },
    ]);
  }),
  refuses('a wait out of its limits', 'spec.maxDelayMs', ({ spec }, chance) => {
    spec['maxDelayMs'] = chance.pick([-1, 3_600_001, 1e18, 0.5]);
  }),
  refuses('something deep in a known field', 'spec.failover', ({ spec }, chance) => {
    spec['failover'] = { attempts: nested(500, chance) };
  }),
];

export const serviceTwists: readonly Twist[] = [
  ...names,
  ...selectors,
  ...virtualIPs,
  ...portTwists,
  ...others,
];
