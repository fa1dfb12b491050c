import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RoleView } from '../../protocol/agent.js';
import type { AgentPod } from '../pods.js';
import { StateStore } from '../store.js';
import { LeftAddresses, leftKey } from './left-addresses.js';
import { podAt, workloadAt } from './pod.fixture.js';
import { Residents } from './residents.js';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** Pods, phases and processes as a test sets them. */
class World {
  readonly pods = new Map<string, AgentPod>();
  phases: Record<string, string> = {};
  readonly waiting = new Set<string>();
  readonly ended = new Set<string>();
  readonly written: unknown[] = [];
  failing = false;
  followed: string[] = [];
  changes = 0;
  private readonly puts: Array<(pod: AgentPod) => void> = [];
  private readonly gones: Array<(pod: AgentPod) => void> = [];
  readonly leftAddresses: LeftAddresses;
  readonly residents: Residents;

  constructor(left: object[] = []) {
    const store = {
      write: (_: string, value: unknown) => {
        if (this.failing) return Promise.reject(new Error('full'));
        this.written.push(structuredClone(value));
        return Promise.resolve();
      },
    };
    const records = new Map([[leftKey, { version: 1, left }]]);
    this.leftAddresses = new LeftAddresses(store, records, () => undefined);
    this.residents = new Residents({
      pods: {
        all: () => [...this.pods.values()],
        onPut: (listener) => this.puts.push(listener),
        onGone: (listener) => this.gones.push(listener),
      },
      views: () => Object.entries(this.phases).map(([workload, phase]) => view(workload, phase)),
      isWaiting: ({ name }) => this.waiting.has(name),
      hasEnded: ({ cgroup }) => this.ended.has(cgroup),
      follow: (cgroups) => (this.followed = [...cgroups]),
      left: this.leftAddresses,
    });
    this.residents.onChange(() => this.changes++);
  }

  put(...pods: AgentPod[]): void {
    for (const pod of pods) {
      this.pods.set(pod.name, pod);
      for (const listener of this.puts) listener(pod);
    }
  }

  remove(pod: AgentPod): void {
    this.pods.delete(pod.name);
    for (const listener of this.gones) listener(pod);
  }

  /** What is told once changes have been gathered. */
  async told() {
    await jest.advanceTimersByTimeAsync(20);
    const { pods, moving, left, died } = this.residents.standing;
    return { pods, moving, left, died };
  }
}

function view(workload: string, phase: string): RoleView {
  return { role: 'source', migration: 'm', workload, source: 'a', target: 'b', phase, since: 0 };
}

const nothing = { pods: [], moving: [], left: [], died: [] };
const redis = workloadAt('10.1.0.2', { uid: 'redis' });
const web = podAt('10.1.0.3');

function started(...pods: AgentPod[]): World {
  const world = new World();
  world.put(...pods);
  world.residents.start();
  return world;
}

