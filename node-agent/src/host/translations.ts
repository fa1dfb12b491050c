/**
 * What this node's own NAT (kube-proxy's, in nftables or iptables) does to flows of its pods: a pod that called a virtual
 * IP has a socket that names it, while the network sees the replica's address.
 */
import { readFileSync } from 'node:fs';
import { canonicalAddress } from '../datapath/address.js';
import type { Endpoint } from '../datapath/types.js';
import { native } from '../native.js';
import type { PeerFlow } from '../protocol/messages.js';

/** The agent lives in the host's own network namespace. */
const hostNetns = '/proc/self/ns/net';

/**
 * Reads the conntrack table once. The result tells what a flow's own end calls the far end, undefined where nothing is
 * translated.
 */
export async function nativeTranslations(): Promise<(flow: PeerFlow) => Endpoint | undefined> {
  if (trackedConnections() === 0) return () => undefined;
  const entries = await native().listConntrack(hostNetns, { natOnly: true });
  const called = new Map<string, Endpoint>();
  for (const { original, reply } of entries) {
    const { destination, destinationPort } = original;
    if (destination === reply.source && destinationPort === reply.sourcePort) continue;
    const peer = { address: canonicalAddress(reply.destination), port: reply.destinationPort };
    const now = { address: canonicalAddress(reply.source), port: reply.sourcePort };
    called.set(name(original.protocol, now, peer), {
      address: canonicalAddress(destination),
      port: destinationPort,
    });
  }
  return ({ protocol, now, peer }) => called.get(name(protocol, now, peer));
}

function name(protocol: string, now: Endpoint, peer: Endpoint): string {
  return `${protocol} ${now.address} ${now.port} ${peer.address} ${peer.port}`;
}

/** 0 as well where the kernel tracks no connections at all. */
function trackedConnections(): number {
  try {
    return Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_count', 'utf8'));
  } catch {
    return 0;
  }
}
