/** Speaks to an agent's local API over its unix socket. */
import { request } from 'node:http';
import { ServalError, type ErrorView } from '@serval/api';

const timeoutMs = 60_000;

/** @throws ServalError as the agent says; ERR_NOT_FOUND where nobody listens */
export async function ask<Answer>(
  socket: string,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<Answer> {
  const { status, text } = await exchange(socket, method, path, body);
  const answer = (text === '' ? undefined : JSON.parse(text)) as unknown;
  if (status < 300) return answer as Answer;
  const { code, subject, reason, remedy } = answer as ErrorView;
  throw new ServalError(code === 'ERR_INTERNAL' ? 'ERR_KERNEL' : code, { subject, reason, remedy });
}

function exchange(
  socket: string,
  method: string,
  path: string,
  body: unknown,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void =>
      reject(
        new ServalError('ERR_NOT_FOUND', {
          subject: `agent at ${socket}`,
          reason: `it does not answer (${error.message})`,
          remedy: "Look at the agent's log, beside its socket",
        }),
      );
    const asked = request(
      {
        socketPath: socket,
        method,
        path,
        timeout: timeoutMs,
        headers: { 'content-type': 'application/json' },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text })).on('error', failed);
      },
    );
    asked.on('error', failed).on('timeout', () => asked.destroy(new Error('timed out')));
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
