/** The service access layer of one node: puts its parts together, and answers what is asked about them. */
import { endpointKey } from '../../datapath/services/encode.js';
import type { EbpfServices, SocketEvent } from '../../datapath/services/index.js';
import type { Datapath, Endpoint } from '../../datapath/types.js';
import type { Logger, ResourceStore } from '@serval/kube-runtime';
import type { PodRegistry } from '../pods.js';
import { Clients, hostName } from './clients.js';
import { ServiceController } from './controller.js';
import { DeadReplicas } from './dead-replicas.js';
import { Failover, type FailoverOutcome } from './failover.js';
import { pick } from './pick.js';
import { seenOf } from './planned-service.js';
import { resolve, type ResolveQuestion } from './resolve.js';
import { SocketRules } from './socket-rules.js';
import { Waiting, type WaitOutcome } from './waiting.js';
import { serviceView, type ViewSources } from './views.js';
import type { ReplicaNews } from './replica-news.js';
import type { Lazily } from '../json-stream.js';
import { ServalError, type ResolveView, type ServiceView } from '@serval/api';

export interface AgentServicesDeps {
  node: string;
  store: ResourceStore;
  datapath: Datapath;
  services: EbpfServices;
  pods: PodRegistry;
  news: ReplicaNews;
  /** the host's own namespace, where its processes are clients too */
  hostNetns?: string;
  nextFlowId: () => bigint;
  log: Logger;
  count: (
    what: 'failover' | 'wait' | 'closed',
    outcome: FailoverOutcome | WaitOutcome | 'closed',
    n?: number,
  ) => void;
}

/** How often rules of sockets that are gone are looked for. */
const sweepMs = 5_000;

export class AgentServices {
  readonly clients: Clients;
  readonly controller: ServiceController;
  private readonly rules: SocketRules;
  private readonly failover: Failover;
  private readonly waiting: Waiting;
  private readonly dead: DeadReplicas;
  private sweeping: NodeJS.Timeout | undefined;

  constructor(private readonly deps: AgentServicesDeps) {
    const { services, pods, news, datapath, nextFlowId, log, count } = deps;
    const onError = (what: string) => (error: unknown) => log.error({ err: error }, `${what} failed`);
    this.rules = new SocketRules({ datapath, nextFlowId });
    const { hostNetns } = deps;
    this.clients = new Clients({
      services,
      pods,
      ...(hostNetns === undefined ? {} : { hostNetns }),
      onError: onError('looking at a client'),
    });
    this.controller = new ServiceController({
      node: deps.node,
      store: deps.store,
      services,
      measured: (replica, protocol, seen) => {
        const load = news.load(replica, protocol);
        const dead = news.isDead(replica, true);
        return load === undefined && seen === undefined && !dead ? undefined : { load, seen, dead };
      },
      moved: (address) => news.moved(address),
      ownClient: (address) => {
        const pod = pods.at(address);
        return pod === undefined ? undefined : this.clients.cookieOf(pod.netns);
      },
      onError: onError('bringing services into the kernel'),
      onPlanned: () => this.planned(),
    });
    this.failover = new Failover({
      rules: this.rules,
      podOf: (cookie) => this.clients.podOf(cookie),
      another: (asked, tried) => this.another(asked, tried),
      count: (outcome) => count('failover', outcome),
      onError: onError('giving a socket another replica'),
    });
    this.waiting = new Waiting({
      rules: this.rules,
      podOf: (cookie) => this.clients.podOf(cookie),
      replicaFor: (asked) => this.another(asked, []),
      longestMs: (asked) => this.controller.at(asked)?.policy.maxDelayMs ?? 0,
      release: (socket) => services.release(socket),
      count: (outcome) => count('wait', outcome),
      onError: onError('a socket that waits for a replica'),
    });
    this.dead = new DeadReplicas({
      datapath,
      clients: this.clients,
      count: (n) => count('closed', 'closed', n),
      onError: onError('closing the sockets of a replica that is gone'),
    });
  }

