/**
 * Keeps the kernel's service table as the resources and the nodes' reports want it. Level-triggered: whatever changes marks
 * services, and what is marked is planned anew from what is known then. Of services that nobody uses the load is not followed.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ServalService } from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import { endpointKey, serviceKey } from '../../datapath/services/encode.js';
import type { EbpfServices, ServiceAddress, ServiceRule } from '../../datapath/services/index.js';
import type { Endpoint, Protocol } from '../../datapath/types.js';
import type {
  Measured,
  Place,
  Replica,
  ReplicaSeen,
  ServicePolicy,
  ServiceProblem,
} from '../../services/types.js';
import { isWaiting, planned, portKey, type PlannedPort, type PlannedService } from './planned-service.js';
import { Pace } from './pace.js';
import { ServiceIndex } from './service-index.js';

export interface ControllerDeps {
  node: string;
  store: ResourceStore;
  services: Pick<EbpfServices, 'table' | 'holdBack'>;
  /** what is known of a replica now */
  measured: (replica: Replica, protocol: Protocol, seen: ReplicaSeen | undefined) => Measured | undefined;
  /** where a workload is that has left this address */
  moved: (address: string) => { address: string; node?: string } | undefined;
  /** cookie of the client that has this address here */
  ownClient: (address: string) => bigint | undefined;
  /** what could not be done: the table is full, or the kernel refused */
  onError: (error: unknown) => void;
  /** services were planned: replicas may have come or gone */
  onPlanned?: () => void;
  now?: () => number;
}

/** A service as it is asked for. */
export interface ServiceState {
  service: ServalService;
  policy: ServicePolicy;
  ports: PlannedPort[];
  problems: ServiceProblem[];
}

/** What is at a virtual IP. */
export interface ServedPort {
  /** of the service */
  name: string;
  policy: ServicePolicy;
  port: PlannedPort;
}

/** A service that nobody has connected to for so long is not followed by its load. */
const usedMs = 60_000;
const tickMs = 1_000;
/**
 * Of the services in use so many are planned anew each second, in turn: 256 of 10 replicas take some 10 ms. With 10,000 in use
 * and all of them planned each second the agent took a whole processor and 900 MB.
 */
const followedAtOnce = 256;
/** so many services are planned in one go; others get their turn between */
const planAtOnce = 256;
/** What could not be brought into the kernel is tried again after so long, and complained of no more often. */
const retryMs = 10_000;
/** Replicas that were taken out of their slices and may yet turn out to be dead. */
const rememberedGone = 4_096;

export class ServiceController {
  private readonly index: ServiceIndex;
  private readonly plans = new Map<string, PlannedService>();
  /** by virtual IP, port and protocol */
  private readonly owners = new Map<string, { name: string; port: string }>();
  /** when somebody connected last, ms; of those that are followed */
  private readonly uses = new Map<string, number>();
  /** planned again then, of their own accord; ms */
  private readonly due = new Map<string, number>();
  private readonly waiting = new Set<string>();
  private readonly dead = new Map<string, Replica[]>();
  private readonly gone = new Map<string, Replica>();
  private readonly dirty = new Set<string>();
  private readonly pace = new Pace();
  /** changed, and costly: planned when they have rested */
  private readonly resting = new Map<string, NodeJS.Timeout>();
  private complaint: { words: string; at: number } | undefined;
  /** those of which not only loads have changed */
  private readonly changed = new Set<string>();
  private flushing: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private endFollowing: () => void = () => undefined;
  private ended = false;

  constructor(private readonly deps: ControllerDeps) {
    this.index = new ServiceIndex({
      service: (name) => this.mark(name),
      node: (name) => this.heard(name === deps.node ? undefined : ({ node }) => node === name),
    });
  }

  /** Resolves when the table is as the resources say now; what an earlier agent left beyond that is gone then. */
  async start(): Promise<void> {
    this.endFollowing = this.index.follow(this.deps.store);
    this.index.settle();
    await this.settled();
    const stale = this.deps.services.table.known().filter((address) => !this.owners.has(serviceKey(address)));
    await this.deps.services.table.change([], stale);
    this.timer = setInterval(() => this.tick(), tickMs).unref();
  }

  async stop(): Promise<void> {
    this.ended = true;
    clearInterval(this.timer);
    for (const timer of this.resting.values()) clearTimeout(timer);
    this.endFollowing();
    await this.flushing;
  }

  /** When all that has changed so far is in the kernel. */
  async settled(): Promise<void> {
    const isDone = (): boolean => this.dirty.size + this.resting.size === 0 && this.flushing === undefined;
    while (!isDone() && !this.ended) {
      if (this.dirty.size > 0) this.flushSoon();
      await (this.flushing ?? delay(1));
    }
  }

  // --- what is asked

  state(name: string): ServiceState | undefined {
    const service = this.index.service(name);
    const plan = this.plans.get(name);
    if (service === undefined || plan === undefined) return undefined;
    const problems = [...(this.index.pointsOf(name)?.problems ?? []), ...plan.problems];
    return { service, policy: plan.policy, ports: [...plan.ports.values()], problems };
  }

