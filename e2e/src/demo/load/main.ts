/** The load process: see protocol.ts for what it understands. It ends when its stdin ends. */
import { ServalError } from '@serval/api';
import { LoadFleet } from './fleet.js';
import {
  LineSplitter,
  type CheckParams,
  type ConnectParams,
  type Failure,
  type LoadCommandName,
  type LoadEvent,
  type Request,
} from './protocol.js';

function emit(event: LoadEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function failureOf(error: unknown): Failure {
  if (error instanceof ServalError) {
    return { code: error.code, subject: error.subject, reason: error.reason, remedy: error.remedy };
  }
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    code: 'ERR_BAD_INPUT',
    subject: 'load process',
    reason,
    remedy: 'This is a bug: please report it',
  };
}

const fleet = new LoadFleet(emit);

const handlers: Record<LoadCommandName, (params: unknown) => unknown> = {
  connect: (params) => fleet.connect(params as ConnectParams),
  start: async () => {
    await fleet.start();
    return {};
  },
  'begin-window': () => fleet.beginWindow(),
  'end-window': () => fleet.endWindow(),
  check: (params) => fleet.check((params as CheckParams).timeoutMs),
  stop: () => {
    fleet.stop();
    return {};
  },
};

async function handle(line: string): Promise<void> {
  let id = 0;
  try {
    const request = JSON.parse(line) as Request;
    id = request.id;
    const handler = Object.hasOwn(handlers, request.command) ? handlers[request.command] : undefined;
    if (handler === undefined) {
      throw new ServalError('ERR_BAD_INPUT', {
        subject: `command ${String(request.command)}`,
        reason: 'the load process does not know it',
        remedy: `Use one of ${Object.keys(handlers).join(', ')}`,
      });
    }
    emit({ event: 'result', id, result: await handler(request.params) });
    if (request.command === 'stop') leave();
  } catch (error) {
    emit({ event: 'failure', id, failure: failureOf(error) });
  }
}

/** Ends the process once what was said is out. */
function leave(): void {
  process.stdout.write('', () => process.exit(0));
}

const lines = new LineSplitter((line) => void handle(line));
process.stdout.on('error', () => process.exit(1));
process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk: string) => lines.push(chunk));
process.stdin.on('end', () => {
  fleet.stop();
  leave();
});
emit({ event: 'hello', pid: process.pid });
