/** Programs of stream.py in pods: servers and clients whose every byte is checked, and which may be moved. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { placeInCgroup } from '@serval/node-agent';
import { isListening, type Lab, type NetworkNode, type Pod } from '../lab/index.js';

const program = new URL('../../src/traffic/stream.py', import.meta.url).pathname;
const python = '/usr/bin/python3';

export interface ClientOptions {
  connections?: number;
  /** records on their way at once, of each connection */
  pipeline?: number;
  /** bytes of a record at most */
  largest?: number;
  /** between two batches, s */
  pause?: number;
  seed?: number;
  /** of each connection, which it then half-closes; without it until it is stopped */
  records?: number;
  /** how long the server keeps a half-closed connection, ms */
  linger?: number;
  /** between a batch and the reading of its answers, s: windows fill */
  stall?: number;
  /** address to connect from */
  local?: string;
  udp?: boolean;
  /** of UDP: connect() the sockets */
  connected?: boolean;
  /** between two new connections, s */
  newcomers?: number;
}

/** What a client has seen so far, or in all (`final`). */
export interface ClientResult {
  final: boolean;
  /** CLOCK_REALTIME, ms */
  at: number;
  connections: number;
  established: number;
  /** connections of which this side has ended */
  halfClosed: number;
  /** connections that ended as they must: both sides have had the same bytes */
  finished: number;
  records: number;
  bytes: number;
  /** longest time that a batch waited for its answers */
  worstGapMs: number;
  datagramsSent: number;
  datagramsReceived: number;
  /** of new connections: when it was begun (CLOCK_REALTIME, ms), and how long it took to be established, ms; -1: never */
  connectMs: Array<[startedAt: number, ms: number]>;
  errors: string[];
  errorCount: number;
}

/** A program that runs in a pod, and may be moved: what an agent has to know of it. */
export interface Movable {
  pid: number;
  cgroup: string;
}

export class Traffic {
  private count = 0;

  /** @param folder a tmpfs that all pods see at the same path */
  constructor(
    private readonly lab: Lab,
    private readonly folder: string,
  ) {}

  /** What runs such a server, for those who start it themselves. */
  serverCommand(port: number): string[] {
    return [python, program, 'server', String(port)];
  }

  /** A server in a pod; resolves when it listens. */
  async server(pod: Pod, port: number, options: { bind?: string } = {}): Promise<Movable> {
    const bind = options.bind === undefined ? [] : ['--bind', options.bind];
    const movable = await this.movable(pod, ['server', String(port), ...bind]);
    await listening(pod, port);
    return movable;
  }

  /** A client in a pod, as a process that may be moved. */
  async movableClient(
    pod: Pod,
    host: string,
    port: number,
    options: ClientOptions = {},
  ): Promise<{ client: StreamClient; process: Movable }> {
    const client = this.clientOf(options);
    const process = await this.movable(pod, client.command(host, port, options));
    await client.connected();
    return { client, process };
  }

  /** A client in anything that has a network namespace; resolves when all of it is connected. */
  async client(
    node: NetworkNode,
    host: string,
    port: number,
    options: ClientOptions = {},
  ): Promise<StreamClient> {
    const client = this.clientOf(options);
    node.spawn(python, [program, ...client.command(host, port, options)], { stdio: 'ignore' });
    await client.connected();
    return client;
  }

  private clientOf(options: ClientOptions): StreamClient {
    const folder = join(this.folder, `client-${++this.count}`);
    mkdirSync(folder);
    return new StreamClient(folder, options.connections ?? 1, options.udp ?? false);
  }

  private async movable(pod: Pod, args: string[]): Promise<Movable> {
    const child = pod.spawn(python, [program, ...args], { dumpable: true, stdio: 'ignore' });
    const { pid } = await pod.processOf(child);
    const cgroup = this.lab.cgroup(`traffic-${++this.count}`);
    placeInCgroup(cgroup, pid);
    return { pid, cgroup };
  }
}

const patienceMs = 20_000;

export class StreamClient {
  constructor(
    private readonly folder: string,
    private readonly connections: number,
    private readonly udp: boolean,
  ) {}

  command(host: string, port: number, options: ClientOptions): string[] {
    const { udp, connected, ...values } = options;
    const flags = Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]);
    return [
      'client',
      host,
      String(port),
      this.folder,
      ...flags,
      ...(udp ? ['--udp'] : []),
      ...(connected ? ['--connected'] : []),
    ];
  }

  /** What it has seen until now; undefined before its first report. */
  result(): ClientResult | undefined {
    try {
      return JSON.parse(readFileSync(join(this.folder, 'result.json'), 'utf8')) as ClientResult;
    } catch {
      return undefined;
    }
  }

  async connected(): Promise<void> {
    await this.until(
      'to be connected',
      ({ established, datagramsReceived, errorCount }) =>
        errorCount > 0 ||
        (this.udp ? datagramsReceived >= this.connections : established === this.connections),
    );
  }

  /** Resolves when it has exchanged so many records or datagrams more than now. */
  async goesOn(more = 20): Promise<void> {
    const count = ({ records, datagramsReceived }: ClientResult): number => records + datagramsReceived;
    const asked = Date.now();
    const before = count(await this.until('to report', ({ at }) => at > asked));
    await this.until('to go on', (result) => result.errorCount > 0 || count(result) >= before + more);
  }

  /** Resolves when it has half-closed all of its connections. */
  async halfClosed(): Promise<void> {
    await this.until('to half-close', ({ halfClosed }) => halfClosed === this.connections);
  }

  /** Lets every connection end as it must, and returns what came of it. */
  async stop(): Promise<ClientResult> {
    writeFileSync(join(this.folder, 'stop'), '');
    return this.until('to end', ({ final }) => final);
  }

  private async until(what: string, done: (result: ClientResult) => boolean): Promise<ClientResult> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const result = this.result();
      if (result !== undefined && done(result)) return result;
      if (performance.now() > deadline)
        throw new ServalError('ERR_NOT_FOUND', {
          subject: `client of ${this.connections} connections`,
          reason: `it was expected ${what}, and has got as far as ${JSON.stringify(result)}`,
          remedy: "See the agents' logs for what happened to its packets",
        });
      await delay(20);
    }
  }
}

async function listening(pod: Pod, port: number): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (performance.now() < deadline) {
    if (isListening(pod, port)) return;
    await delay(10);
  }
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `server in pod ${pod.name}`,
    reason: `it does not listen on port ${port}`,
    remedy: `Start it by hand: ${python} ${program} server ${port}`,
  });
}
