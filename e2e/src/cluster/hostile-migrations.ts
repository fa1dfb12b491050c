/** ServalMigrations that somebody might write, by mistake or on purpose. */
import type { Chance } from './chance.js';
import { accepts, nested, refuses, wrongType, type Draft, type Twist } from './hostile-twists.js';

const long = (length: number): string => 'a'.repeat(length);

export function goodMigration(name: string, chance: Chance): Draft {
  return {
    apiVersion: 'serval.io/v1alpha1',
    kind: 'ServalMigration',
    metadata: { name },
    spec: { workload: { name: chance.pick(['web-0', 'db-0', 'nobody']) } },
  };
}

const workload = ({ spec }: Draft, change: object): void =>
  void (spec['workload'] = { ...(spec['workload'] as object), ...change });

export const migrationTwists: readonly Twist[] = [
  accepts('a name of 253', ({ metadata }, chance) => void (metadata['name'] = chance.word(253))),
  accepts('a workload of nobody', (draft) => workload(draft, { name: 'nobody-at-all' })),
  accepts('a target of nobody', ({ spec }) => void (spec['targetNode'] = 'no-such-node')),
  accepts('names at their limits', (draft) => {
    workload(draft, { name: long(253) });
    draft.spec['targetNode'] = long(253);
  }),
  accepts("KubeVirt's", (draft) => workload(draft, { kind: 'VirtualMachineInstance' })),
  accepts('a mover', ({ spec }, chance) => void (spec['mover'] = chance.pick(['criu', 'external']))),
  accepts('the shortest deadline', ({ spec }) => void (spec['deadlineSeconds'] = 10)),
  refuses('no workload', 'spec.workload', ({ spec }) => void delete spec['workload']),
  refuses('a workload without a name', 'spec.workload.name', ({ spec }) => void (spec['workload'] = {})),
  refuses('an empty workload', 'spec.workload.name', (draft) => workload(draft, { name: '' })),
  refuses(
    'an odd workload',
    'spec.workload.name',
    (draft, chance) => workload(draft, { name: `A${chance.odd()}` }),
    /write it like redis-0/,
  ),
  refuses('a workload elsewhere', 'spec.workload.name', (draft) => workload(draft, { name: 'shop/redis-0' })),
  refuses('a huge workload', 'spec.workload.name', (draft) => workload(draft, { name: long(100_000) })),
  refuses('a workload of 254', 'spec.workload.name', (draft) => workload(draft, { name: long(254) })),
  refuses('a kind of workload that is none', 'spec.workload.kind', (draft, chance) =>
    workload(draft, { kind: chance.pick(['Deployment', 'pod', '', chance.odd()]) }),
  ),
  refuses(
    'an odd target',
    'spec.targetNode',
    ({ spec }, chance) => void (spec['targetNode'] = `_${chance.odd()}`),
    /write it like/,
  ),
  refuses('an empty target', 'spec.targetNode', ({ spec }) => void (spec['targetNode'] = '')),
  refuses('a mover that is none', 'spec.mover', ({ spec }, chance) => {
    spec['mover'] = chance.pick(['CRIU', '', 'qemu', long(10_000), chance.odd()]);
  }),
  refuses('a deadline out of its limits', 'spec.deadlineSeconds', ({ spec }, chance) => {
    spec['deadlineSeconds'] = chance.pick([0, 9, -1, 86_401, 1e18, 10.5]);
  }),
  refuses('a field of another type', 'spec', ({ spec }, chance) => {
    const [field, type] = chance.pick([
      ['workload', 'object'],
      ['targetNode', 'string'],
      ['mover', 'string'],
      ['deadlineSeconds', 'number'],
    ] as const);
    spec[field] = wrongType(chance, [type]);
    return `spec.${field}`;
  }),
  refuses('something deep in a known field', 'spec.workload.name', (draft, chance) =>
    workload(draft, { name: nested(500, chance) }),
  ),
];
