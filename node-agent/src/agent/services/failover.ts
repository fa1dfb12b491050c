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
  count: (outcome: FailoverOutcome) => void;
  onError: (error: unknown) => void;
}

/** redirected: to another replica. established: it had an answer after all. none: no replica is left to try. unknown: no pod of ours. */
export type FailoverOutcome = 'redirected' | 'established' | 'none' | 'unknown';

interface Tried {
  /** whom it was sent to, the first is whom it believes in */
  replicas: Endpoint[];
  /** SYNs that have stayed unanswered since it was sent to the last of them */
  unanswered: number;
}

/** Sockets whose attempts are remembered. */
const remembered = 10_000;

export class Failover {
  private readonly tried = new Map<bigint, Tried>();

  constructor(private readonly deps: FailoverDeps) {}

  /**
   * A SYN of this socket has had no answer in time. The kernel sends the next one at that very moment, before anybody could
   * give it another way: so after a redirect the first that is told of went to the replica before, and does not count.
   */
  take(event: SocketEvent): void {
    const tried = this.tried.get(event.socket) ?? { replicas: [event.replica], unanswered: 1 };
    this.remember(event.socket, { ...tried, unanswered: tried.unanswered + 1 });
    if (tried.unanswered === 0) return;
    const { count, podOf, another, rules, onError } = this.deps;
    const pod = podOf(event.cookie);
    if (pod === undefined) return count('unknown');
    const next = another(event.asked, tried.replicas);
    if (next === undefined) return count('none');
    this.remember(event.socket, { replicas: [...tried.replicas, next], unanswered: 0 });
    const socket = { local: event.local, remote: event.replica };
    rules
      .redirect(pod, socket, tried.replicas, next)
      .then((done) => count(done ? 'redirected' : 'established'), onError);
  }

  private remember(socket: bigint, tried: Tried): void {
    this.tried.delete(socket);
    this.tried.set(socket, tried);
    if (this.tried.size > remembered) this.tried.delete(this.tried.keys().next().value as bigint);
  }
}
