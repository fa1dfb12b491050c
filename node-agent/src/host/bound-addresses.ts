/** Which addresses the sockets of a pod are bound to: what has to be there for them wherever they go. */
import { canonicalAddress } from '../datapath/address.js';
import { explained } from '../datapath/errors.js';
import { native } from '../native.js';

/** Every state but TIME_WAIT, which no mover carries. A UDP socket that is not connected is in CLOSE. */
const states = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11].reduce((mask, state) => mask | (1 << state), 0);

export async function boundAddresses(netns: string): Promise<Set<string>> {
  const [tcp, udp] = await explained(`network namespace ${netns}`, () =>
    Promise.all([native().listSockets(netns, 'tcp', states), native().listSockets(netns, 'udp', states)]),
  );
  const addresses = new Set<string>();
  for (const { localAddress } of [...tcp, ...udp]) addresses.add(localAddress);
  return new Set([...addresses].map(canonicalAddress));
}
