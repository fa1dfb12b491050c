/**
 * A replica that does not answer a SYN in time: the socket gets another one while connect() goes on, and no new connection
 * goes there until it answers again. The kernel tells of each SYN that stays unanswered; the next one, as long after as the
 * first was waited for, goes to the other replica already.
 */
import type { SocketEvent } from '../../datapath/services/types.js';
import type { Endpoint } from '../../datapath/types.js';
import type { AgentPod } from '../pods.js';
import type { SocketRules } from './socket-rules.js';

export interface FailoverDeps {
  rules: Pick<SocketRules, 'redirect'>;
  podOf: (cookie: bigint) => AgentPod | undefined;
  /** another replica of the service that was asked, none of these; undefined where there is none, or enough were tried */
  another: (asked: Endpoint, tried: readonly Endpoint[]) => Endpoint | undefined;
  /** it has not answered a SYN */
  silent: (replica: Endpoint) => void;
  count: (outcome: FailoverOutcome) => void;
  onError: (error: unknown) => void;
}

/** redirected: to another replica. established: it had an answer after all. none: no replica is left to try. unknown: no pod of ours. */
export type FailoverOutcome = 'redirected' | 'established' | 'none' | 'unknown';

/** Sockets whose attempts are remembered. */
const remembered = 10_000;

export class Failover {
  /** by socket: whom it was sent to, the first is whom it believes in */
  private readonly tried = new Map<bigint, Endpoint[]>();

  constructor(private readonly deps: FailoverDeps) {}

  /** A SYN of this socket has had no answer in time. */
  take(event: SocketEvent): void {
    const { count, podOf, another, silent } = this.deps;
    const tried = this.tried.get(event.socket) ?? [event.replica];
    silent(tried.at(-1) ?? event.replica);
    const pod = podOf(event.cookie);
    if (pod === undefined) return count('unknown');
    const next = another(event.asked, tried);
    if (next === undefined) return count('none');
    this.remember(event.socket, [...tried, next]);
    const socket = { local: event.local, remote: event.replica };
    this.deps.rules
      .redirect(pod, socket, tried, next)
      .then((done) => count(done ? 'redirected' : 'established'), this.deps.onError);
  }

  private remember(socket: bigint, tried: Endpoint[]): void {
    this.tried.delete(socket);
    this.tried.set(socket, tried);
    if (this.tried.size > remembered) this.tried.delete(this.tried.keys().next().value as bigint);
  }
}