  /** Resolves when the kernel has what the resources say. */
  async start(): Promise<void> {
    const { services, news } = this.deps;
    await this.clients.follow();
    this.clients.onChange(() => this.controller.clientsChanged());
    services.onEvent((event) => this.take(event));
    news.onChange((isConcerned) => this.controller.heard(isConcerned));
    this.followLeft();
    await this.controller.start();
    this.sweeping = setInterval(() => this.sweep(), sweepMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.sweeping);
    this.waiting.stop();
    await this.controller.stop();
  }

  /** Nodes whose word about their replicas counts now. */
  nodesInUse(): Set<string> {
    const nodes = new Set<string>();
    for (const { node } of this.controller.inUse()) if (node !== undefined) nodes.add(node);
    return nodes;
  }

  /** The service table, one after the other as they are asked for, by name. @throws ServalError ERR_NOT_FOUND */
  views(name?: string): Iterable<Lazily<ServiceView>> {
    const names = name === undefined ? this.controller.names().sort() : [name];
    if (name !== undefined && this.controller.state(name) === undefined)
      throw new ServalError('ERR_NOT_FOUND', {
        subject: `service ${name}`,
        reason: 'this agent knows no ServalService of that name',
        remedy: 'See `serval services`',
      });
    return this.viewsOf(names);
  }

  private *viewsOf(names: readonly string[]): Generator<Lazily<ServiceView>> {
    for (const name of names) {
      const state = this.controller.state(name);
      if (state !== undefined) yield serviceView(state, this.controller.isInUse(name), this.viewSources());
    }
  }

  /** What a connect() of a pod of this node would get. @throws ServalError ERR_BAD_INPUT, ERR_NOT_FOUND */
  resolve(question: ResolveQuestion): Lazily<ResolveView> {
    const { pods, services, news } = this.deps;
    const { from } = question;
    if (from !== hostName && pods.get(from) === undefined)
      throw new ServalError('ERR_NOT_FOUND', {
        subject: `pod ${from}`,
        reason: 'this agent knows no such pod on its node',
        remedy: 'See `serval pods`, and ask the agent of the node that hosts it',
      });
    return resolve(question, {
      ...this.viewSources(),
      services: this.controller,
      idOf: (address) => services.table.idOf(address),
      left: (address) => news.moved(address),
      client: this.clients.find(from),
      draw: Math.random,
    });
  }

  private viewSources(): ViewSources {
    return {
      count: (address) => this.deps.services.table.count(address),
      seen: (rules) => {
        const seen = seenOf((rule) => this.deps.services.table.seen(rule), rules);
        return (replica) => seen.get(endpointKey(replica));
      },
    };
  }

  private take(event: SocketEvent): void {
    if (event.kind === 'WAITS') return this.waiting.take(event);
    if (event.kind === 'SILENT') this.failover.take(event);
    // Whoever connects next should know.
    this.controller.failed(event.asked);
  }

  private another(asked: Endpoint, tried: readonly Endpoint[]): Endpoint | undefined {
    const found = this.controller.at(asked);
    if (found === undefined || tried.length >= found.policy.attempts) return undefined;
    return pick(found.port.planned.plan, tried, Math.random());
  }

  private planned(): void {
    this.waiting.look();
    const { services } = this.deps;
    if (!this.controller.anyWaits() && this.waiting.size === 0) services.holdBack(false);
    this.dead.look(this.controller.deadReplicas((replica) => this.deps.news.isDead(replica, false)));
    this.deps.news.follow(this.nodesInUse());
  }

  /** Addresses that workloads have left: who names one is sent after them. */
  private followLeft(): void {
    const { services, news } = this.deps;
    const apply = (): void => {
      const wanted = news.leftAddresses();
      for (const address of services.leftAddresses().keys())
        if (!wanted.has(address)) services.forgetLeft(address);
      for (const [address, now] of wanted) services.setLeft(address, now);
    };
    news.onLeftChange(apply);
    apply();
  }

  private sweep(): void {
    this.rules
      .sweep(this.clients.all().filter((pod) => this.deps.pods.get(pod.name) !== undefined))
      .catch((error: unknown) =>
        this.deps.log.warn({ err: error }, 'looking for rules of ended sockets failed'),
      );
  }
}
