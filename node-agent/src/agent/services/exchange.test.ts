import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ServalError } from '@serval/api';
import type { NodeReport, ReplicaFlows, ReportMessage, ReportReply } from '../../signalling/index.js';
import { Exchange } from './exchange.js';
import type { Standing } from './residents.js';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => {
  for (const cluster of clusters.splice(0)) cluster.stop();
  jest.useRealTimers();
});

const clusters: Cluster[] = [];
const none: Standing = { pods: [], moving: [], left: [], died: [], moved: [] };

/** Node number n has the addresses 10.n.0.0/16. */
function ownerOf(address: string): string {
  return `node-${address.split('.')[1]}`;
}

function flows(address: string): ReplicaFlows {
  return { protocol: 'tcp', address, port: 80, established: 3, backlog: 0 };
}

class Member {
  looked = 0;
  warmed = 0;
  busy = false;
  readonly counts = { sent: 0, failed: {} as Record<string, number>, refused: {} as Record<string, number> };
  readonly silences: Array<[string, string | undefined]> = [];
  readonly heard: Array<[node: string, report: NodeReport, at: number]> = [];
  /** messages to it, and when */
  readonly asked: Array<{ from: string; message: ReportMessage; at: number }> = [];
  readonly exchange: Exchange;
  /** what stands in the place of its answer */
  fault: (() => Promise<ReportReply>) | undefined;
  readonly replicas: ReplicaFlows[] = [];
  private changed: () => void = () => undefined;
  private readonly residents = {
    standing: none,
    onChange: (listener: () => void): void => void (this.changed = listener),
    heard: (): void => undefined,
    leftFor: (): string[] => this.standing.left.map(({ now }) => now),
  };

  constructor(
    readonly name: string,
    cluster: Cluster,
  ) {
    const bump = (counts: Record<string, number>, key: string, by = 1): void =>
      void (counts[key] = (counts[key] ?? 0) + by);
    this.exchange = new Exchange({
      node: name,
      nodes: () => cluster.names,
      isDeclared: (node) => cluster.names.includes(node),
      hosts: (node, address) => ownerOf(address) === node,
      nodeOf: ownerOf,
      request: (to, message) => cluster.carry(name, to, message),
      residents: this.residents,
      sampler: { replicas: this.replicas, look: () => Promise.resolve(void this.looked++) },
      count: {
        sent: () => this.counts.sent++,
        failed: (reason) => bump(this.counts.failed, reason),
        refused: (part, entries) => bump(this.counts.refused, part, entries),
      },
      onSilence: (node, reason) => this.silences.push([node, reason]),
      warm: () => this.warmed++,
      isBusy: () => this.busy,
    });
    this.exchange.onReport((...what) => this.heard.push(what));
  }

  get standing(): Standing {
    return this.residents.standing;
  }

  set standing(standing: Standing) {
    this.residents.standing = standing;
  }

  change(standing: Partial<Standing>): void {
    this.standing = { ...none, ...standing };
    this.changed();
  }

  /** Reports of one node, the last first. */
  of(node: string): NodeReport[] {
    return this.heard
      .filter(([from]) => from === node)
      .map(([, report]) => report)
      .reverse();
  }
}

class Cluster {
  readonly members = new Map<string, Member>();
  names: string[];
  /** from the first to the second nothing arrives */
  cut = new Set<string>();

  constructor(size: number) {
    this.names = Array.from({ length: size }, (_, index) => `node-${index}`);
    for (const name of this.names) this.members.set(name, new Member(name, this));
    clusters.push(this);
  }

  node(index: number): Member {
    return this.members.get(`node-${index}`) as Member;
  }

  start(...indices: number[]): void {
    for (const index of indices) this.node(index).exchange.start();
  }

  stop(): void {
    for (const { exchange } of this.members.values()) exchange.stop();
  }

