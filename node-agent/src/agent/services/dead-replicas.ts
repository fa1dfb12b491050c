/**
 * Sockets of a replica that is known to be gone: closed at once, where they would hang until a timer that nobody has set.
 * Only those that really go there: a socket that names an address from before a move has a rule, and lives elsewhere.
 */
import { canonicalAddress } from '../../datapath/address.js';
import { endpointKey } from '../../datapath/services/encode.js';
import type { Datapath, Endpoint } from '../../datapath/types.js';
import { native, type SocketRecord } from '../../native.js';
import type { AgentPod } from '../pods.js';
import type { Clients } from './clients.js';

export interface DeadReplicasDeps {
  datapath: Pick<Datapath, 'flows'>;
  clients: Pick<Clients, 'all'>;
  count: (sockets: number) => void;
  onError: (error: unknown) => void;
}

/** ESTABLISHED and CLOSE_WAIT, and those that have said their last word and wait for an answer. */
const talking = [1, 4, 5, 8, 9].reduce((mask, state) => mask | (1 << state), 0);

export class DeadReplicas {
  /** whose sockets were closed; forgotten when they are alive again */
  private readonly done = new Set<string>();

  constructor(private readonly deps: DeadReplicasDeps) {}

  /** These are dead now, and no others. */
  look(dead: readonly Endpoint[]): void {
    const names = new Map(dead.map((each) => [endpointKey(each), each]));
    for (const name of this.done) if (!names.has(name)) this.done.delete(name);
    const fresh = [...names].filter(([name]) => !this.done.has(name));
    if (fresh.length === 0) return;
    for (const [name] of fresh) this.done.add(name);
    const gone = new Set(fresh.map(([name]) => name));
    for (const pod of this.deps.clients.all()) this.close(pod, gone).then(this.deps.count, this.deps.onError);
  }

  private async close(pod: AgentPod, gone: ReadonlySet<string>): Promise<number> {
    const sockets = await native().listSockets(pod.netns, 'tcp', talking);
    const theirs = sockets.filter((socket) => gone.has(remoteOf(socket)));
    if (theirs.length === 0) return 0;
    const moved = await this.movedFrom(pod, new Set(theirs.map(({ localPort }) => localPort)));
    return native().destroySockets(
      pod.netns,
      theirs.filter((socket) => !moved.has(`${socket.localPort} ${remoteOf(socket)}`)),
    );
  }

  /** Of these ports, by local port and by whom the socket believes to talk to. */
  private async movedFrom(pod: AgentPod, localPorts: ReadonlySet<number>): Promise<Set<string>> {
    const flows = await this.deps.datapath.flows(pod.name, { localPorts }).catch(() => []);
    return new Set(
      flows
        .filter(({ state }) => state !== 'refused')
        .map(({ identity }) => `${identity.local.port} ${endpointKey(identity.remote)}`),
    );
  }
}

function remoteOf({ remoteAddress, remotePort }: SocketRecord): string {
  return endpointKey({ address: canonicalAddress(remoteAddress), port: remotePort });
}
