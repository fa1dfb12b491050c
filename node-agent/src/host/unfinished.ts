/** Connections that no mover can carry: handshakes under way, and what waits to be accepted. */
import { explained } from '../datapath/errors.js';
import { native } from '../native.js';
import { tcpState } from './sockets.js';

const synSent = 2;
const handshakes = (1 << synSent) | (1 << tcpState.synReceived);
const listeners = 1 << tcpState.listen;

/** How many there are in this network namespace now. */
export async function unfinishedConnections(netns: string): Promise<number> {
  const sockets = await explained(`network namespace ${netns}`, () =>
    native().listSockets(netns, 'tcp', handshakes | listeners),
  );
  // Of a listening socket the receive queue is the number of connections that wait to be accepted.
  return sockets.reduce(
    (sum, { state, receiveQueue }) => sum + (state === tcpState.listen ? receiveQueue : 1),
    0,
  );
}
