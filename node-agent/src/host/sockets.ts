/** The flows of a pod, read from its own socket tables (sock_diag): exact, and free while nobody asks. */
import { native, type SocketRecord } from '../native.js';
import { canonicalAddress } from '../datapath/address.js';
import { explained } from '../datapath/errors.js';
import type { FlowTuple, Protocol } from '../datapath/types.js';

/** One end of a flow, as the pod's transport knows it. */
export interface SocketFlow {
  protocol: Protocol;
  tuple: FlowTuple;
  /** TCP state by its number in linux/tcp_states.h; connected UDP is 1 as well */
  state: number;
}

export const tcpState = { established: 1, synReceived: 3, timeWait: 6, close: 7, listen: 10 } as const;

/** Every state in which a socket is the end of a flow: all but TIME_WAIT, CLOSE and LISTEN. */
const flowStates = [1, 2, 3, 4, 5, 8, 9, 11].reduce((mask, state) => mask | (1 << state), 0);
const connected = 1 << tcpState.established;

export interface WantedSockets {
  localPorts?: ReadonlySet<number>;
  /** each takes a thread, and goes through tables that all namespaces share: 1 to 2 ms */
  protocols?: ReadonlySet<Protocol>;
}

/**
 * TCP in every state but LISTEN and TIME_WAIT, and connected UDP; what stays within the pod is left out. With `localPorts` only
 * flows of these; then some that stay within the pod may be among them.
 */
export async function listFlows(netns: string, wanted: WantedSockets = {}): Promise<SocketFlow[]> {
  const sockets = await explained(`network namespace ${netns}`, () => listConnected(netns, wanted));
  const local = new Set(sockets.map((socket) => canonicalAddress(socket.localAddress)));
  return sockets.map(socketFlow).filter((flow) => leavesThePod(flow, local));
}

/**
 * Close these flows' own sockets, as a reset from the far end would: whoever waits on them learns of it at once. Returns how
 * many there were; flows that have no socket are passed over, listeners and unconnected sockets are never touched.
 * @throws ServalError ERR_NETNS_GONE, ERR_NO_PERMISSION, ERR_UNSUPPORTED (a kernel without INET_DIAG_DESTROY)
 */
export async function closeSockets(
  netns: string,
  flows: ReadonlyArray<Pick<SocketFlow, 'protocol' | 'tuple'>>,
): Promise<number> {
  const wanted = new Set(flows.map(flowName));
  if (wanted.size === 0) return 0;
  return explained(`network namespace ${netns}`, async () => {
    const sockets = await listConnected(netns);
    return native().destroySockets(
      netns,
      sockets.filter((socket) => wanted.has(flowName(socketFlow(socket)))),
    );
  });
}

/**
 * Closes all that are the end of a flow, as `closeSockets` does: for a pod that nobody is to hear of any more. What a process
 * leaves open when it is killed lingers in the kernel, and says goodbye again and again.
 * @throws ServalError as `closeSockets`
 */
export async function closeAllSockets(netns: string): Promise<number> {
  return explained(`network namespace ${netns}`, async () =>
    native().destroySockets(netns, await listConnected(netns)),
  );
}

async function listConnected(
  netns: string,
  { localPorts, protocols }: WantedSockets = {},
): Promise<SocketRecord[]> {
  const ports = localPorts === undefined ? undefined : Uint32Array.from(localPorts);
  const list = (protocol: Protocol, states: number): Promise<SocketRecord[]> | [] =>
    protocols?.has(protocol) === false ? [] : native().listSockets(netns, protocol, states, ports);
  const [tcp, udp] = await Promise.all([list('tcp', flowStates), list('udp', connected)]);
  return [...tcp, ...udp];
}

function flowName({ protocol, tuple: { local, remote } }: Pick<SocketFlow, 'protocol' | 'tuple'>): string {
  const ends = [local, remote].map(({ address, port }) => `${canonicalAddress(address)} ${port}`);
  return `${protocol} ${ends.join(' ')}`;
}

function socketFlow(socket: SocketRecord): SocketFlow {
  return {
    protocol: socket.protocol,
    tuple: {
      local: { address: canonicalAddress(socket.localAddress), port: socket.localPort },
      remote: { address: canonicalAddress(socket.remoteAddress), port: socket.remotePort },
    },
    state: socket.state,
  };
}

function leavesThePod({ tuple }: SocketFlow, local: ReadonlySet<string>): boolean {
  const { address } = tuple.remote;
  return tuple.remote.port !== 0 && !address.startsWith('127.') && address !== '::1' && !local.has(address);
}
