import { ServalError } from '@serval/api';
import { quantile, type Meter } from './checks.js';
import { LoadConnection, type ConnectionListener, type ConnectionSettings } from './connection.js';
import { EventLoopWatch } from './event-loop.js';
import {
  BlockedConnection,
  IdleConnection,
  PipelinedConnection,
  PublisherConnection,
  SubscriberConnection,
} from './kinds.js';
import {
  mixOf,
  nowMs,
  perKind,
  type CheckResult,
  type ConnectionKind,
  type ConnectParams,
  type ConnectResult,
  type DeadConnection,
  type Gap,
  type KindStats,
  type LoadEvent,
  type WindowStats,
  type WrongReply,
} from './protocol.js';

/** connections that are opened at the same time */
const connectBatch = 25;
/** how many wrong replies and long gaps are told one by one */
const examples = 20;
const longestGaps = 5;

interface Window {
  beganMs: number;
  cpu: NodeJS.CpuUsage;
  replies: Map<LoadConnection, number>;
  wrong: Map<LoadConnection, number>;
  resets: Set<LoadConnection>;
}

/** All connections of one load process, and what is said about them. */
export class LoadFleet implements ConnectionListener {
  private connections: LoadConnection[] = [];
  private settings: ConnectionSettings | undefined;
  private readonly resets = new Set<LoadConnection>();
  private readonly wrongExamples: WrongReply[] = [];
  private readonly eventLoop = new EventLoopWatch();
  private window: Window | undefined;
  private started = false;

  /** @param emit where resets and wrong replies are told as they happen */
  constructor(private readonly emit: (event: LoadEvent) => void) {}

  onReset(connection: LoadConnection, reason: string): void {
    this.resets.add(connection);
    this.emit({ event: 'reset', connection: connection.id, kind: connection.kind, reason, atMs: nowMs() });
  }

  onWrong(wrong: WrongReply): void {
    if (this.wrongExamples.length >= examples) return;
    this.wrongExamples.push(wrong);
    this.emit({ event: 'wrong', ...wrong });
  }

  /** Opens every connection; when one can't be opened none stays. */
  async connect(params: ConnectParams): Promise<ConnectResult> {
    if (this.connections.length > 0)
      throw misuse('the connections are open already', 'Stop this load process first');
    const settings = settingsOf(params);
    const connections = this.make(params, settings);
    try {
      for (let first = 0; first < connections.length; first += connectBatch) {
        await Promise.all(connections.slice(first, first + connectBatch).map((each) => each.connect()));
      }
    } catch (cause) {
      for (const connection of connections) connection.close();
      throw new ServalError('ERR_NOT_FOUND', {
        subject: `redis server ${params.host}:${params.port}`,
        reason: `not every connection could be opened (${cause instanceof Error ? cause.message : String(cause)})`,
        remedy: 'Check that the server listens there and that the route to it works',
        cause,
      });
    }
    this.connections = connections;
    this.settings = settings;
    return { connections: connections.length, perKind: perKind((kind) => this.ofKind(kind).length) };
  }

  /** Lets every connection begin; subscribers first, so that they miss no message. */
  async start(): Promise<void> {
    const settings = this.settings;
    if (settings === undefined || this.started) {
      throw misuse(
        settings === undefined ? 'nothing is connected' : 'it works already',
        'Connect, then start once',
      );
    }
    this.started = true;
    await Promise.all(this.ofKind('subscriber').map((connection) => connection.start(0)));
    const others = this.connections.filter(({ kind }) => kind !== 'subscriber');
    await Promise.all(others.map((each, index) => each.start((index * settings.paceMs) / others.length)));
  }

  /** Begins to measure; a window that is open already begins anew. */
  beginWindow(): { atMs: number } {
    const beganMs = nowMs();
    for (const connection of this.connections) connection.meter.begin();
    this.eventLoop.begin();
    this.window = {
      beganMs,
      cpu: process.cpuUsage(),
      replies: new Map(this.connections.map((each) => [each, each.replies])),
      wrong: new Map(this.connections.map((each) => [each, each.wrong])),
      resets: new Set(this.resets),
    };
    return { atMs: beganMs };
  }

  /** Ends the window and says what happened in it. */
  endWindow(): WindowStats {
    const window = this.window;
    if (window === undefined) throw misuse('no window is open', 'Send begin-window first');
    this.window = undefined;
    const now = nowMs();
    const loop = this.eventLoop.end();
    const meters = new Map(this.connections.map((each) => [each, each.meter.end(now)]));
    const gaps = this.gapsOf(meters);
    const cpu = process.cpuUsage(window.cpu);
    const kinds = perKind((kind) => this.kindStats(kind, window, gaps));
    const worst = gaps[0] ?? null;
    const gapTimes = gaps.map(({ gapMs }) => gapMs);
    return {
      connections: this.connections.length,
      alive: sum(kinds, 'alive'),
      resets: sum(kinds, 'resets'),
      resetsTotal: this.resets.size,
      wrongReplies: sum(kinds, 'wrongReplies'),
      wrongRepliesTotal: this.wrongTotal(),
      wrongExamples: this.wrongExamples,
      repliesTotal: sum(kinds, 'replies'),
      windowMs: now - window.beganMs,
      worstGapMs: worst?.gapMs ?? 0,
      worstGapConnection: worst?.connection ?? '',
      worstGap: worst,
      longestGaps: gaps.slice(0, longestGaps),
      gapP50Ms: quantile(gapTimes, 0.5),
      gapP99Ms: quantile(gapTimes, 0.99),
      worstWaitMs: Math.max(0, ...[...meters.values()].map(({ waitMs }) => waitMs)),
      eventLoopMaxMs: loop.maxMs,
      eventLoopP99Ms: loop.p99Ms,
      cpuShare: (cpu.user + cpu.system) / 1000 / (now - window.beganMs),
      perKind: kinds,
    };
  }

