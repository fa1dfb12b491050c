/** What server and client have to agree on beside the messages: paths, window sizes, errors as JSON. */
import { constants, type Http2Stream, type Settings } from 'node:http2';
import { errorCodes, ServalError, type ErrorCode } from '@serval/api';
import type { protocolVersion, Refusal } from '../protocol/messages.js';
import { isObject } from './fields.js';

/** The compiler says when the protocol's own number has become another one. */
export const version: typeof protocolVersion = 1;

export const messagePath = `/v${version}/message`;
export const imagesPath = `/v${version}/images/`;
export const jsonType = 'application/json';

/** Reason of the GOAWAY frame that refuses a certificate; its data is the fault's name. */
export const refusedCertificate = constants.NGHTTP2_INADEQUATE_SECURITY;

/** What may be under way in one stream and in one connection before the receiver has to say that it took it. */
const streamWindow = 4 << 20;
export const connectionWindow = 16 << 20;

/** In MiB. A long message waits in the session's memory, and others must not be refused for it. */
export const maxSessionMemory = 256;

export const settings: Settings = {
  enablePush: false,
  initialWindowSize: streamWindow,
  // Longer frames cost less work for images; shorter ones would let messages in between, but these have their own session.
  maxFrameSize: 1 << 17,
  maxHeaderListSize: 8_192,
};

/** An error on its way to the other node: a protocol's refusal with more to it. */
export interface ErrorBody {
  ok: false;
  refusal: Refusal;
  reason: string;
  code: ErrorCode;
  subject: string;
  remedy: string;
}

const statuses: Partial<Record<ErrorCode, number>> = {
  ERR_BAD_INPUT: 400,
  ERR_CERTIFICATE: 403,
  ERR_NO_PERMISSION: 403,
  ERR_NOT_FOUND: 404,
  ERR_UNSUPPORTED: 404,
  ERR_TIMEOUT: 408,
  ERR_CONFLICT: 409,
  ERR_LIMIT: 413,
  ERR_CHECKSUM: 422,
  ERR_UNREACHABLE: 503,
  ERR_NO_SPACE: 507,
};

const refusals: Partial<Record<ErrorCode, Refusal>> = {
  ERR_CERTIFICATE: 'notAuthorised',
  ERR_NO_PERMISSION: 'notAuthorised',
  ERR_CONFLICT: 'conflict',
};

/** Any error as one that may leave this node: of others than ours only the message does. */
export function presentable(error: unknown, subject: string): ServalError {
  if (error instanceof ServalError) return error;
  return new ServalError('ERR_BAD_ANSWER', {
    subject,
    reason: `it failed: ${error instanceof Error ? error.message : String(error)}`,
    remedy: 'See the log of the node that answered',
    cause: error,
  });
}

export function errorBody({ code, subject, reason, remedy }: ServalError): { status: number; body: Buffer } {
  const body: ErrorBody = { ok: false, refusal: refusals[code] ?? 'failed', reason, code, subject, remedy };
  return { status: statuses[code] ?? 500, body: Buffer.from(JSON.stringify(body)) };
}

/** The error that another node answered with, as our own; `ERR_BAD_ANSWER` where it is none. */
export function receivedError(node: string, status: number, body: Buffer): ServalError {
  const json = parsed(body);
  const { code, subject, reason, remedy, refusal } = json;
  const texts = [subject, reason, remedy, refusal].every((text) => typeof text === 'string');
  if (!texts || typeof code !== 'string' || !Object.hasOwn(errorCodes, code))
    return badAnswer(node, `it answered with status ${status} and no error of ours`);
  return new ServalError(code as ErrorCode, {
    subject: `${node}: ${String(subject)}`,
    reason: String(reason),
    remedy: String(remedy),
    details: { node, status, refusal },
  });
}

export function badAnswer(node: string, reason: string, cause?: unknown): ServalError {
  return new ServalError('ERR_BAD_ANSWER', {
    subject: `answer of node ${node}`,
    reason,
    remedy: 'Run agents of versions that belong together on all nodes',
    cause,
    details: { node },
  });
}

function parsed(body: Buffer): Record<string, unknown> {
  try {
    const json = JSON.parse(body.toString()) as unknown;
    return isObject(json) ? json : {};
  } catch {
    return {};
  }
}

export interface BodyBounds {
  /** most bytes of the whole body */
  bytes: number;
  /** told of every change of what is kept in memory; may throw to refuse more */
  account?: (bytes: number) => void;
}

/**
 * All of a stream's body.
 * @throws ServalError ERR_LIMIT where it is too long; ERR_UNREACHABLE where the stream broke
 */
export function readBody(stream: Http2Stream, bounds: BodyBounds): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const end = (settle: () => void): void => {
      stream.off('data', take).off('end', finish).off('close', broken).off('aborted', broken);
      bounds.account?.(-length);
      settle();
    };
    const take = (chunk: Buffer): void => {
      try {
        if (length + chunk.length > bounds.bytes) throw tooLong(bounds.bytes);
        bounds.account?.(chunk.length);
        length += chunk.length;
        chunks.push(chunk);
      } catch (error) {
        end(() => reject(error instanceof Error ? error : new Error(String(error))));
      }
    };
    const finish = (): void =>
      end(() => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
    const broken = (): void => end(() => reject(brokenStream()));
    stream.on('data', take).once('end', finish).once('close', broken).once('aborted', broken);
  });
}

export function tooLong(bytes: number): ServalError {
  return new ServalError('ERR_LIMIT', {
    subject: 'request or reply',
    reason: `it is longer than ${bytes} bytes`,
    remedy: 'Move fewer flows at a time, or raise the limit on all nodes',
  });
}

function brokenStream(): ServalError {
  return new ServalError('ERR_UNREACHABLE', {
    subject: 'request or reply',
    reason: 'it broke off before its end',
    remedy: 'Ask again',
  });
}
