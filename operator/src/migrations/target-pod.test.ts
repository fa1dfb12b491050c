import { describe, expect, it } from '@jest/globals';
import { apiVersion, type ServalMigration } from '@serval/api';
import { annotations } from './names.js';
import { targetPod, type WholePod } from './target-pod.js';

const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'rs', controller: true };
const term = { matchExpressions: [{ key: 'disk', operator: 'In', values: ['ssd'] }] };
const source: WholePod = {
  metadata: {
    name: 'web',
    namespace: 'shop',
    labels: { app: 'web' },
    ownerReferences: [{ ...owner, blockOwnerDeletion: true }],
    annotations: { team: 'a', 'cni.projectcalico.org/podIP': '10.1.0.1', 'serval.io/holds': 'x' },
  },
  spec: {
    nodeName: 'n1',
    priority: 3,
    containers: [
      { name: 'main', startupProbe: {}, readinessProbe: { initialDelaySeconds: 30, periodSeconds: 5 } },
    ],
    affinity: {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } },
    },
  },
};
const migration: ServalMigration = {
  ...{ apiVersion, kind: 'ServalMigration', metadata: { name: 'move', namespace: 'shop', uid: 'u' } },
  spec: { workload: { name: 'web' } },
  status: { targetPod: 'web-12345678' },
};

describe('the target pod', () => {
  const made = (from: WholePod, nodes: string[]): WholePod => targetPod(from, migration, nodes) as WholePod;

  it('is as the source, but for what comes later', () => {
    const { metadata, spec } = made(source, ['n2', 'n3']);
    expect(metadata.name).toBe('web-12345678');
    expect(metadata).not.toHaveProperty('labels');
    expect(metadata).not.toHaveProperty('ownerReferences');
    expect(JSON.parse(metadata.annotations?.[annotations.holds] ?? '')).toEqual({
      labels: { app: 'web' },
      ownerReferences: [owner],
    });
    expect(metadata.annotations).toMatchObject({ team: 'a', [annotations.migration]: 'shop/move' });
    expect(metadata.annotations).not.toHaveProperty('cni.projectcalico.org/podIP');
    expect(spec).not.toHaveProperty('nodeName');
    expect(spec).not.toHaveProperty('priority');
    expect(spec['runtimeClassName']).toBe('serval');
    expect(spec.hostname).toBe('web');
    expect(spec.containers).toEqual([
      { name: 'main', readinessProbe: { initialDelaySeconds: 0, periodSeconds: 5 } },
    ]);
  });

  const termsOf = ({ spec }: WholePod): unknown =>
    spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  const field = (node: string): object => ({ key: 'metadata.name', operator: 'In', values: [node] });

  it('goes to these nodes, as far as the source would have; a second time too', () => {
    const first = made(source, ['n2', 'n3']);
    expect(termsOf(first)).toEqual(['n2', 'n3'].map((node) => ({ ...term, matchFields: [field(node)] })));
    expect(termsOf(made(first, ['n1']))).toEqual([{ ...term, matchFields: [field('n1')] }]);
  });

  it('names many nodes by their labels', () => {
    const nodes = Array.from({ length: 300 }, (_, i) => `n${i}`);
    const among = { key: 'kubernetes.io/hostname', operator: 'In', values: nodes };
    expect(termsOf(made(source, nodes))).toEqual([{ matchExpressions: [...term.matchExpressions, among] }]);
  });
});
