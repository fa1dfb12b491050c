/**
 * Plain requests to an API server with a user's certificate, each on a connection of its own: a test's own words, through
 * no client's caches and retries.
 */
import { request } from 'node:https';
import { ServalError } from '@serval/api';
import type { KubeUser } from './kubeconfig.js';

const timeoutMs = 30_000;

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface KubeAnswer {
  status: number;
  text: string;
}

export interface RequestOptions {
  body?: unknown;
  /** when to give up */
  signal?: AbortSignal;
}

/** What it answers, whatever that is. A PATCH is a merge patch. @throws ServalError ERR_UNREACHABLE */
export function requestKube(
  { server, ca, cert, key }: KubeUser,
  method: Method,
  path: string,
  { body, signal }: RequestOptions = {},
): Promise<KubeAnswer> {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => reject(unreachable(server, cause));
    const asked = request(
      new URL(path, server),
      { method, ca, cert, key, agent: false, timeout: timeoutMs, signal, headers: { 'content-type': type } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text })).on('error', failed);
      },
    );
    asked.on('error', failed).on('timeout', () => asked.destroy(new Error('no answer in time')));
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** The object that it answers with. @throws ServalError as askKubeText does */
export async function askKube<Answer>(
  user: KubeUser,
  method: Method,
  path: string,
  body?: unknown,
): Promise<Answer> {
  return JSON.parse(await askKubeText(user, method, path, { body })) as Answer;
}

/**
 * The text that it answers with.
 * @throws ServalError ERR_UNREACHABLE; ERR_NOT_FOUND, ERR_CONFLICT, ERR_NO_PERMISSION as it says; ERR_BAD_ANSWER for all
 *   else that is no success. `details` has the status.
 */
export async function askKubeText(
  user: KubeUser,
  method: Method,
  path: string,
  options: RequestOptions = {},
): Promise<string> {
  const { status, text } = await requestKube(user, method, path, options);
  if (status >= 200 && status < 300) return text;
  throw new ServalError(codes[status] ?? 'ERR_BAD_ANSWER', {
    subject: `${method} ${path}`,
    reason: `the API server answers ${status}: ${messageOf(text)}`,
    remedy: 'See what it says',
    details: { status },
  });
}

const codes: Readonly<Record<number, 'ERR_NO_PERMISSION' | 'ERR_NOT_FOUND' | 'ERR_CONFLICT'>> = {
  401: 'ERR_NO_PERMISSION',
  403: 'ERR_NO_PERMISSION',
  404: 'ERR_NOT_FOUND',
  409: 'ERR_CONFLICT',
};

/** Of the Status that it sends, or all of what is none. */
function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? text;
  } catch {
    return text;
  }
}

function unreachable(server: string, cause: Error): ServalError {
  return new ServalError('ERR_UNREACHABLE', {
    subject: `API server at ${server}`,
    reason: `it does not answer (${cause.message})`,
    remedy: 'Start it, or see in its log why it ended',
    cause,
  });
}