describe('Residents', () => {
  it('vouches for pods that are here', async () => {
    const world = started(redis, web);
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.2', '10.1.0.3'] });
    expect(world.changes).toBe(1);
    await jest.advanceTimersByTimeAsync(5_000);
    expect(world.changes).toBe(1);
  });

  it('waits for the end of a burst of changes, but not for long, and less for the end of a pod', async () => {
    const world = started(redis);
    const after = (ms: number) => jest.advanceTimersByTimeAsync(ms);
    for (let at = 0; at < 45; at += 15) {
      world.put({ ...web, addresses: [`10.1.1.${at}`] });
      await after(15);
    }
    expect(world.changes).toBe(1);
    world.put(web);
    await after(15);
    expect(world.changes).toBe(2);
    world.put({ ...web, addresses: ['10.1.1.1'] });
    world.remove(redis);
    await after(5);
    expect(world.residents.standing).toMatchObject({ pods: ['10.1.1.1'] });
  });

  it('says that a pod which goes has died, for 10 minutes or until its address is used again', async () => {
    const world = started(redis, web);
    world.remove(redis);
    world.remove(web);
    expect(await world.told()).toEqual({ ...nothing, died: ['10.1.0.2', '10.1.0.3'] });
    expect(world.changes).toBe(2);
    world.put(podAt('10.1.0.3', { name: 'shop/other' }));
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.3'], died: ['10.1.0.2'] });
    await jest.advanceTimersByTimeAsync(601_000);
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.3'] });
  });

  it('knows addresses in whatever form', async () => {
    const world = started(podAt('FD00:0::2'), podAt('::ffff:10.1.0.9'));
    expect(await world.told()).toMatchObject({ pods: ['fd00::2', '10.1.0.9'] });
  });

  it('does not say that an address of the host has died, nor one that another pod has', async () => {
    const host = podAt('192.0.2.1', { hostNetwork: true });
    const again = podAt('10.1.0.3', { name: 'shop/again' });
    const world = started(host, web, again);
    world.remove(host);
    world.remove(web);
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.3'] });
  });

  it('looks every second whether a process has ended, and is back', async () => {
    const world = started(redis);
    world.ended.add('/cgroup/10.1.0.2');
    await jest.advanceTimersByTimeAsync(1_000);
    expect(await world.told()).toEqual({ ...nothing, died: ['10.1.0.2'] });
    await jest.advanceTimersByTimeAsync(605_000);
    expect(await world.told()).toEqual(nothing);
    world.ended.clear();
    await jest.advanceTimersByTimeAsync(1_000);
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.2'] });
  });

  it('has cgroups watched in which a process lives, and says at once that it has ended', async () => {
    const world = started(redis, workloadAt('10.1.0.4'), podAt('10.1.0.5'));
    expect(world.followed).toEqual(['/cgroup/10.1.0.2', '/cgroup/10.1.0.4']);
    world.ended.add('/cgroup/10.1.0.2');
    world.residents.touchEnded();
    await jest.advanceTimersByTimeAsync(5);
    expect(world.residents.standing).toMatchObject({ pods: ['10.1.0.4', '10.1.0.5'], died: ['10.1.0.2'] });
    expect(world.followed).toEqual(['/cgroup/10.1.0.4']);
    world.residents.stop();
    expect(world.followed).toEqual([]);
  });

  it('says of a process that had ended before that it has died', async () => {
    const world = new World();
    world.put(redis);
    world.ended.add('/cgroup/10.1.0.2');
    world.residents.start();
    expect(await world.told()).toEqual({ ...nothing, died: ['10.1.0.2'] });
  });

  it.each(['quiescing', 'holding', 'freezing', 'moving', 'restoring', 'restored', 'released'])(
    'says that a workload is being moved while it is %s, whatever becomes of its processes',
    async (phase) => {
      const world = started(redis, web);
      world.phases = { [redis.name]: phase };
      world.ended.add('/cgroup/10.1.0.2');
      world.residents.touch();
      expect(await world.told()).toEqual({
        ...nothing,
        pods: ['10.1.0.2', '10.1.0.3'],
        moving: ['10.1.0.2'],
      });
    },
  );

  it.each(['preparing', 'planning', 'telling', 'backingOff', 'rollingBack', 'aborted'])(
    'says nothing of one that is %s',
    async (phase) => {
      const world = started(redis);
      world.phases = { [redis.name]: phase };
      world.residents.touch();
      expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.2'] });
    },
  );

  it('says where a workload is that has left, never that it has died', async () => {
    const world = started(redis, web);
    world.phases = { [redis.name]: 'retiring' };
    world.residents.touch();
    // The target runs it, and what is to be said of it comes a moment later.
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.3'] });
    const written = world.residents.left(redis, { ipv4: '10.2.0.7' });
    const left = [{ address: '10.1.0.2', now: '10.2.0.7' }];
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.3'], left });
    await written;
    expect(world.written.at(-1)).toEqual({
      version: 1,
      left: [{ address: '10.1.0.2', now: '10.2.0.7', uid: 'redis' }],
    });
    world.ended.add('/cgroup/10.1.0.2');
    world.remove(redis);
    world.phases = { [redis.name]: 'retired' };
    await jest.advanceTimersByTimeAsync(700_000);
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.3'], left });
    world.put(podAt('10.1.0.2', { name: 'shop/other' }));
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.3', '10.1.0.2'] });
    expect(world.written.at(-1)).toEqual({ version: 1, left: [] });
  });

  it('does not say both of an address', async () => {
    const world = started(redis);
    world.ended.add('/cgroup/10.1.0.2');
    await jest.advanceTimersByTimeAsync(1_000);
    await world.residents.left(redis, { ipv4: '10.2.0.7' });
    expect(await world.told()).toEqual({ ...nothing, left: [{ address: '10.1.0.2', now: '10.2.0.7' }] });
  });

  it('says that an address has died whose family the target does not have', async () => {
    const pod = workloadAt(['10.1.0.2', 'fd00::2']);
    const world = started(pod);
    world.phases = { [pod.name]: 'retiring' };
    await world.residents.left(pod, { ipv4: '10.2.0.7' });
    await world.told();
    world.phases = {};
    world.remove(pod);
    expect(await world.told()).toMatchObject({ left: [{ address: '10.1.0.2', now: '10.2.0.7' }] });
  });

  it('says nothing of a pod that waits for a workload, until that has come or has not', async () => {
    const pod = podAt('10.1.0.2', { name: 'shop/redis' });
    const world = started(pod);
    world.waiting.add('shop/redis');
    world.residents.touch();
    expect(await world.told()).toEqual(nothing);
    world.waiting.clear();
    world.put({ ...workloadAt('10.1.0.2', { uid: 'redis', epoch: 1 }), name: 'shop/redis' });
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.2'] });
    expect(world.residents.standing.moved).toEqual([{ address: '10.1.0.2', uid: 'redis' }]);
    world.waiting.add('shop/new');
    world.put(podAt('10.1.0.9', { name: 'shop/new' }));
    await world.told();
    world.remove(podAt('10.1.0.9', { name: 'shop/new' }));
    expect(await world.told()).toEqual({ ...nothing, pods: ['10.1.0.2'] });
  });

  it('writes again what could not be written', async () => {
    const world = started(redis);
    world.phases = { [redis.name]: 'retiring' };
    world.failing = true;
    await world.residents.left(redis, { ipv4: '10.2.0.7' });
    expect(world.written).toEqual([]);
    world.failing = false;
    await jest.advanceTimersByTimeAsync(1_000);
    const left = [{ address: '10.1.0.2', now: '10.2.0.7', uid: 'redis' }];
    expect(world.written).toEqual([{ version: 1, left }]);
  });
});

