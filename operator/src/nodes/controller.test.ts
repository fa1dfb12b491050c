import { describe, expect, it } from '@jest/globals';
import { apiVersion, type ServalNode } from '@serval/api';
import type { Clock } from '@serval/kube-runtime';
import { NodeController } from './controller.js';
import { doubtMs } from './plan.js';

const [name, uid] = ['n1', 'u'];

/** It goes on by so much each time that it is read, as a clock does. */
class Ticking implements Clock {
  constructor(
    private time: number,
    private readonly tick: number,
  ) {}
  now(): number {
    return (this.time += this.tick);
  }
  date(): Date {
    return new Date(0);
  }
  after(): () => void {
    return () => undefined;
  }
  setTo(time: number): void {
    this.time = time;
  }
}

describe('the controller of ServalNodes', () => {
  let node: ServalNode;
  const written: unknown[] = [];
  const store = {
    get: () => node,
    read: () => Promise.resolve(node),
    watch: () => () => undefined,
    patchStatus: (_kind: string, _name: string, status: object) => {
      written.push(status);
      node = { ...node, status: { ...node.status, ...status } };
      return Promise.resolve(node);
    },
  };

  function controllerAt(clock: Clock): NodeController {
    node = {
      ...{ apiVersion, kind: 'ServalNode', metadata: { name, uid, generation: 1 } },
      spec: { address: 'x:1', hostAddresses: [], podCIDRs: [] },
      status: { lastSeen: '2026-11-28T23:59:00Z', conditions: [] },
    };
    written.length = 0;
    const agents = { isReady: () => false, follow: () => () => undefined };
    const client = { request: () => Promise.reject(new Error('nobody asks')) };
    return new NodeController({
      client,
      store: store as never,
      agents,
      tell: () => undefined,
      clock,
    });
  }

  it.each([0.05, 0.3, 1])(
    'looks again when the 40 s end while it looks (the clock goes on by %f ms)',
    async (tick) => {
      for (let early = 0; early < 5; early += tick / 2) {
        const clock = new Ticking(0, tick);
        const controller = controllerAt(clock);
        await controller.reconcile(name);
        let at = doubtMs - early;
        for (let looks = 0; written.length === 0; looks++) {
          expect(looks).toBeLessThan(20);
          clock.setTo(at);
          const { requeueAfterMs } = await controller.reconcile(name);
          if (written.length > 0) break;
          expect({ early, requeueAfterMs }).toEqual({ early, requeueAfterMs: expect.any(Number) });
          at = Math.max(at, clock.now()) + (requeueAfterMs ?? 0);
        }
        expect(written).toHaveLength(1);
      }
    },
  );
});
