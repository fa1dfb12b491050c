/** How long each step may take before its side acts by itself; in milliseconds. All may be configured. */
export interface Deadlines {
  /** from the start until the peers hold; source */
  prepareMs: number;
  /** handshakes and accept queues get so long to drain before the freeze; source */
  quiesceMs: number;
  /** from the first hold until the freeze; source */
  holdingMs: number;
  /** from the freeze until the target has restored; source */
  frozenMs: number;
  /** longest hold at a peer; longer than the two above together would be pointless, shorter lets packets go to a frozen pod */
  peerHoldMs: number;
  /** between two questions for the outcome; target and peer */
  outcomeMs: number;
  /** after the switch, until rules of earlier hops may go at a peer: packets under way by then have arrived */
  settleMs: number;
  /** between two looks for opening segments that still arrive at the source after the release */
  straysMs: number;
  /** from the resume until strays are handed on: who was connected before goes first; target */
  newcomersMs: number;
  /** a target waits so long for peers that don't answer before it tells the source that it may retire */
  switchGraceMs: number;
  /** how long a given-up migration is remembered */
  tombstoneMs: number;
}

export const defaultDeadlines: Deadlines = {
  prepareMs: 30_000,
  quiesceMs: 50,
  holdingMs: 2_000,
  frozenMs: 20_000,
  peerHoldMs: 25_000,
  outcomeMs: 1_000,
  settleMs: 2_000,
  straysMs: 3,
  newcomersMs: 8,
  switchGraceMs: 5_000,
  tombstoneMs: 600_000,
};
