import { describe, expect, it } from '@jest/globals';
import { apiVersion, type Kind, type ServalService } from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import { ServiceIndex } from './service-index.js';

function service(status: ServalService['status'], port = 80): ServalService {
  return {
    apiVersion,
    kind: 'ServalService',
    metadata: { name: 'web', namespace: 'shop', creationTimestamp: '2026-11-29T00:00:00Z' },
    spec: { ports: [{ port }] },
    ...(status === undefined ? {} : { status }),
  };
}

/** An index, and what tells it of a service. */
function indexed(): { index: ServiceIndex; tell: (object: ServalService) => void; told: string[] } {
  const told: string[] = [];
  const index = new ServiceIndex({ service: (name) => told.push(name), node: () => undefined });
  const handlers = new Map<Kind, (event: unknown) => void>();
  const watch = (kind: Kind, handler: (event: unknown) => void): (() => void) => {
    handlers.set(kind, handler);
    return () => undefined;
  };
  index.follow({ watch } as unknown as ResourceStore);
  return {
    index,
    told,
    tell: (object) => {
      handlers.get('ServalService')?.({ type: 'modified', object });
      index.settle();
    },
  };
}

describe('the index of services', () => {
  it('does not work out anew who serves where when a status counts other replicas', () => {
    const { index, tell, told } = indexed();
    tell(service({ virtualIPs: ['10.96.0.7'], readyReplicas: 1 }));
    const before = index.pointsOf('shop/web');
    expect(before?.points).toMatchObject([{ virtualIP: '10.96.0.7', port: 80 }]);
    tell(service({ virtualIPs: ['10.96.0.7'], readyReplicas: 2 }));
    expect(index.pointsOf('shop/web')).toBe(before);
    expect(told.at(-1)).toBe('shop/web');
  });

  it('does when it has another virtual IP or port', () => {
    const { index, tell } = indexed();
    tell(service({ virtualIPs: ['10.96.0.7'] }));
    tell(service({ virtualIPs: ['10.96.0.8'] }));
    expect(index.pointsOf('shop/web')?.points).toMatchObject([{ virtualIP: '10.96.0.8' }]);
    tell(service({ virtualIPs: ['10.96.0.8'] }, 81));
    expect(index.pointsOf('shop/web')?.points).toMatchObject([{ port: 81 }]);
  });
});