  /** Of all services, in no order. */
  names(): string[] {
    return [...this.index.names()];
  }

  /** Who serves at a virtual IP. */
  at(asked: Endpoint, protocol: Protocol = 'tcp'): ServedPort | undefined {
    const owner = this.owners.get(serviceKey({ ...asked, protocol }));
    const plan = owner && this.plans.get(owner.name);
    const port = owner && plan?.ports.get(owner.port);
    return plan && port && { name: owner.name, policy: plan.policy, port };
  }

  /** All that is served. */
  *served(): Generator<ServiceAddress> {
    for (const plan of this.plans.values()) yield* rulesOf(plan);
  }

  /** Somebody connected to it within the last minute. */
  isInUse(name: string): boolean {
    return (this.uses.get(name) ?? -Infinity) >= this.now() - usedMs;
  }

  /** Replicas of services that were used of late. */
  *inUse(): Generator<Replica> {
    for (const name of this.uses.keys())
      if (this.isInUse(name))
        for (const { port } of this.plans.get(name)?.ports.values() ?? []) yield* port.replicas;
  }

  /** Whether some service has nobody, and its clients wait. */
  anyWaits(): boolean {
    return this.waiting.size > 0;
  }

  /** Replicas that are known to be gone, also such as have left their slices since. */
  deadReplicas(isDead: (replica: Replica) => boolean): Replica[] {
    return [...[...this.dead.values()].flat(), ...[...this.gone.values()].filter(isDead)];
  }

  // --- what changes

  /** Something was heard about these replicas, or about all. */
  heard(isConcerned: (replica: Replica) => boolean = () => true): void {
    for (const [name, plan] of this.plans)
      if (hasReplica(plan, isConcerned)) {
        this.dirty.add(name);
        this.changed.add(name);
      }
    this.flushSoon();
  }

  /** A replica of the service that serves there has not answered. */
  failed(asked: Endpoint): void {
    const owner = this.owners.get(serviceKey({ ...asked, protocol: 'tcp' }));
    if (owner === undefined) return;
    this.dirty.add(owner.name);
    this.flushSoon();
  }

  /** Whose names are resolved here has changed, and so which replicas are clients themselves. */
  clientsChanged(): void {
    for (const [name, { policy }] of this.plans) if (policy.ownReplica === 'Prefer') this.dirty.add(name);
    this.flushSoon();
  }

  private mark(name: string): void {
    this.dirty.add(name);
    this.changed.add(name);
    this.flushSoon();
  }

  // --- the work

  /** In the next turn of the event loop: what comes together is planned together. */
  private flushSoon(): void {
    if (this.flushing !== undefined || this.ended) return;
    this.flushing = nextTurn()
      .then(() => this.flush())
      .catch(this.deps.onError)
      .finally(() => {
        this.flushing = undefined;
        if (this.dirty.size > 0) this.flushSoon();
      });
  }

  private async flush(): Promise<void> {
    // What comes meanwhile may change who serves where: only when nothing is left is it done.
    for (this.index.settle(); this.dirty.size > 0 && !this.ended; this.index.settle())
      while (this.dirty.size > 0 && !this.ended) await this.flushSome();
    this.deps.onPlanned?.();
  }

  private async flushSome(): Promise<void> {
    const changed: ServiceRule[] = [];
    const gone: ServiceAddress[] = [];
    const names = first(this.dirty, planAtOnce);
    for (const name of names) {
      this.dirty.delete(name);
      this.planInTime(name, changed, gone);
    }
    // Before its first client can wait.
    if (changed.some(isWaiting)) this.deps.services.holdBack(true);
    await this.deps.services.table
      .change(changed, gone)
      .catch((error: unknown) => this.failedToChange(names, error));
    await nextTurn();
  }

  /** Room may come back: what is not in the kernel is tried again. */
  private failedToChange(names: readonly string[], error: unknown): void {
    const now = this.now();
    for (const name of names)
      if (rulesOf(this.plans.get(name)).some((rule) => !this.deps.services.table.has(rule)))
        this.due.set(name, now + retryMs);
    const words = String(error);
    if (words === this.complaint?.words && now < this.complaint.at + retryMs) return;
    this.complaint = { words, at: now };
    this.deps.onError(error);
  }

  private planInTime(name: string, changed: ServiceRule[], gone: ServiceAddress[]): void {
    const began = performance.now();
    const restMs = this.pace.changedAt(name) - began;
    if (restMs > 0) return this.putOff(name, restMs);
    this.plan(name, changed, gone);
    const ended = performance.now();
    this.pace.took(name, ended - began, ended);
  }

  private putOff(name: string, ms: number): void {
    if (this.resting.has(name) || this.ended) return;
    const wake = (): void => {
      this.resting.delete(name);
      this.mark(name);
    };
    this.resting.set(name, setTimeout(wake, Math.ceil(ms)).unref());
  }

