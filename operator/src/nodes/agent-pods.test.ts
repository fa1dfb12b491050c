import { describe, expect, it } from '@jest/globals';
import type { KubeObject, ObjectChange } from '@serval/kube-runtime/kubernetes';
import { AgentPods } from './agent-pods.js';

const labels = { 'app.kubernetes.io/name': 'serval', 'app.kubernetes.io/component': 'agent' };

function pod(name: string, nodeName: string, more: { ready?: boolean; metadata?: object } = {}): KubeObject {
  const conditions = [{ type: 'Ready', status: (more.ready ?? true) ? 'True' : 'False' }];
  return {
    metadata: { name, namespace: 'serval-system', labels, ...more.metadata },
    spec: { nodeName },
    status: { phase: 'Running', conditions },
  } as KubeObject;
}

describe('nodes whose agent is Ready', () => {
  const told: string[] = [];
  let tell: (change: ObjectChange) => void = () => undefined;
  const start = (objects: KubeObject[]): AgentPods => {
    const follow = (handler: typeof tell): (() => void) => {
      tell = handler;
      return () => undefined;
    };
    const agents = new AgentPods({ values: () => objects.values(), follow }, 'serval-system');
    told.length = 0;
    agents.follow((node) => told.push(node));
    return agents;
  };

  it('are those of its pods in its namespace', () => {
    const agents = start([
      pod('a', 'n1'),
      pod('b', 'n2', { ready: false }),
      pod('c', 'n3', { metadata: { namespace: 'default' } }),
      pod('d', 'n4', { metadata: { labels: { app: 'x' } } }),
      pod('e', 'n5', { metadata: { deletionTimestamp: 'x' } }),
    ]);
    expect(['n1', 'n2', 'n3', 'n4', 'n5'].filter((node) => agents.isReady(node))).toEqual(['n1']);
  });

  it('are told of when the last one is not Ready any more, and when there is one again', () => {
    const agents = start([pod('a', 'n1')]);
    tell({ type: 'added', object: pod('b', 'n1') });
    tell({ type: 'modified', object: pod('a', 'n1', { ready: false }) });
    expect([agents.isReady('n1'), told]).toEqual([true, []]);
    tell({ type: 'deleted', object: pod('b', 'n1') });
    expect([agents.isReady('n1'), told]).toEqual([false, ['n1']]);
    tell({ type: 'modified', object: pod('a', 'n1') });
    expect([agents.isReady('n1'), told]).toEqual([true, ['n1', 'n1']]);
  });
});
