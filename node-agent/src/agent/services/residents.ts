/**
 * Which addresses are this node's own word: pods that are here, that are being moved, that have left, that have ended. It is
 * found anew from what there is (pods, the protocol's phases, processes) whenever something may have changed and every
 * second, and compared with what was told last.
 */
import { canonicalAddress } from '../../datapath/address.js';
import type { RoleView } from '../../protocol/agent.js';
import type { TargetAddresses } from '../../protocol/messages.js';
import type { SentReport } from '../../signalling/index.js';
import { addressLike } from '../plan.js';
import type { AgentPod, PodRegistry } from '../pods.js';
import type { LeftAddresses } from './left-addresses.js';

export type Standing = Omit<SentReport, 'replicas' | 'sequence'>;

export interface ResidentsDeps {
  pods: Pick<PodRegistry, 'all' | 'onPut' | 'onGone'>;
  views: () => RoleView[];
  /** it was made for a workload that has not come yet */
  isWaiting: (pod: AgentPod) => boolean;
  /** its process has ended */
  hasEnded: (process: Process) => boolean;
  /** `touchEnded` is wanted when all processes of one of these cgroups have ended, and of no others */
  follow: (cgroups: ReadonlySet<string>) => void;
  left: LeftAddresses;
  /** ms, of a clock that nobody steps */
  now?: () => number;
}

type Process = NonNullable<NonNullable<AgentPod['workload']>['process']>;

/** From the moment that new connections wait until the target runs it. */
const movingPhases: ReadonlySet<string> = new Set([
  'quiescing',
  'holding',
  'freezing',
  'moving',
  'restoring',
  'restored',
  'released',
]);
/** The target runs it; what is left here is being taken apart. */
const goingPhase = 'retiring';
/**
 * Changes that come together are told together, once none has come for so long, and the first at the latest after so long. The
 * switch of a move is a burst of them: told in the middle of it, what all agents do about it kept whoever had been waiting from
 * the processors (with 10 ms instead: 6 instead of 5 ms beyond the freeze at the median of 50 moves of 100 connections, and who
 * had connected in the freeze waited for up to 23 ms instead of 9).
 */
const quietMs = 20;
const latestMs = 60;
/** An end can not wait: until it is told, clients are sent to who has gone. */
const endMs = 5;
const everyMs = 1_000;
const mournMs = 600_000;

export class Residents {
  private told: Standing = { moving: [], left: [], died: [], pods: [], moved: [] };
  /** addresses that were here at the last look, and whether their end would be that of a pod */
  private known = new Map<string, { ends: boolean }>();
  /** by address: when it was found to have ended */
  private readonly died = new Map<string, number>();
  /** pods whose process has ended, by name and process */
  private ended = new Set<string>();
  private readonly listeners: Array<() => void> = [];
  private ticking: NodeJS.Timeout | undefined;
  private gathering: NodeJS.Timeout | undefined;
  /** when the next look is due at the latest, by `now` */
  private lookBy = Infinity;
  private readonly now: () => number;

  constructor(private readonly deps: ResidentsDeps) {
    this.now = deps.now ?? (() => performance.now());
  }

  /** To be called when the pods are known: from now on one that is not here any more has ended, or left. */
  start(): void {
    this.deps.pods.onPut(() => this.touch());
    this.deps.pods.onGone(() => this.touchEnded());
    this.ticking = setInterval(() => this.look(), everyMs).unref();
    this.look();
  }

  stop(): void {
    clearInterval(this.ticking);
    clearTimeout(this.gathering);
    this.gathering = undefined;
    this.deps.follow(new Set());
  }

  /** As it was found last; each change makes a new object. */
  get standing(): Standing {
    return this.told;
  }

  /** Called when it is another one. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Something may have changed: it is looked at within 60 ms. */
  touch(): void {
    this.lookWithin(latestMs);
  }

  /** A process may have ended, or a pod: within 5 ms. */
  touchEnded(): void {
    this.lookWithin(endMs);
  }

  /** The target runs this pod's workload, at these addresses. Resolves when that is written down, or could not be. */
  async left({ addresses, workload }: AgentPod, target: TargetAddresses): Promise<void> {
    for (const address of addresses.map(canonicalAddress)) {
      const now = addressLike(address, target);
      if (now !== undefined)
        this.deps.left.put({ address, now: canonicalAddress(now), uid: workload?.uid ?? '' });
    }
    this.touch();
    await this.deps.left.flush();
  }

  /** What a node says of the addresses that it hosts: workloads that left from here may have moved on from there, or ended. */
  heard({ left, died, pods, moved }: Pick<Standing, 'left' | 'died' | 'pods' | 'moved'>): void {
    const mine = this.deps.left.all();
    if (mine.length === 0) return;
    const onward = new Map(left.map(({ address, now }) => [address, now]));
    const [gone, here] = [new Set(died), new Set(pods)];
    const guests = new Map(moved.map(({ address, uid }) => [address, uid]));
    for (const entry of mine) {
      const next = onward.get(entry.now);
      const stranger = here.has(entry.now) && guests.get(entry.now) !== entry.uid;
      if (next !== undefined && next !== entry.address) this.deps.left.put({ ...entry, now: next });
      else if (gone.has(entry.now) || stranger) this.deps.left.remove(entry.address);
      else continue;
      this.touch();
    }
  }

