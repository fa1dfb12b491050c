/**
 * What the three roles' state machines have in common: a turn (one event, what it changes, what it wants done), requests to
 * others that are asked again until they are answered, work that ends, fails or has to be done once more. Pure.
 */
import type { Deadlines } from './deadlines.js';
import type { Effect, Event, Note, Role, TimerName, Work, WorkName } from './effects.js';
import type {
  Message,
  MessageKind,
  MigrationId,
  NodeName,
  Refusal,
  Refused,
  Reply,
  WorkloadName,
} from './messages.js';

/** Who hosts which address, as far as this node knows. It may change from one call to the next. */
export interface Directory {
  hosts(node: NodeName, address: string): boolean;
  nodeOf(address: string): NodeName | undefined;
}

export interface Context {
  node: NodeName;
  /** milliseconds; only shown to people: a clock that is stepped changes nothing */
  now: number;
  deadlines: Deadlines;
  directory: Directory;
  /** Whether this node hosts the workload itself, by its name or its uid. */
  isHere: (workload: WorkloadName) => boolean;
  /** Whether a flow of a workload with one of these addresses is held here because its other end moves. */
  isLocked(addresses: readonly string[]): boolean;
}

export interface OpenRequest {
  id: number;
  to: NodeName;
  message: Message;
  /** how often it was asked before */
  attempt: number;
  /** no answer came: to be asked again */
  waiting: boolean;
}

interface OpenWork {
  request: object;
  attempt: number;
  /** failed: to be tried again. Otherwise it runs. */
  waiting: boolean;
  /** wanted once more, by then */
  again: boolean;
}

/** What every role's state has. Plain JSON. */
export interface RoleState<Phase extends string = string> {
  migration: MigrationId;
  phase: Phase;
  /** when the phase was entered, milliseconds */
  since: number;
  /** why it was given up or put off */
  reason?: string;
  requests: Record<string, OpenRequest>;
  works: Partial<Record<WorkName, OpenWork>>;
  nextRequest: number;
  /** attempt that the retry timer was set for; absent where it does not run */
  retrying?: number;
}

/** One event's way through one role: `state` is a copy that may be changed; undefined when it is to be forgotten. */
export interface Turn<State extends RoleState> {
  readonly role: Role;
  readonly context: Context;
  state: State;
  effects: Effect[];
  forgotten: boolean;
}

export interface Step<State> {
  state: State | undefined;
  effects: Effect[];
}

export type Incoming<Kind extends MessageKind = MessageKind> = Omit<
  Extract<Event, { type: 'message' }>,
  'message'
> & { message: Extract<Message, { kind: Kind }> };

export function newState<Phase extends string>(
  migration: MigrationId,
  phase: Phase,
  now: number,
): RoleState<Phase> {
  return { migration, phase, since: now, requests: {}, works: {}, nextRequest: 1 };
}

/** The caller's state stays as it is: what a turn changes is copied here, one level deep. */
export function takeTurn<State extends RoleState>(
  role: Role,
  state: State,
  context: Context,
  play: (turn: Turn<State>) => void,
): Step<State> {
  const copy = { ...state, requests: { ...state.requests }, works: { ...state.works } };
  const turn: Turn<State> = { role, context, state: copy, effects: [], forgotten: false };
  play(turn);
  return { state: turn.forgotten ? undefined : turn.state, effects: turn.effects };
}

type AnyTurn = Turn<RoleState>;

const name = ({ role, state: { migration } }: AnyTurn): { role: Role; migration: MigrationId } => ({
  role,
  migration,
});

export function note(turn: AnyTurn, what: Note): void {
  turn.effects.push({ type: 'note', ...name(turn), note: what });
}

export function enter<Phase extends string>(turn: Turn<RoleState<Phase>>, phase: Phase): void {
  turn.state.phase = phase;
  turn.state.since = turn.context.now;
  note(turn, { what: 'phase', phase });
}

export function persist(turn: AnyTurn): void {
  turn.effects.push({ type: 'persist', ...name(turn) });
}

/** Nothing of it is left, here or on disk. */
export function forgetState(turn: AnyTurn): void {
  turn.forgotten = true;
  turn.effects.push({ type: 'forgetState', ...name(turn) });
}

export function setTimer(turn: AnyTurn, timer: TimerName, delay: { ms: number } | { attempt: number }): void {
  turn.effects.push({ type: 'timer', ...name(turn), timer, ...delay });
}

export function cancelTimer(turn: AnyTurn, timer: TimerName): void {
  turn.effects.push({ type: 'cancelTimer', ...name(turn), timer });
}

export function answer(turn: AnyTurn, ticket: string, reply: Reply): void {
  turn.effects.push({ type: 'reply', ticket, reply });
}

export function refusal(refusal: Refusal, reason: string): Refused {
  return { ok: false, refusal, reason };
}

export function refuse(turn: AnyTurn, { ticket, message }: Incoming, refused: Refused): void {
  answer(turn, ticket, refused);
  note(turn, { what: 'refused', message: message.kind, refusal: refused.refusal });
}

const requestKey = (kind: MessageKind, to: NodeName): string => `${kind} ${to}`;

/** One of each kind at a time to each node: a newer one takes the older one's place, whose answer counts no more. */
export function ask(turn: AnyTurn, to: NodeName, message: Message): void {
  send(turn, requestKey(message.kind, to), { to, message, attempt: 0 });
}