  async carry(from: string, to: string, message: ReportMessage): Promise<ReportReply> {
    const member = this.members.get(to) as Member;
    member.asked.push({ from, message: structuredClone(message), at: performance.now() });
    if (this.cut.has(`${from} ${to}`))
      throw new ServalError('ERR_UNREACHABLE', { subject: to, reason: 'it is cut off', remedy: 'mend it' });
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (member.fault !== undefined) return member.fault();
    return structuredClone(await member.exchange.answer(from, structuredClone(message)));
  }
}

const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);

describe('Exchange', () => {
  it('leaves out regular rounds while something moves, three at most in a row; what has changed is told', async () => {
    const cluster = new Cluster(2);
    const [a, b] = [cluster.node(0), cluster.node(1)];
    cluster.start(0);
    await pass(10);
    a.busy = true;
    await pass(3_000);
    expect(b.asked).toHaveLength(1);
    a.change({ pods: ['10.0.0.1'] });
    await pass(10);
    expect(b.of('node-0')[0]?.pods).toEqual(['10.0.0.1']);
    await pass(1_000);
    expect(b.asked).toHaveLength(3);
    a.busy = false;
    await pass(2_000);
    expect(b.asked).toHaveLength(5);
    a.busy = true;
    cluster.cut.add('node-0 node-1');
    await pass(6_000);
    expect(b.asked).toHaveLength(8);
  });

  it('tells both sides at each exchange, every second, and what this node says itself', async () => {
    const cluster = new Cluster(2);
    const [a, b] = [cluster.node(0), cluster.node(1)];
    a.standing = { ...none, pods: ['10.0.0.1'] };
    b.standing = { ...none, pods: ['10.1.0.1'], died: ['10.1.0.2'] };
    cluster.start(0);
    await pass(10);
    expect(a.of('node-1')).toEqual([{ replicas: [], ...cut(b.standing) }]);
    expect(b.of('node-0')).toEqual([{ replicas: [], ...cut(a.standing) }]);
    expect(a.of('node-0')).toEqual([{ replicas: [], ...cut(a.standing) }]);
    expect(a.exchange.latest('node-1')?.report.died).toEqual(['10.1.0.2']);
    await pass(5_000);
    expect(b.asked).toHaveLength(6);
    expect([a.counts.sent, a.warmed]).toEqual([6, 6]);
  });

  it('tells a change to all within 20 ms', async () => {
    // The fake clock takes a turn of the event loop for 1 ms.
    const size = 15;
    const cluster = new Cluster(size);
    cluster.start(0);
    await pass(900);
    cluster.node(0).change({ died: ['10.0.0.9'] });
    await pass(20);
    for (let index = 1; index < size; index++)
      expect(cluster.node(index).of('node-0')[0]?.died).toEqual(['10.0.0.9']);
  });

  it('tells changes that come all the time five times a second at most, and the last one in the end', async () => {
    const cluster = new Cluster(2);
    cluster.start(0);
    await pass(100);
    const before = cluster.node(1).asked.length;
    for (let round = 0; round < 300; round++) {
      cluster.node(0).change({ pods: [`10.0.0.${1 + (round % 250)}`] });
      await pass(10);
    }
    const told = cluster.node(1).asked.length - before;
    expect(told).toBeGreaterThan(15);
    expect(told).toBeLessThanOrEqual(5 + 15 + 3);
    await pass(300);
    expect(cluster.node(1).of('node-0')[0]?.pods).toEqual(['10.0.0.50']);
  });

  it('asks again at once where something has changed while it asked', async () => {
    const cluster = new Cluster(2);
    cluster.start(0);
    await pass(0);
    cluster.node(0).change({ pods: ['10.0.0.7'] });
    await pass(5);
    expect(cluster.node(1).of('node-0')[0]?.pods).toEqual(['10.0.0.7']);
  });

  it('believes what a node says of the addresses that it hosts, and counts the rest', async () => {
    const cluster = new Cluster(3);
    const liar = cluster.node(1);
    liar.replicas.push(flows('10.1.0.1'), flows('10.2.0.1'));
    liar.standing = {
      pods: ['10.1.0.1', '10.2.0.1'],
      moving: ['10.2.0.1', '10.1.0.4'],
      left: [
        { address: '10.1.0.5', now: '10.9.0.1' },
        { address: '10.2.0.5', now: '10.1.0.1' },
      ],
      died: ['10.2.0.1', '10.2.0.2', '10.1.0.3'],
      moved: [{ address: '10.2.0.1', uid: 'u' }],
    };
    const member = cluster.node(0);
    member.exchange.setInterests(['node-1']);
    cluster.start(0);
    await pass(1_900);
    expect(member.exchange.latest('node-1')?.report).toEqual({
      replicas: [flows('10.1.0.1')],
      pods: ['10.1.0.1'],
      moving: ['10.1.0.4'],
      left: [{ address: '10.1.0.5', now: '10.9.0.1' }],
      died: ['10.1.0.3'],
    });
    const twice = { replica: 2, pod: 2, moving: 2, left: 2, died: 4, moved: 2 };
    expect(member.counts.refused).toEqual(twice);
  });

  it('does not listen to a node that nobody has declared', async () => {
    const cluster = new Cluster(3);
    cluster.names = ['node-0', 'node-2'];
    cluster.start(1);
    await pass(10);
    expect(cluster.node(0).of('node-1')).toEqual([]);
    expect(cluster.node(0).counts.refused).toEqual({ stranger: 1 });
    expect(cluster.node(1).counts.failed).toMatchObject({ refused: expect.any(Number) });
  });

  it('says how long a node has been silent, tells of it once, and forgets it when it is back', async () => {
    const cluster = new Cluster(2);
    cluster.cut.add('node-0 node-1');
    const { exchange, silences, counts } = cluster.node(0);
    cluster.start(0);
    await pass(10);
    // It may not be up yet: nobody is told.
    expect([exchange.silentSince('node-1') !== undefined, silences]).toEqual([true, []]);
    cluster.cut.clear();
    await pass(1_000);
    expect([exchange.silentSince('node-1'), silences]).toEqual([undefined, []]);
    cluster.cut.add('node-0 node-1');
    await pass(5_000);
    expect(exchange.silentSince('node-1')).toBeGreaterThan(3_900);
    expect(exchange.silentSince('node-1')).toBeLessThan(5_100);
    expect(silences).toEqual([['node-1', expect.stringContaining('cut off')]]);
    expect(counts.failed).toEqual({ ERR_UNREACHABLE: 6 });
    // Heard from the other side: it is there.
    cluster.start(1);
    await pass(5);
    expect(exchange.silentSince('node-1')).toBeUndefined();
    expect(silences.at(-1)).toEqual(['node-1', undefined]);
  });

  it('lets an older agent, which does not know what a report is, alone for a minute', async () => {
    const cluster = new Cluster(2);
    const error = new ServalError('ERR_BAD_INPUT', { subject: 'kind', reason: 'unknown', remedy: 'upgrade' });
    cluster.node(1).fault = () => Promise.reject(error);
    const { exchange, silences, counts } = cluster.node(0);
    cluster.start(0);
    await pass(59_000);
    expect([cluster.node(1).asked.length, counts.sent]).toEqual([1, 1]);
    expect([exchange.silentSince('node-1'), silences]).toEqual([undefined, []]);
    await pass(2_000);
    expect(cluster.node(1).asked).toHaveLength(2);
    // Upgraded: it asks itself.
    cluster.node(1).fault = undefined;
    cluster.start(1);
    await pass(1_500);
    expect(cluster.node(0).exchange.latest('node-1')).toBeDefined();
    expect(cluster.node(1).asked.length).toBeGreaterThan(2);
  });

  it('gives the load of replicas to who wants it, and looks for it only then', async () => {
    const cluster = new Cluster(3);
    const [a, b, c] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    b.replicas.push(flows('10.1.0.1'));
    cluster.start(0, 1, 2);
    await pass(3_000);
    expect(b.looked).toBe(0);
    a.exchange.setInterests(['node-1']);
    await pass(2_000);
    expect(a.exchange.latest('node-1')?.report.replicas).toEqual([flows('10.1.0.1')]);
    expect(c.exchange.latest('node-1')?.report.replicas).toEqual([]);
    expect([a.looked, b.looked > 0, c.looked]).toEqual([0, true, 0]);
    a.exchange.setInterests([]);
    await pass(12_000);
    const { looked } = b;
    await pass(5_000);
    expect(b.looked).toBe(looked);
    expect(a.exchange.latest('node-1')?.report.replicas).toEqual([]);
    // The own node's too.
    b.exchange.setInterests(['node-1']);
    await pass(1_000);
    expect(b.exchange.latest('node-1')?.report.replicas).toEqual([flows('10.1.0.1')]);
  });

  it('does not take a late report for the newest, but one of a clock that was set back after a while', async () => {
    const cluster = new Cluster(2);
    const { exchange } = cluster.node(0);
    const say = async (sequence: number, pods: string[]): Promise<string[] | undefined> => {
      await exchange.answer('node-1', { kind: 'report', ...none, replicas: [], load: false, sequence, pods });
      return exchange.latest('node-1')?.report.pods;
    };
    expect(await say(100, ['10.1.0.1'])).toEqual(['10.1.0.1']);
    expect(await say(99, [])).toEqual(['10.1.0.1']);
    await pass(5_000);
    expect(await say(50, ['10.1.0.2'])).toEqual(['10.1.0.2']);
  });

  it('asks each of a large cluster that it is interested in in its turn, 64 a second', async () => {
    const cluster = new Cluster(200);
    const member = cluster.node(0);
    cluster.start(0);
    await pass(1_500);
    expect(member.counts.sent).toBe(0);
    member.exchange.setInterests(Array.from({ length: 100 }, (_, index) => `node-${index + 1}`));
    const asked = (): number[] => {
      const counts = Array.from({ length: 200 }, (_, index) => cluster.node(index).asked.length);
      return [Math.max(...counts), counts.filter((count) => count > 0).length];
    };
    await pass(1_000);
    expect(asked()).toEqual([1, 64]);
    await pass(1_000);
    expect(asked()).toEqual([2, 100]);
  });

  it('in a large cluster follows whom a workload has left for, and tells changes to who asks here', async () => {
    const cluster = new Cluster(200);
    const member = cluster.node(0);
    member.standing = { ...none, left: [{ address: '10.0.0.1', now: '10.7.0.1' }] };
    cluster.start(0);
    cluster.node(9).exchange.setInterests(['node-0']);
    cluster.start(9);
    await pass(1_500);
    expect(cluster.node(7).asked.length).toBeGreaterThan(0);
    cluster.node(9).exchange.stop();
    const before = cluster.node(9).asked.length;
    member.change({ died: ['10.0.0.3'] });
    await pass(10);
    expect(cluster.node(9).asked.slice(before)).toMatchObject([{ message: { died: ['10.0.0.3'] } }]);
  });

  it('forgets nodes that are not declared any more', async () => {
    const cluster = new Cluster(2);
    cluster.start(0);
    await pass(10);
    cluster.names = ['node-0'];
    await pass(1_000);
    expect(cluster.node(0).exchange.known()).toEqual(['node-0']);
  });

  it('asks the nodes of a cluster one after the other, not all at one moment', async () => {
    const cluster = new Cluster(51);
    cluster.start(0);
    await pass(999);
    const times = cluster.names.slice(1).map((name) => cluster.members.get(name)?.asked[0]?.at as number);
    expect(times.every((at, index) => index === 0 || at - (times[index - 1] as number) >= 9)).toBe(true);
  });
});

function cut({ pods, moving, left, died }: Standing) {
  return { pods, moving, left, died };
}