  private plan(name: string, changed: ServiceRule[], gone: ServiceAddress[]): void {
    const before = this.plans.get(name);
    const service = this.index.service(name);
    const after = service === undefined ? undefined : this.planned(name, service, before);
    if (after !== undefined) this.plans.set(name, after);
    else for (const known of [this.plans, this.uses, this.changed]) known.delete(name);
    if (after === undefined) this.pace.forget(name);
    for (const { port, rules } of after?.ports.values() ?? [])
      for (const rule of rules) {
        this.owners.set(serviceKey(rule), { name, port: portKey(port) });
        if (!this.deps.services.table.has(rule)) changed.push(rule);
      }
    for (const rule of rulesOf(before)) if (this.isLeft(name, rule, after)) gone.push(rule);
    this.note(name, before, after);
  }

  private planned(name: string, service: ServalService, before: PlannedService | undefined): PlannedService {
    const { moved, measured, ownClient, node } = this.deps;
    const { zone, region } = this.index.node(node) ?? {};
    const place: Place = {
      node,
      ...(zone === undefined ? {} : { zone }),
      ...(region === undefined ? {} : { region }),
    };
    const surroundings = { node: (other: string) => this.index.node(other), moved };
    const points = this.index.pointsOf(name)?.points ?? [];
    const slices = this.index.slicesOf(name);
    return planned(
      {
        service,
        slices,
        points,
        surroundings,
        place,
        measured,
        seen: (rule) => this.deps.services.table.seen(rule),
        ownClient,
        isAsBefore: !this.changed.delete(name),
        now: this.now(),
      },
      before,
    );
  }

  /** A place that this service had, and that neither it nor another one has now. */
  private isLeft(name: string, rule: ServiceRule, after: PlannedService | undefined): boolean {
    const key = serviceKey(rule);
    if (this.owners.get(key)?.name !== name) return false;
    if (rulesOf(after).some((each) => serviceKey(each) === key)) return false;
    this.owners.delete(key);
    return true;
  }

  /** What is asked of all services at once is kept at hand. */
  private note(name: string, before: PlannedService | undefined, after: PlannedService | undefined): void {
    const ports = [...(after?.ports.values() ?? [])];
    const due = Math.min(...ports.map(({ planned: { dueAt } }) => dueAt ?? Infinity));
    if (due === Infinity) this.due.delete(name);
    else this.due.set(name, due);
    if (rulesOf(after).some(isWaiting)) this.waiting.add(name);
    else this.waiting.delete(name);
    const dead = ports.flatMap(({ port, planned: { state } }) =>
      port.replicas.filter((_, i) => state.tracks?.[i]?.health?.state === 'dead'),
    );
    if (dead.length > 0) this.dead.set(name, dead);
    else this.dead.delete(name);
    this.noteGone(before, after);
  }

  private noteGone(before: PlannedService | undefined, after: PlannedService | undefined): void {
    const [old, now] = [replicasOf(before), replicasOf(after)];
    const isSame = old.length === now.length && old.every((replica, i) => replica === now[i]);
    if (isSame || (old.length === 0 && this.gone.size === 0)) return;
    const keys = new Set(now.map(endpointKey));
    for (const replica of old)
      if (!keys.has(endpointKey(replica))) this.gone.set(endpointKey(replica), replica);
    for (const key of keys) this.gone.delete(key);
    for (const key of first(this.gone.keys(), this.gone.size - rememberedGone)) this.gone.delete(key);
  }

  /** Once a second: who is used, and whose time has come. */
  private tick(): void {
    const now = this.now();
    for (const address of this.deps.services.table.usedSince()) {
      const owner = this.owners.get(serviceKey(address));
      if (owner !== undefined) this.uses.set(owner.name, now);
    }
    for (const [name, due] of this.due) if (due <= now) this.dirty.add(name);
    // The first have waited for longest: whoever has had its turn goes to the end.
    for (const name of first(this.uses.keys(), followedAtOnce)) {
      const at = this.uses.get(name) as number;
      this.uses.delete(name);
      if (at > now - usedMs) this.uses.set(name, at);
      if (this.pace.followedAt(name) <= performance.now()) this.dirty.add(name);
    }
    this.flushSoon();
  }

  private now(): number {
    return this.deps.now?.() ?? performance.now();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function first(keys: Iterable<string>, count: number): string[] {
  const found: string[] = [];
  for (const key of keys) {
    if (found.length >= count) break;
    found.push(key);
  }
  return found;
}

function rulesOf(plan: PlannedService | undefined): ServiceRule[] {
  return [...(plan?.ports.values() ?? [])].flatMap(({ rules }) => rules);
}

function hasReplica(plan: PlannedService, isConcerned: (replica: Replica) => boolean): boolean {
  for (const { port } of plan.ports.values()) if (port.replicas.some(isConcerned)) return true;
  return false;
}

function replicasOf(plan: PlannedService | undefined): Replica[] {
  return [...(plan?.ports.values() ?? [])].flatMap(({ port }) => port.replicas);
}