function send(turn: AnyTurn, key: string, asked: Pick<OpenRequest, 'to' | 'message' | 'attempt'>): void {
  const id = turn.state.nextRequest++;
  turn.state.requests[key] = { ...asked, id, waiting: false };
  turn.effects.push({
    type: 'send',
    role: turn.role,
    to: asked.to,
    request: `${key} ${id}`,
    message: asked.message,
  });
}

export function isAsked(turn: AnyTurn, kind: MessageKind, to: NodeName): boolean {
  return turn.state.requests[requestKey(kind, to)] !== undefined;
}

/** Of anybody. */
export function anyAsked(turn: AnyTurn, ...kinds: MessageKind[]): boolean {
  return Object.values(turn.state.requests).some(({ message }) => kinds.includes(message.kind));
}

/** What was asked is of no interest any more, whether it is answered or not. */
export function dropRequests(turn: AnyTurn, ...kinds: MessageKind[]): void {
  for (const [key, { message }] of Object.entries(turn.state.requests))
    if (kinds.includes(message.kind)) delete turn.state.requests[key];
}

export function dropRequest(turn: AnyTurn, kind: MessageKind, to: NodeName): void {
  delete turn.state.requests[requestKey(kind, to)];
}

function openRequest(turn: AnyTurn, request: string): [string, OpenRequest] | undefined {
  const cut = request.lastIndexOf(' ');
  const key = request.slice(0, cut);
  const open = turn.state.requests[key];
  return open !== undefined && !open.waiting && String(open.id) === request.slice(cut + 1)
    ? [key, open]
    : undefined;
}

/** What this answers; undefined where it belongs to an earlier attempt, or to what nobody wants to know any more. */
export function answered(turn: AnyTurn, request: string): OpenRequest | undefined {
  const [key, open] = openRequest(turn, request) ?? [];
  if (key !== undefined) delete turn.state.requests[key];
  return open;
}

/** What was not answered; it will be asked again. */
export function unanswered(turn: AnyTurn, request: string): OpenRequest | undefined {
  const [key, open] = openRequest(turn, request) ?? [];
  if (key === undefined || open === undefined) return undefined;
  turn.state.requests[key] = { ...open, waiting: true };
  retryLater(turn, open.attempt);
  return open;
}

/** It was answered, but not as it has to be: the same again, later. */
export function askAgain(turn: AnyTurn, { to, message, attempt }: OpenRequest): void {
  turn.state.requests[requestKey(message.kind, to)] = {
    id: turn.state.nextRequest++,
    to,
    message,
    attempt,
    waiting: true,
  };
  retryLater(turn, attempt);
}

/** One timer for all: whoever has failed least often sets the pace, so that nobody waits for another's long delay. */
function retryLater(turn: AnyTurn, attempt: number): void {
  const { retrying } = turn.state;
  if (retrying !== undefined && retrying <= attempt) return;
  turn.state.retrying = attempt;
  setTimer(turn, 'retry', { attempt });
}

/** The retry timer has fired: everything that waits is tried again. */
export function retry(turn: AnyTurn): void {
  delete turn.state.retrying;
  for (const [key, open] of Object.entries(turn.state.requests)) {
    if (!open.waiting) continue;
    const attempt = open.attempt + 1;
    send(turn, key, { ...open, attempt });
    note(turn, { what: 'retry', message: open.message.kind, attempt });
  }
  for (const [work, open] of Object.entries(turn.state.works)) {
    if (open.waiting) begin(turn, work as WorkName, open.request, open.attempt + 1);
  }
}

/** Begin work, or have it done once more where it runs already. */
export function run<Name extends WorkName>(turn: AnyTurn, work: Name, request: Work[Name]['request']): void {
  const open = turn.state.works[work];
  if (open === undefined || open.waiting) begin(turn, work, request, 0);
  else turn.state.works[work] = { ...open, request, again: true };
}

function begin(turn: AnyTurn, work: WorkName, request: object, attempt: number): void {
  turn.state.works[work] = { request, attempt, waiting: false, again: false };
  turn.effects.push({ type: 'run', ...name(turn), work, request } as Effect);
}

export function runs(turn: AnyTurn, work: WorkName): boolean {
  return turn.state.works[work] !== undefined;
}

export function runsAnything(turn: AnyTurn): boolean {
  return Object.keys(turn.state.works).length > 0;
}

/** Without these somebody would stay held, frozen or half moved: they are tried until they work. */
const untilDone: ReadonlySet<WorkName> = new Set([
  'unquiesce',
  'thaw',
  'retire',
  'open',
  'resume',
  'discard',
  'unhold',
  'drop',
  'dropEarlier',
  'forget',
] satisfies WorkName[]);

/** Whether this end of some work is the one to go on from: nobody wants it once more, and it needs not be tried again. */
export function workEnded(turn: AnyTurn, event: Extract<Event, { type: 'done' | 'failed' }>): boolean {
  const open = turn.state.works[event.work];
  if (open === undefined || open.waiting) return false;
  if (open.again) begin(turn, event.work, open.request, 0);
  else if (event.type === 'failed' && untilDone.has(event.work)) {
    turn.state.works[event.work] = { ...open, waiting: true };
    retryLater(turn, open.attempt);
  } else {
    delete turn.state.works[event.work];
    return true;
  }
  return false;
}