  /** Where workloads that left from here are now. */
  leftFor(): string[] {
    return this.told.left.map(({ now }) => now);
  }

  private lookWithin(ms: number): void {
    if (this.ticking === undefined) return;
    const now = this.now();
    this.lookBy = Math.min(this.lookBy, now + ms);
    clearTimeout(this.gathering);
    this.gathering = setTimeout(() => this.look(), Math.max(0, Math.min(quietMs, this.lookBy - now))).unref();
  }

  private look(): void {
    clearTimeout(this.gathering);
    this.gathering = undefined;
    this.lookBy = Infinity;
    const views = this.deps.views().filter(({ role }) => role === 'source');
    const moving = workloadsIn(views, (phase) => movingPhases.has(phase));
    const going = workloadsIn(views, (phase) => phase === goingPhase);
    const { alive, passing, ended } = this.sort(moving, going);
    this.deps.follow(new Set(alive.flatMap(({ workload }) => workload?.process?.cgroup || [])));
    this.bury(ended);
    this.account(alive, new Set(addressesOf(passing)));
    this.tell({
      pods: [...this.known.keys()],
      moving: addressesOf(alive.filter(({ name }) => moving.has(name))),
      moved: alive.flatMap(({ addresses, workload }) =>
        workload === undefined || workload.epoch === 0
          ? []
          : addresses.map((address) => ({ address: canonicalAddress(address), uid: workload.uid })),
      ),
      died: [...this.died.keys()],
      left: this.deps.left.all().map(({ address, now }) => ({ address, now })),
    });
  }

  /** Passing: of pods that wait for a workload, or that one has left, nothing is said. */
  private sort(moving: ReadonlySet<string>, going: ReadonlySet<string>) {
    const sorted = { alive: [] as AgentPod[], passing: [] as AgentPod[], ended: [] as AgentPod[] };
    for (const pod of this.deps.pods.all()) {
      const { process } = pod.workload ?? {};
      if (going.has(pod.name) || this.deps.isWaiting(pod)) sorted.passing.push(pod);
      // A mover takes processes apart: while it works, nothing has ended.
      else if (process !== undefined && !moving.has(pod.name) && this.deps.hasEnded(process))
        sorted.ended.push(pod);
      else sorted.alive.push(pod);
    }
    return sorted;
  }

  /** Also those that had ended before they were known: whoever has their address from elsewhere is to hear of it. */
  private bury(pods: readonly AgentPod[]): void {
    const ended = new Set<string>();
    for (const pod of pods) {
      const key = `${pod.name} ${pod.workload?.process?.pid}`;
      ended.add(key);
      if (!this.ended.has(key))
        for (const address of addressesOf([pod])) this.mourn(address, !pod.hostNetwork);
    }
    this.ended = ended;
  }

  /** Who is here now, who is not any more, and who has an address again. */
  private account(alive: readonly AgentPod[], passing: ReadonlySet<string>): void {
    const present = new Map<string, { ends: boolean }>();
    for (const pod of alive)
      for (const address of addressesOf([pod])) present.set(address, { ends: !pod.hostNetwork });
    for (const [address, { ends }] of this.known)
      if (!present.has(address) && !passing.has(address)) this.mourn(address, ends);
    for (const address of present.keys()) {
      this.died.delete(address);
      this.deps.left.remove(address);
    }
    // Whoever has left has not died.
    for (const [address, since] of this.died)
      if (this.now() - since >= mournMs || this.deps.left.get(address) !== undefined)
        this.died.delete(address);
    this.known = present;
    void this.deps.left.flush();
  }

  /** The addresses of the host itself don't end with a pod that has them. */
  private mourn(address: string, ends: boolean): void {
    if (ends && !this.died.has(address)) this.died.set(address, this.now());
  }

  private tell(standing: Standing): void {
    const changed = parts.some((part) => !sameEntries(standing[part], this.told[part]));
    if (!changed) return;
    this.told = standing;
    // Workloads that moved on within this node.
    this.heard(standing);
    for (const listener of this.listeners) listener();
  }
}

function workloadsIn(views: readonly RoleView[], phases: (phase: string) => boolean): Set<string> {
  return new Set(views.filter(({ phase }) => phases(phase)).map(({ workload }) => workload));
}

const parts = ['pods', 'moving', 'moved', 'died', 'left'] as const;

type Entry = string | { address: string; now?: string; uid?: string };

/** In whatever order. */
function sameEntries(one: readonly Entry[], other: readonly Entry[]): boolean {
  if (one.length !== other.length) return false;
  const keys = new Set(one.map(keyOf));
  return other.every((entry) => keys.has(keyOf(entry)));
}

function keyOf(entry: Entry): string {
  return typeof entry === 'string' ? entry : `${entry.address} ${entry.now ?? entry.uid}`;
}

function addressesOf(pods: readonly AgentPod[]): string[] {
  return pods.flatMap(({ addresses }) => addresses.map(canonicalAddress));
}