  /** Asks every connection for an answer within `timeoutMs`. */
  async check(timeoutMs: number): Promise<CheckResult> {
    const answers = await Promise.all(this.connections.map((connection) => connection.check(timeoutMs)));
    const dead = answers.filter((answer): answer is DeadConnection => answer !== undefined);
    return {
      connections: this.connections.length,
      survived: this.connections.length - dead.length,
      survivedPerKind: perKind(
        (kind) => this.ofKind(kind).length - dead.filter((connection) => connection.kind === kind).length,
      ),
      wrongRepliesTotal: this.wrongTotal(),
      dead,
    };
  }

  /** Closes every connection. */
  stop(): void {
    for (const connection of this.connections) connection.close();
  }

  private make(params: ConnectParams, settings: ConnectionSettings): LoadConnection[] {
    const name = params.name ?? 'load';
    const mix = mixOf(params.connections ?? 100, params.mix);
    const channel = `${settings.keyPrefix}:messages`;
    const publisher = new PublisherConnection(`${name}-publisher`, channel, settings, this);
    const many = (kind: keyof typeof mix, make: (id: string) => LoadConnection): LoadConnection[] =>
      Array.from({ length: mix[kind] }, (_, index) => make(`${name}-${kind}-${index + 1}`));
    return [
      publisher,
      ...many('pipelined', (id) => new PipelinedConnection(id, settings, this)),
      ...many('idle', (id) => new IdleConnection(id, settings, this)),
      ...many('blocked', (id) => new BlockedConnection(id, publisher, settings, this)),
      ...many('subscriber', (id) => new SubscriberConnection(id, channel, publisher, settings, this)),
    ];
  }

  /** The worst gap of each connection that had one, longest first. */
  private gapsOf(meters: ReadonlyMap<LoadConnection, Meter>): Gap[] {
    const gaps: Gap[] = [];
    for (const [{ id, kind }, { worst }] of meters) {
      if (worst === null) continue;
      const eventLoopMs = this.eventLoop.during(worst.startMs, worst.endMs);
      gaps.push({ connection: id, kind, ...worst, gapMs: worst.endMs - worst.startMs, eventLoopMs });
    }
    return gaps.sort((x, y) => y.gapMs - x.gapMs);
  }

  private ofKind(kind: ConnectionKind): LoadConnection[] {
    return this.connections.filter((connection) => connection.kind === kind);
  }

  private wrongTotal(): number {
    return this.connections.reduce((total, { wrong }) => total + wrong, 0);
  }

  private kindStats(kind: ConnectionKind, window: Window, gaps: readonly Gap[]): KindStats {
    const connections = this.ofKind(kind);
    const grown = (now: (each: LoadConnection) => number, before: Map<LoadConnection, number>): number =>
      connections.reduce((total, each) => total + now(each) - (before.get(each) ?? 0), 0);
    return {
      connections: connections.length,
      alive: connections.filter(({ alive }) => alive).length,
      resets: connections.filter((each) => this.resets.has(each) && !window.resets.has(each)).length,
      wrongReplies: grown(({ wrong }) => wrong, window.wrong),
      replies: grown(({ replies }) => replies, window.replies),
      worstGapMs: gaps.find((gap) => gap.kind === kind)?.gapMs ?? 0,
    };
  }
}

function sum(kinds: Record<ConnectionKind, KindStats>, field: keyof KindStats): number {
  return Object.values(kinds).reduce((total, stats) => total + stats[field], 0);
}

function misuse(reason: string, remedy: string): ServalError {
  return new ServalError('ERR_CONFLICT', { subject: 'load process', reason, remedy });
}

function settingsOf(params: ConnectParams): ConnectionSettings {
  const number = (field: keyof ConnectParams, fallback: number, least: number): number => {
    const value = params[field] ?? fallback;
    if (typeof value === 'number' && Number.isFinite(value) && value >= least) return value;
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `connect, field ${field}`,
      reason: `${JSON.stringify(value)} is not a number of at least ${least}`,
      remedy: 'Give such a number, or leave the field out',
    });
  };
  number('connections', 100, 1);
  return {
    host: params.host,
    port: number('port', Number.NaN, 1),
    paceMs: number('paceMs', 15, 0),
    publishMs: number('publishMs', 10, 1),
    valueBytes: number('valueBytes', 64, 0),
    timeoutMs: number('timeoutMs', 10_000, 1),
    keyPrefix: `${params.name ?? 'load'}:${process.pid}:${Math.trunc(nowMs())}`,
  };
}
