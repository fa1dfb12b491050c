/**
 * DELAY: sockets that wait because their service has no replica. The kernel keeps their SYNs back and has given us the first
 * of each; when a replica comes, they are sent there at once. Who waits for too long is let down: connect() fails.
 */
import type { SocketEvent } from '../../datapath/services/types.js';
import type { Endpoint } from '../../datapath/types.js';
import { native } from '../../native.js';
import type { AgentPod } from '../pods.js';
import { openingSegment } from './opening-segment.js';
import { isSocket, openingSockets, type OwnSocket, type SocketRules } from './socket-rules.js';

export interface WaitingDeps {
  rules: Pick<SocketRules, 'redirect'>;
  podOf: (cookie: bigint) => AgentPod | undefined;
  /** a replica for who asks now; undefined where there is none yet */
  replicaFor: (asked: Endpoint) => Endpoint | undefined;
  /** how long a client of it may wait, ms */
  longestMs: (asked: Endpoint) => number;
  /** the kernel lets the socket's segments go; false where it did not wait */
  release: (socket: bigint) => boolean;
  count: (outcome: WaitOutcome) => void;
  onError: (error: unknown) => void;
}

/** served: a replica came. tooLong: it was let down. gone: its program had given up before. */
export type WaitOutcome = 'served' | 'tooLong' | 'gone';

interface Waiter extends OwnSocket {
  pod: AgentPod;
  cookie: bigint;
  packet: Buffer;
  timer: NodeJS.Timeout;
}

export class Waiting {
  private readonly waiters = new Map<bigint, Waiter>();

  constructor(private readonly deps: WaitingDeps) {}

  get size(): number {
    return this.waiters.size;
  }

  take(event: SocketEvent): void {
    const pod = this.deps.podOf(event.cookie);
    const segment = openingSegment(event.opening);
    if (pod === undefined || segment === undefined) return void this.deps.release(event.socket);
    const timer = setTimeout(() => this.letDown(event.socket), this.deps.longestMs(event.asked));
    this.waiters.set(event.socket, {
      pod,
      cookie: event.socket,
      timer: timer.unref(),
      ...segment,
    });
    this.serve(event.socket);
  }

  /** Replicas may have come. */
  look(): void {
    for (const cookie of this.waiters.keys()) this.serve(cookie);
  }

  stop(): void {
    for (const { timer } of this.waiters.values()) clearTimeout(timer);
    this.waiters.clear();
  }

  private serve(cookie: bigint): void {
    const waiter = this.waiters.get(cookie);
    const to = waiter && this.deps.replicaFor(waiter.remote);
    if (waiter === undefined || to === undefined) return;
    this.end(waiter);
    this.send(waiter, to).then(this.deps.count, this.deps.onError);
  }

  private async send({ pod, local, remote, packet, cookie }: Waiter, to: Endpoint): Promise<WaitOutcome> {
    const redirected = await this.deps.rules.redirect(pod, { local, remote }, [], to);
    this.deps.release(cookie);
    if (!redirected) return 'gone';
    await native().inject(pod.netns, [packet]);
    return 'served';
  }

  private letDown(cookie: bigint): void {
    const waiter = this.waiters.get(cookie);
    if (waiter === undefined) return;
    this.end(waiter);
    this.close(waiter).then(this.deps.count, this.deps.onError);
  }

  private async close(waiter: Waiter): Promise<WaitOutcome> {
    const sockets = (await openingSockets(waiter.pod)).filter((each) => isSocket(each, waiter));
    const closed = await native().destroySockets(waiter.pod.netns, sockets);
    this.deps.release(waiter.cookie);
    return closed > 0 ? 'tooLong' : 'gone';
  }

  private end({ cookie, timer }: Waiter): void {
    clearTimeout(timer);
    this.waiters.delete(cookie);
  }
}
