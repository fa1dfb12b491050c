import { describe, expect, it } from '@jest/globals';
import type { AgentPod, PodRegistry } from '../pods.js';
import { clientNumber, Clients, hostName } from './clients.js';

const own = '/proc/self/ns/net';
const other = '/proc/thread-self/ns/net';

/** Pods that come and go, and what the kernel would hold of them. */
function world(hostNetns?: string) {
  const pods = new Map<string, AgentPod>();
  const kernel = new Map<bigint, number>();
  const listeners: { put?: (pod: AgentPod) => void; gone?: (pod: AgentPod) => void } = {};
  const registry = {
    onPut: (listener: (pod: AgentPod) => void) => (listeners.put = listener),
    onGone: (listener: (pod: AgentPod) => void) => (listeners.gone = listener),
    all: () => [...pods.values()],
    get: (name: string) => pods.get(name),
  } as unknown as PodRegistry;
  const clients = new Clients({
    services: {
      setClients: (all) => all.forEach(({ cookie, number }) => kernel.set(cookie, number)),
      addClient: ({ cookie, number }) => void kernel.set(cookie, number),
      removeClient: (cookie) => void kernel.delete(cookie),
    },
    pods: registry,
    ...(hostNetns === undefined ? {} : { hostNetns }),
    onError: (error) => expect(error).toBeUndefined(),
  });
  const pod = (name: string, netns: string): AgentPod => {
    return { name, netns, interfaces: [], addresses: [], hostNetwork: true, trackUdp: false };
  };
  const settled = () => new Promise((resolve) => setTimeout(resolve, 20));
  return {
    clients,
    numbers: () => [...kernel.values()],
    put: async (name: string, netns: string) => {
      pods.set(name, pod(name, netns));
      listeners.put?.(pod(name, netns));
      await settled();
    },
    remove: async (name: string) => {
      const gone = pods.get(name) as AgentPod;
      pods.delete(name);
      listeners.gone?.(gone);
      await settled();
    },
  };
}

describe('clients that share a namespace', () => {
  it.each([
    ['the same path', own],
    ['another path', other],
  ])('go on when one of them goes (%s)', async (_, netns) => {
    const { clients, numbers, put, remove } = world(own);
    await clients.follow();
    expect(numbers()).toEqual([clientNumber(hostName)]);
    await put('kube-system/proxy', netns);
    await put('kube-system/exporter', netns);
    // One namespace is one client, whoever names it.
    expect(numbers()).toEqual([clientNumber('kube-system/exporter')]);
    expect(clients.find(hostName)).toEqual(clients.find('kube-system/proxy'));
    await remove('kube-system/exporter');
    expect(numbers()).toEqual([clientNumber('kube-system/proxy')]);
    await remove('kube-system/proxy');
    expect(numbers()).toEqual([clientNumber(hostName)]);
    expect(clients.find(hostName)?.number).toBe(clientNumber(hostName));
    expect(clients.find('kube-system/proxy')).toBeUndefined();
  });

  it('are none when the last has gone', async () => {
    const { clients, numbers, put, remove } = world();
    await clients.follow();
    expect(clients.find(hostName)).toBeUndefined();
    await put('shop/web', own);
    const found = clients.find('shop/web');
    expect(found?.number).toBe(clientNumber('shop/web'));
    await remove('shop/web');
    expect([numbers(), clients.find('shop/web'), clients.cookieOf(own)]).toEqual([[], undefined, undefined]);
  });
});
