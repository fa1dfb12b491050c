/**
 * What parent and load process say to each other: newline-delimited JSON, commands on the load process's stdin,
 * answers and events on its stdout. Nothing but stdio is needed, so the process may be started through nsenter.
 * All times are milliseconds of CLOCK_MONOTONIC, the clock of `process.hrtime`, so parent and load processes on
 * one machine share it.
 */

/** Every kind of connection that a load process may hold. */
export const connectionKinds = ['pipelined', 'idle', 'blocked', 'subscriber', 'publisher'] as const;

/** What a connection does: see the classes of the same names in kinds.ts. */
export type ConnectionKind = (typeof connectionKinds)[number];

/** How many connections of each kind a load process holds; it adds one publisher of its own. */
export interface ConnectionMix {
  pipelined: number;
  idle: number;
  blocked: number;
  subscriber: number;
}

/** Arguments of `connect`. Everything but the address has a default. */
export interface ConnectParams {
  /** IPv4 or IPv6 address of the server */
  host: string;
  port: number;
  /** name of this load process: prefix of its keys and of its connections' names; default `load` */
  name?: string;
  /** how many TCP connections in all; default 100 */
  connections?: number;
  /** how many of each kind, the publisher not counted; default by {@link mixOf} */
  mix?: Partial<ConnectionMix>;
  /** pause between a reply and the next pipeline of the same connection, ms; default 15 */
  paceMs?: number;
  /** time between two published messages, ms; default 10 */
  publishMs?: number;
  /** size of the values that are written, bytes; default 64 */
  valueBytes?: number;
  /** how long the connections may take to be ready, ms; default 10,000 */
  timeoutMs?: number;
}

/** Answer of `connect`. */
export interface ConnectResult {
  connections: number;
  perKind: Record<ConnectionKind, number>;
}

/** Arguments of `check`. */
export interface CheckParams {
  /** how long each connection may take to answer, ms */
  timeoutMs: number;
}

/** A connection that did not answer, and why. */
export interface DeadConnection {
  connection: string;
  kind: ConnectionKind;
  reason: string;
}

/** Answer of `check`: who is still there. */
export interface CheckResult {
  connections: number;
  /** connections that answered in time, on the same TCP connection by the word of client and server */
  survived: number;
  survivedPerKind: Record<ConnectionKind, number>;
  /** wrong replies since connect, those that this check found included */
  wrongRepliesTotal: number;
  dead: DeadConnection[];
}

/** A reply that was not the one that was due. */
export interface WrongReply {
  connection: string;
  /** what was asked, or what kind of message was awaited */
  command: string;
  expected: string;
  got: string;
  /** when it was noticed, ms of CLOCK_MONOTONIC */
  atMs: number;
}

/** One silence of one connection, ms of CLOCK_MONOTONIC. */
export interface Gap {
  connection: string;
  kind: ConnectionKind;
  startMs: number;
  endMs: number;
  gapMs: number;
  /** how late this process's own event loop ran at worst meanwhile, ms: so much of the gap may be the client's own */
  eventLoopMs: number;
}

/** What the connections of one kind did in a window. */
export interface KindStats {
  connections: number;
  alive: number;
  resets: number;
  wrongReplies: number;
  replies: number;
  worstGapMs: number;
}

/** Answer of `end-window`: what happened between begin-window and end-window. */
export interface WindowStats {
  connections: number;
  /** connections that are neither closed nor errored; `check` tells whether they answer */
  alive: number;
  /** connections that closed or errored in the window */
  resets: number;
  resetsTotal: number;
  /** lost, duplicated, reordered or false replies and messages in the window */
  wrongReplies: number;
  wrongRepliesTotal: number;
  /** the first few wrong replies since connect */
  wrongExamples: WrongReply[];
  /** replies and messages in the window */
  repliesTotal: number;
  /** length of the window, ms */
  windowMs: number;
  /**
   * Longest time between two successive replies (or messages) of one connection, ms, its own pace included. A gap
   * counts at full length if it overlaps the window; one that is open at the end counts up to the end.
   */
  worstGapMs: number;
  /** id of the connection with the worst gap; empty when there was none */
  worstGapConnection: string;
  worstGap: Gap | null;
  /** the longest gaps of distinct connections, longest first */
  longestGaps: Gap[];
  /** quantiles over the connections' worst gaps, ms */
  gapP50Ms: number;
  gapP99Ms: number;
  /** longest time from when a request was due by the connection's pace to its reply, ms: the gap without the pace */
  worstWaitMs: number;
  /** how late this process's own event loop ran at worst in the window, ms; see also {@link Gap.eventLoopMs} */
  eventLoopMaxMs: number;
  eventLoopP99Ms: number;
  /** share of one core that this process used, 0 to 1 */
  cpuShare: number;
  perKind: Record<ConnectionKind, KindStats>;
}

/** Every command, with its arguments and its answer. */
export interface LoadCommands {
  connect: { params: ConnectParams; result: ConnectResult };
  /** begins to work: pipelines, subscriptions, messages, BLPOPs */
  start: { params: Record<string, never>; result: Record<string, never> };
  'begin-window': { params: Record<string, never>; result: { atMs: number } };
  'end-window': { params: Record<string, never>; result: WindowStats };
  check: { params: CheckParams; result: CheckResult };
  /** closes every connection; the process ends after its answer */
  stop: { params: Record<string, never>; result: Record<string, never> };
}

export type LoadCommandName = keyof LoadCommands;

/** A line on the load process's stdin. */
export interface Request<Name extends LoadCommandName = LoadCommandName> {
  id: number;
  command: Name;
  params: LoadCommands[Name]['params'];
}

/** Why a command failed, in the parts of a ServalError. */
export interface Failure {
  code: string;
  subject: string;
  reason: string;
  remedy: string;
}

/** A line on the load process's stdout. */
export type LoadEvent =
  | { event: 'hello'; pid: number }
  | { event: 'result'; id: number; result: unknown }
  | { event: 'failure'; id: number; failure: Failure }
  | { event: 'reset'; connection: string; kind: ConnectionKind; reason: string; atMs: number }
  | ({ event: 'wrong' } & WrongReply);

/** Shares `connections` out among the kinds, the publisher not counted; `wanted` kinds are taken as they are. */
export function mixOf(connections: number, wanted: Partial<ConnectionMix> = {}): ConnectionMix {
  const rest = Math.max(0, connections - 1);
  const idle = wanted.idle ?? Math.floor(rest * 0.5);
  const blocked = wanted.blocked ?? Math.min(2, Math.floor(rest / 4));
  const subscriber = wanted.subscriber ?? Math.min(2, Math.floor(rest / 4));
  return {
    pipelined: wanted.pipelined ?? Math.max(0, rest - idle - blocked - subscriber),
    idle,
    blocked,
    subscriber,
  };
}

/** A record with one value per kind. */
export function perKind<T>(make: (kind: ConnectionKind) => T): Record<ConnectionKind, T> {
  return {
    pipelined: make('pipelined'),
    idle: make('idle'),
    blocked: make('blocked'),
    subscriber: make('subscriber'),
    publisher: make('publisher'),
  };
}

/** Cuts a stream of text into lines and hands on each that is not empty. */
export class LineSplitter {
  private rest = '';

  constructor(private readonly onLine: (line: string) => void) {}

  push(chunk: string): void {
    const lines = (this.rest + chunk).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() !== '') this.onLine(line);
    }
  }
}

/** Milliseconds of CLOCK_MONOTONIC. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
