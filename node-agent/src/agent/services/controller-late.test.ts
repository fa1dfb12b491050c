import { describe, expect, it } from '@jest/globals';
import type { ServalService } from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import { setImmediate as turn } from 'node:timers/promises';
import { service } from '../../services/services.fixture.js';
import { ServiceController } from './controller.js';

type Handler = (event: { type: 'added' | 'deleted'; object: ServalService }) => void;

describe('services that come while others are brought into the kernel', () => {
  it('are served as soon as these are', async () => {
    let put: (object: ServalService) => void = () => undefined;
    const store = {
      watch: (kind: string, handler: Handler) => {
        if (kind === 'ServalService') put = (object) => handler({ type: 'added', object });
        return () => undefined;
      },
    } as unknown as ResourceStore;
    const served = new Set<string>();
    const table = {
      known: () => [],
      change: async (rules: ReadonlyArray<{ address: string }>) => {
        for (const { address } of rules) served.add(address);
        await turn();
      },
      count: () => ({ resolved: 0n, refused: 0n, waited: 0n }),
    };
    const controller = new ServiceController({
      node: 'here',
      store,
      services: { table: table as never, holdBack: () => undefined },
      measured: () => undefined,
      moved: () => undefined,
      ownClient: () => undefined,
      onError: (error) => expect(error).toBeUndefined(),
    });
    await controller.start();
    const comes = (number: number): void =>
      put(service({ virtualIPs: [`10.96.0.${number}`] }, { name: `s${number}` }));
    for (let number = 1; number <= 5; number++) {
      comes(number);
      await turn();
    }
    await controller.settled();
    await controller.stop();
    expect([...served].sort()).toEqual(['10.96.0.1', '10.96.0.2', '10.96.0.3', '10.96.0.4', '10.96.0.5']);
  });
});
