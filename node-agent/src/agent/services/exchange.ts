/**
 * Nodes tell each other about the pods that they have: every second, and within 20 ms where an address has come, gone, left
 * or is being moved. In a cluster of up to 64 others with all of them, which also keeps a connection to each ready and the
 * code that a move needs compiled: the first message through code that is not takes 10 ms more on either side. In larger
 * ones with those that somebody here is interested in, 64 a second in turn.
 */
import { ServalError } from '@serval/api';
import type { NodeName } from '../../protocol/messages.js';
import type {
  NodeReport,
  ReplicaFlows,
  ReportMessage,
  ReportReply,
  SentReport,
} from '../../signalling/index.js';
import { believe, type RefusedPart } from './belief.js';
import { Partner } from './partner.js';
import type { Residents } from './residents.js';

export interface ExchangeDeps {
  node: NodeName;
  /** all that are declared */
  nodes: () => NodeName[];
  isDeclared: (node: NodeName) => boolean;
  hosts: (node: NodeName, address: string) => boolean;
  nodeOf: (address: string) => NodeName | undefined;
  /** rejects where there was no answer, or an error */
  request: (to: NodeName, message: ReportMessage, timeoutMs: number) => Promise<ReportReply>;
  residents: Pick<Residents, 'standing' | 'onChange' | 'heard' | 'leftFor'>;
  sampler: { replicas: readonly ReplicaFlows[]; look(): Promise<void> };
  count: ReportCounts;
  /** a node that answered does not any more (with the reason), or does again */
  onSilence?: (node: NodeName, reason: string | undefined) => void;
  /** called once a second: what else is to be kept warm */
  warm?: () => void;
  /**
   * a workload is being moved, and somebody waits for it: regular rounds can be left out, three at most in a row, and none
   * while a node does not answer, which would count as silent for longer than it was asked
   */
  isBusy?: () => boolean;
  /** ms, of a clock that nobody steps */
  now?: () => number;
}

/** For metrics. */
export interface ReportCounts {
  sent(): void;
  /** `reason`: an error code, or `refused` */
  failed(reason: string): void;
  /** what was said of addresses that the sender does not host; `stranger`: all that a node without a ServalNode says */
  refused(part: RefusedPart | 'stranger', entries: number): void;
}

/** `receivedAt`: ms of performance.now(), or of the clock that was handed in. Of the own node too. */
export type ReportListener = (node: NodeName, report: NodeReport, receivedAt: number) => void;

const everyMs = 1_000;
/** Of each second nodes are asked in its first half: all at once would keep a move waiting. */
const spreadMs = 500;
const mostLeftOut = 3;
/** Most nodes that are asked in a second. */
const mostNodes = 64;
const patienceMs = 900;
/** A report that waits for the load waits no longer. */
const sampleMs = 100;
/** Who said that it wants the load of replicas wants it for so long. */
const wantedMs = 10_000;
/** Rounds beside the regular ones: so many at once, and so many a second. */
const urgentRounds = 5;
/** A node that asked here in this time is told of changes: the slowest of 5,000 comes round in 80 s. */
const followerMs = 180_000;

export class Exchange {
  private readonly partners = new Map<NodeName, Partner>();
  private readonly listeners: ReportListener[] = [];
  private interests: ReadonlySet<NodeName> = new Set();
  /** until then somebody here wants to know of all */
  private curiousUntil = -Infinity;
  private sequence: number;
  private position = 0;
  /** regular rounds, since the last one that was not */
  private leftOut = 0;
  private tokens = urgentRounds;
  private tokensAt: number;
  private ticking: NodeJS.Timeout | undefined;
  private urgent: NodeJS.Timeout | undefined;
  private stopped = false;
  private readonly now: () => number;

  constructor(private readonly deps: ExchangeDeps) {
    this.now = deps.now ?? (() => performance.now());
    this.tokensAt = this.now();
    // Above those of an earlier process, as far as the clock goes on; one that is behind is believed after a moment anyway.
    this.sequence = Date.now();
  }

