import { describe, expect, it } from '@jest/globals';
import { apiVersion, type ServalNode } from '@serval/api';
import type { Pod } from '../pods/pod.js';
import { decide } from './decide.js';
import { annotations, finalizer, migrationId } from './names.js';
import { conditionOf, type Status, type View } from './view.js';

const now = new Date('2026-11-29T00:10:00Z');
const startedAt = '2026-11-29T00:09:00Z';
const late = { startedAt: '2026-11-28T00:00:00Z' };

function node(name: string, status: 'True' | 'Unknown' = 'True'): ServalNode {
  const ready = { type: 'Ready', status, reason: 'x', message: 'x', lastTransitionTime: 'x' };
  const spec = { address: 'x:1', hostAddresses: [], podCIDRs: [] };
  return { apiVersion, kind: 'ServalNode', metadata: { name }, spec, status: { conditions: [ready] } };
}

const web: Pod = {
  metadata: { name: 'web', namespace: 'shop', uid: 'p1' },
  spec: { nodeName: 'n1' },
  status: { phase: 'Running' },
};
const owned = (kind: string): Pod => ({
  ...web,
  metadata: {
    ...web.metadata,
    ownerReferences: [{ apiVersion: 'v1', kind, name: 'o', uid: 'o', controller: true }],
  },
});

function view(status: Status, change: Partial<View> & { spec?: object; deleted?: true } = {}): View {
  const { spec, deleted, ...more } = change;
  const nodes = new Map([node('n1'), node('n2')].map((each) => [each.metadata.name, each]));
  return {
    migration: {
      ...{ apiVersion, kind: 'ServalMigration' },
      metadata: {
        ...{ name: 'move', namespace: 'shop', uid: 'u', finalizers: [finalizer] },
        annotations: { [annotations.workload]: 'p1' },
        ...(deleted ? { deletionTimestamp: 'now' } : {}),
      },
      spec: { workload: { name: 'web' }, ...spec },
      status: { startedAt, sourceNode: 'n1', targetPod: 'web-x', ...status },
    },
    now,
    workload: web,
    target: undefined,
    nodes: { get: (name) => nodes.get(name), list: () => [...nodes.values()] },
    before: undefined,
    answers: {},
    ...more,
  };
}

const id = migrationId(view({}).migration);
const target: Pod = {
  metadata: {
    ...{ name: 'web-x', namespace: 'shop', uid: 't1' },
    annotations: { [annotations.migration]: 'shop/move', [annotations.id]: id, [annotations.holds]: '{}' },
  },
  spec: { nodeName: 'n2' },
  status: { phase: 'Pending' },
};
const unbound: Pod = { ...target, spec: {} };
const foreign: Pod = { ...target, metadata: { name: 'web-x', uid: 'f' } };
const moving = { phase: 'Moving', targetNode: 'n2' };
const aborting = { phase: 'Aborting', targetNode: 'n2', sourceStep: 'moving' };

describe('what is decided about a migration', () => {
  it.each<[string, View, string]>([
    ['a pending one begins', view({}), 'Preparing Started'],
    ['deleted before anything', view({}, { deleted: true }), 'Aborted Aborted'],
    ['no pod', view({}, { workload: undefined }), 'Failed WorkloadNotFound'],
    ['a StatefulSet’s', view({}, { workload: owned('StatefulSet') }), 'Failed OwnerCannotFollow'],
    ['a DaemonSet’s', view({}, { workload: owned('DaemonSet') }), 'Failed OwnerCannotFollow'],
    ['a Job’s', view({}, { workload: owned('Job') }), 'Failed OwnerCannotFollow'],
    ['a ReplicaSet’s', view({}, { workload: owned('ReplicaSet') }), 'Preparing Started'],
    ['a static pod', view({}, { workload: owned('Node') }), 'Failed StaticPod'],
    [
      'of the host',
      view({}, { workload: { ...web, spec: { nodeName: 'n1', hostNetwork: true } } }),
      'Failed HostNetwork',
    ],
    ['to where it is', view({}, { spec: { targetNode: 'n1' } }), 'Failed TargetIsSource'],
    ['to nowhere', view({}, { spec: { targetNode: 'n9' } }), 'Failed TargetWithoutAgent'],
    ['another goes first', view({}, { before: view({}).migration }), 'Pending WaitsForTurn'],
    ['too late to begin', view(late), 'Failed DeadlineExceeded'],
    ['scheduled', view({ phase: 'Preparing' }, { target }), 'Moving Scheduled'],
    ['unscheduled', view({ phase: 'Preparing' }, { target: unbound }), '- WaitsForScheduler'],
    ['a name that is taken', view({ phase: 'Preparing' }, { target: foreign }), 'Aborting Aborting'],
    ['the workload went', view({ phase: 'Preparing' }, { workload: undefined }), 'Aborting Aborting'],
    ['not begun', view(moving, { target }), '- Scheduled'],
    ['moves', view({ ...moving, sourceStep: 'moving' }, { target }), '- Moving'],
    ['released', view({ ...moving, sourceStep: 'released' }, { target }), 'Finishing Released'],
    ['owned by the target', view({ ...moving, targetStep: 'owner' }, { target }), 'Finishing Released'],
    [
      'released and late and deleted',
      view({ ...moving, ...late, sourceStep: 'retired' }, { deleted: true }),
      'Finishing Released',
    ],
    ['late', view({ ...moving, ...late }, { target }), 'Aborting Aborting'],
    ['given up by the agents', view({ ...moving, sourceStep: 'aborted' }, { target }), 'Aborting Aborting'],
    ['the target went', view(moving), 'Aborting Aborting'],
    ['waits for the agent’s word', view(aborting, { target }), '- Aborting'],
    ['released after all', view({ ...aborting, sourceStep: 'released' }, { target }), 'Finishing Released'],
    [
      'taken back',
      view({ ...aborting, sourceStep: 'aborted' }, { answers: { target: 'known' } }),
      'Aborted Aborted',
    ],
  ])('%s', (_, given, expected) => {
    const { status } = decide(given);
    const after = { ...given.migration, status: status ?? {} };
    expect(`${status?.phase ?? '-'} ${conditionOf(after, 'Succeeded')?.reason}`).toBe(expected);
  });

  it('changes nothing of one that has ended but the finalizer', () => {
    expect(decide(view({ phase: 'Failed', finishedAt: startedAt }))).toEqual({ action: { do: 'let-go' } });
  });
});