describe('an address that a workload has left', () => {
  const entry = { address: '10.1.0.2', now: '10.2.0.7', uid: 'redis' };
  const heard = { left: [], died: [], pods: ['10.2.0.7'], moved: [{ address: '10.2.0.7', uid: 'redis' }] };

  it.each<[string, Partial<typeof heard> | { left: object[] } | { died: string[] }, object[]]>([
    ['is still there', {}, [{ address: '10.1.0.2', now: '10.2.0.7' }]],
    ['is not running yet', { pods: [], moved: [] }, [{ address: '10.1.0.2', now: '10.2.0.7' }]],
    [
      'has moved on',
      { left: [{ address: '10.2.0.7', now: '10.3.0.1' }], pods: [], moved: [] },
      [{ address: '10.1.0.2', now: '10.3.0.1' }],
    ],
    ['has died', { died: ['10.2.0.7'], pods: [], moved: [] }, []],
    ['was followed by somebody else who has moved', { moved: [{ address: '10.2.0.7', uid: 'web' }] }, []],
    ['was followed by somebody else', { moved: [] }, []],
  ])('follows one that %s', async (_, said, left) => {
    const world = new World([entry]);
    world.residents.start();
    world.residents.heard({ ...heard, ...said } as typeof heard);
    expect((await world.told()).left).toEqual(left);
  });

  it('follows one that moved on from an address of this node', async () => {
    const back = workloadAt('10.1.0.8', { uid: 'redis', epoch: 2 });
    const world = new World([{ ...entry, now: '10.1.0.8' }]);
    world.put(back);
    world.residents.start();
    world.phases = { [back.name]: 'retiring' };
    await world.residents.left(back, { ipv4: '10.3.0.1' });
    await world.told();
    expect((await world.told()).left).toEqual([
      { address: '10.1.0.2', now: '10.3.0.1' },
      { address: '10.1.0.8', now: '10.3.0.1' },
    ]);
  });

  it('is known after a restart', async () => {
    jest.useRealTimers();
    const directory = mkdtempSync(join(tmpdir(), 'serval-left-'));
    try {
      const store = await StateStore.open(directory);
      const before = new LeftAddresses(store, store.load(), () => undefined);
      before.put(entry);
      before.put({ ...entry, address: '10.1.0.3' });
      await before.flush();
      before.remove('10.1.0.3');
      await before.flush();
      const again = await StateStore.open(directory);
      expect(new LeftAddresses(again, again.load(), () => undefined).all()).toEqual([entry]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