  start(): void {
    this.deps.residents.onChange(() => this.hurry());
    this.ticking = setInterval(() => this.tick(), everyMs).unref();
    void this.turn();
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.ticking);
    clearTimeout(this.urgent);
  }

  /**
   * Nodes that host replicas of services in use here, this one among them: their reports are to have `replicas`, and in a
   * large cluster reports are exchanged with them at all.
   */
  setInterests(nodes: Iterable<NodeName>): void {
    this.interests = new Set(nodes);
  }

  /** The same for all nodes, for the next 10 s: somebody looks. */
  askAll(): void {
    this.curiousUntil = this.now() + wantedMs;
  }

  /** Called with each report, of which only what a node may say is left. Of this node as well, when it is told to others. */
  onReport(listener: ReportListener): void {
    this.listeners.push(listener);
  }

  /** For how many ms no exchange with this node has worked that was tried; undefined while they do, or none was tried. */
  silentSince(node: NodeName): number | undefined {
    const since = this.partners.get(node)?.failingSince;
    return since === undefined ? undefined : this.now() - since;
  }

  /** What this node said last, and when. */
  latest(node: NodeName): { report: NodeReport; receivedAt: number } | undefined {
    return this.partners.get(node)?.latest;
  }

  /** Nodes that anything was heard of, or tried to be. */
  known(): NodeName[] {
    return [...this.partners.keys()];
  }

  /** Another node's agent tells, and asks by that. */
  async answer(from: NodeName, message: ReportMessage): Promise<ReportReply> {
    if (!this.deps.isDeclared(from)) {
      this.deps.count.refused('stranger', 1);
      return { ok: false, refusal: 'notAuthorised', reason: `there is no ServalNode ${from} here` };
    }
    const partner = this.partner(from);
    partner.asked(this.now(), message.load ? wantedMs : 0);
    this.worked(from, partner);
    this.take(from, message);
    if (message.load) await this.sampled();
    return { ok: true, ...this.report(from) };
  }

  private tick(): void {
    if (this.mayLeaveOut() && this.leftOut++ < mostLeftOut) return;
    this.leftOut = 0;
    void this.turn();
  }

  private mayLeaveOut(): boolean {
    if (this.deps.isBusy?.() !== true) return false;
    return [...this.partners.values()].every(({ failingSince }) => failingSince === undefined);
  }

  private async turn(): Promise<void> {
    this.deps.warm?.();
    this.forgetOthers();
    const nodes = this.due();
    if (this.isLoadWanted()) await this.sampled();
    this.takeOwn();
    for (const [index, node] of nodes.entries()) {
      void this.ask(node, false);
      if (index + 1 < nodes.length) await pause(spreadMs / nodes.length);
      if (this.stopped) return;
    }
  }

  /** Whom to ask now. */
  private due(): NodeName[] {
    const nodes = this.circle();
    if (nodes.length <= mostNodes) return nodes;
    const start = this.position % nodes.length;
    this.position = start + mostNodes;
    return [...nodes.slice(start), ...nodes.slice(0, start)].slice(0, mostNodes);
  }

  /** All with whom reports are exchanged. */
  private circle(): NodeName[] {
    const others = this.deps.nodes().filter((node) => node !== this.deps.node);
    if (others.length <= mostNodes) return others;
    const { residents, nodeOf } = this.deps;
    const wanted = new Set<NodeName | undefined>([...this.interests, ...residents.leftFor().map(nodeOf)]);
    return others.filter((node) => wanted.has(node));
  }

  /** Something has changed that others must know now. */
  private hurry(): void {
    if (this.stopped || this.urgent !== undefined) return;
    const now = this.now();
    this.tokens = Math.min(urgentRounds, this.tokens + ((now - this.tokensAt) / 1_000) * urgentRounds);
    this.tokensAt = now;
    const waitMs = this.tokens >= 1 ? 0 : ((1 - this.tokens) / urgentRounds) * 1_000;
    this.tokens -= 1;
    this.urgent = setTimeout(() => {
      this.urgent = undefined;
      void this.tellAll();
    }, waitMs).unref();
  }

  private async tellAll(): Promise<void> {
    this.takeOwn();
    const followers = [...this.partners].filter(([, partner]) => partner.hasAsked(this.now(), followerMs));
    for (const node of new Set([...this.circle(), ...followers.map(([name]) => name)])) {
      if (node === this.deps.node) continue;
      void this.ask(node, true);
      // Whoever waits for something else is not kept waiting by all of them.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.stopped) return;
    }
  }

  private async ask(node: NodeName, urgent: boolean): Promise<void> {
    const partner = this.partner(node);
    if (!partner.begin(this.now(), urgent)) return;
    try {
      const message: ReportMessage = { kind: 'report', ...this.report(node), load: this.wantsLoadOf(node) };
      this.deps.count.sent();
      const reply = await this.deps.request(node, message, patienceMs);
      if (this.stopped) return;
      if (!reply.ok) throw new Refusal(reply.reason);
      this.worked(node, partner);
      this.take(node, reply);
    } catch (error) {
      if (!this.stopped) this.failed(node, partner, error);
    } finally {
      if (partner.end() && !this.stopped) void this.ask(node, true);
    }
  }

  /** As this node is now. */
  private report(to: NodeName): SentReport {
    const replicas = this.partner(to).wantsLoad(this.now()) ? [...this.deps.sampler.replicas] : [];
    return { ...this.deps.residents.standing, replicas, sequence: ++this.sequence };
  }

  private takeOwn(): void {
    const { node, residents, sampler } = this.deps;
    const replicas = this.wantsLoadOf(node) ? [...sampler.replicas] : [];
    this.tell(node, { ...residents.standing, replicas, sequence: ++this.sequence });
  }

  private take(node: NodeName, said: SentReport): void {
    if (this.partner(node).isLate(said.sequence, this.now())) return;
    const { report, refused } = believe(said, (address) => this.deps.hosts(node, address));
    for (const [part, entries] of Object.entries(refused))
      this.deps.count.refused(part as RefusedPart, entries);
    this.deps.residents.heard(report);
    this.tell(node, report);
  }

  private tell(node: NodeName, { sequence, replicas, moving, left, died, pods }: SentReport): void {
    const latest = { report: { replicas, moving, left, died, pods }, receivedAt: this.now() };
    this.partner(node).heard(latest, sequence);
    for (const listener of this.listeners) listener(node, latest.report, latest.receivedAt);
  }

  private worked(node: NodeName, partner: Partner): void {
    if (partner.worked()) this.deps.onSilence?.(node, undefined);
  }

  private failed(node: NodeName, partner: Partner, error: unknown): void {
    const code = error instanceof ServalError ? error.code : undefined;
    this.deps.count.failed(code ?? (error instanceof Refusal ? 'refused' : 'ERR_INTERNAL'));
    // It is there, and does not know what a report is: an agent of an earlier version.
    if (code === 'ERR_BAD_INPUT') {
      this.worked(node, partner);
      partner.isOlder(this.now());
    } else if (partner.failed(this.now())) this.deps.onSilence?.(node, (error as Error).message);
  }

  private wantsLoadOf(node: NodeName): boolean {
    return this.interests.has(node) || this.now() < this.curiousUntil;
  }

  private isLoadWanted(): boolean {
    const now = this.now();
    return (
      this.wantsLoadOf(this.deps.node) || [...this.partners.values()].some((each) => each.wantsLoad(now))
    );
  }

  private async sampled(): Promise<void> {
    await Promise.race([this.deps.sampler.look(), pause(sampleMs)]);
  }

  private partner(node: NodeName): Partner {
    const known = this.partners.get(node) ?? new Partner();
    this.partners.set(node, known);
    return known;
  }

  private forgetOthers(): void {
    const declared = new Set(this.deps.nodes());
    for (const node of this.partners.keys()) if (!declared.has(node)) this.partners.delete(node);
  }
}

/** It answered, and refused. */
class Refusal extends Error {}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
