/** One message to the server: read within bounds, decoded, handed on, answered. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { ServalError } from '@serval/api';
import type { NodeName } from '../protocol/messages.js';
import { decodeMessage, encodeReply } from './codec.js';
import { interfered, type Interfere } from './interference.js';
import type { AnyMessage, AnyReply } from './kinds.js';
import { readBody, tooLong } from './wire.js';

/** `from` is what the sender's certificate says. A rejection is answered with its error. */
export type MessageHandler = (from: NodeName, message: AnyMessage) => Promise<AnyReply>;

export interface MessageRoute {
  from: NodeName;
  bodyBytes: number;
  bodyMs: number;
  account: (bytes: number) => void;
  handler: MessageHandler;
  interfere?: Interfere;
}

/** The reply's bytes. @throws ServalError */
export async function answerMessage(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  route: MessageRoute,
): Promise<Buffer> {
  const { from, bodyBytes, bodyMs, account, interfere } = route;
  if (Number(headers['content-length'] ?? 0) > bodyBytes) throw tooLong(bodyBytes);
  const body = await inTime(bodyMs, readBody(stream, { bytes: bodyBytes, account }));
  const message = decodeMessage(body);
  const handle = (): Promise<AnyReply> => route.handler(from, message);
  const mishap = interfere?.({ node: from, kind: message.kind });
  const reply = await (mishap === undefined ? handle() : interfered(mishap, handle));
  return encodeReply(message.kind, reply);
}

function inTime<Value>(ms: number, work: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(tooSlow(ms)), ms);
    work.then(resolve, reject).finally(() => clearTimeout(late));
  });
}

function tooSlow(ms: number): ServalError {
  return new ServalError('ERR_TIMEOUT', {
    subject: 'request',
    reason: `it did not arrive within ${ms} ms`,
    remedy: 'Ask again; check the network between the nodes',
  });
}
