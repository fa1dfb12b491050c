/**
 * A bad network, for tests: requests and replies are lost, doubled, delayed. Off unless a test hands it in; it works on
 * messages as a whole, so that TLS and HTTP/2 stay as they are and a run can be repeated from its seed.
 */
import type { NodeName } from '../protocol/messages.js';
import type { AnyKind } from './kinds.js';

/** What happens to one request and its reply; nothing where empty. */
export interface Mishap {
  loseRequest?: boolean;
  loseReply?: boolean;
  /** the request arrives once more, and its second reply is thrown away */
  duplicate?: boolean;
  /** ms */
  delayRequest?: number;
  delayDuplicate?: number;
  delayReply?: number;
}

/** `node`: the other end. Asked once for each request. */
export type Interfere = (about: { node: NodeName; kind: AnyKind }) => Mishap;

export interface Chances {
  /** of a request and of a reply, each; from 0 to 1 */
  lose?: number;
  duplicate?: number;
  delay?: number;
  /** longest delay, ms */
  delayMs?: number;
  /** of these messages only; absent: of all */
  kinds?: readonly AnyKind[];
}

/** Mishaps by chance. `random` gives numbers from 0 to below 1; a seeded one makes the run repeatable. */
export function randomly(chances: Chances, random: () => number): Interfere {
  const { lose = 0, duplicate = 0, delay = 0, delayMs = 0, kinds } = chances;
  const late = (): number => (random() < delay ? random() * delayMs : 0);
  const mishap = (): Mishap => ({
    loseRequest: random() < lose,
    loseReply: random() < lose,
    duplicate: random() < duplicate,
    delayRequest: late(),
    delayDuplicate: late(),
    delayReply: late(),
  });
  return ({ kind }) => (kinds === undefined || kinds.includes(kind) ? mishap() : {});
}

/** Makes the request as the mishap wants it. What is lost is never answered: whoever waits needs a timeout. */
export async function interfered<Reply>(mishap: Mishap, request: () => Promise<Reply>): Promise<Reply> {
  const again = async (): Promise<void> => {
    await pause(mishap.delayDuplicate);
    await request();
  };
  await pause(mishap.delayRequest);
  // Nobody hears of the second one's end, whatever it is.
  if (mishap.duplicate === true) void again().catch(() => undefined);
  if (mishap.loseRequest === true) return never();
  const reply = await request();
  await pause(mishap.delayReply);
  return mishap.loseReply === true ? never() : reply;
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

async function pause(ms = 0): Promise<void> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms).unref());
}
