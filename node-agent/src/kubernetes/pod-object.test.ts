import { describe, expect, it } from '@jest/globals';
import type { KubeObject } from '@serval/kube-runtime/kubernetes';
import { podObject, servalPodOf, type Arrival, type PodPlace } from './pod-object.js';

const id = 'a'.repeat(64);

function kubePod(more: { metadata?: object; spec?: object; status?: object } = {}): KubeObject {
  return {
    metadata: { name: 'redis-0', namespace: 'shop', uid: 'u1', resourceVersion: '7', ...more.metadata },
    spec: { nodeName: 'n1', containers: [{ name: 'redis' }], ...more.spec },
    status: {
      phase: 'Running',
      podIPs: [{ ip: '10.1.0.2' }, { ip: 'fd00::2' }],
      containerStatuses: [{ containerID: `containerd://${id}`, state: { running: {} } }],
      ...more.status,
    },
  } as KubeObject;
}

describe('what is kept of a pod', () => {
  it('is its addresses, its containers that run, and our annotations', () => {
    const annotations = { 'serval.io/mover': 'external', 'example.com/huge': 'x'.repeat(1000) };
    expect(podObject(kubePod({ metadata: { annotations, labels: { app: 'redis' } } }))).toEqual({
      metadata: {
        name: 'redis-0',
        namespace: 'shop',
        uid: 'u1',
        resourceVersion: '7',
        annotations: { 'serval.io/mover': 'external' },
      },
      hostNetwork: false,
      guests: false,
      over: false,
      addresses: ['10.1.0.2', 'fd00::2'],
      containers: [id],
      own: 1,
    });
  });

  it.each<[string, Parameters<typeof kubePod>[0], object]>([
    [
      'one address, as older API servers say it',
      { status: { podIPs: undefined, podIP: '10.1.0.3' } },
      { addresses: ['10.1.0.3'] },
    ],
    ['no address yet', { status: { podIPs: undefined } }, { addresses: [] }],
    [
      'a container that has ended',
      { status: { containerStatuses: [{ containerID: `a://${id}`, state: { terminated: {} } }] } },
      { containers: [] },
    ],
    ['one that waits', { status: { containerStatuses: [{ state: { waiting: {} } }] } }, { containers: [] }],
    [
      'nothing said of it',
      { status: { phase: undefined, containerStatuses: undefined, podIPs: undefined } },
      { containers: [], over: false },
    ],
    ['a pod that has ended', { status: { phase: 'Succeeded' } }, { over: true }],
    ['a pod that has failed', { status: { phase: 'Failed' } }, { over: true }],
    ["the node's own network", { spec: { hostNetwork: true } }, { hostNetwork: true }],
    ['a virtual machine', { metadata: { labels: { 'kubevirt.io': 'virt-launcher' } } }, { guests: true }],
  ])('%s', (_, more, expected) => {
    expect(podObject(kubePod(more))).toMatchObject(expected);
  });
});

describe('the ServalPod of a pod', () => {
  const process = { pausePid: 10, pid: 11, cgroup: '/sys/fs/cgroup/a' };
  const made = (more: Parameters<typeof kubePod>[0], place: PodPlace, arrival?: Arrival) =>
    servalPodOf(podObject(kubePod(more)), { node: 'n1', place, arrival }).spec;
  const netns = '/run/netns/x';

  it('is movable where its process was found', () => {
    expect(made({}, { netns, process })).toEqual({
      node: 'n1',
      netns,
      interfaces: ['eth0'],
      addresses: ['10.1.0.2', 'fd00::2'],
      uid: 'u1',
      mover: 'criu',
      process,
    });
  });

  it('is not, where it was not', () => {
    const { mover, process: none } = made({}, { netns });
    expect([mover, none]).toEqual([undefined, undefined]);
  });

  it("has somebody else's mover where it says so, and criu where it names none that there is", () => {
    const asks = (mover: string) =>
      made({ metadata: { annotations: { 'serval.io/mover': mover } } }, { netns, process });
    expect(asks('external')).toMatchObject({ mover: 'external', uid: 'u1' });
    expect(asks('external').process).toBeUndefined();
    expect(asks('magic')).toMatchObject({ mover: 'criu', process });
  });

  it('tells of no workload while it waits for one, and of the one that has come', () => {
    const waiting = { metadata: { annotations: { 'serval.io/migration-id': '0123456789abcdef' } } };
    expect(made(waiting, { netns, process }).uid).toBeUndefined();
    const arrival = { uid: 'u0', epoch: 2, mover: 'criu' as const, identityAddresses: ['10.9.0.1'], process };
    expect(made(waiting, { netns }, arrival)).toMatchObject(arrival);
  });

  it('finds UDP sessions where it asks for that', () => {
    expect(made({ metadata: { annotations: { 'serval.io/track-udp': 'true' } } }, { netns }).trackUdp).toBe(
      true,
    );
    expect(
      made({ metadata: { annotations: { 'serval.io/track-udp': 'no' } } }, { netns }).trackUdp,
    ).toBeUndefined();
  });
});
