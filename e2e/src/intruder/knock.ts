/**
 * One request to an agent, made by hand: what a well-behaved agent never sends. `knock.js` reads what to do from standard
 * input and writes what came of it; it is run in the network namespace of the host that it is to come from.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';

export interface Knock {
  address: string;
  port: number;
  path: string;
  /** base64 */
  body: string;
  /** paths of PEM files; without them no certificate is shown */
  cert?: string;
  key?: string;
  maxVersion?: 'TLSv1.2' | 'TLSv1.3';
}

/** What came of it. Of these at least one is there. */
export interface Answer {
  status?: number;
  /** the reply, as JSON */
  body?: Record<string, unknown>;
  /** why the certificate was refused, as the server says when it ends the connection */
  fault?: string;
  /** the connection failed */
  error?: string;
}

const patienceMs = 10_000;

function knock({ address, port, path, body, cert, key, maxVersion }: Knock): Promise<Answer> {
  return new Promise((resolve) => {
    const answer: Answer = {};
    const session = connect(`https://${address}:${port}`, {
      // Whom it speaks to is of no interest here: the server is to look at the client.
      rejectUnauthorized: false,
      ...(cert === undefined ? {} : { cert: readFileSync(cert) }),
      ...(key === undefined ? {} : { key: readFileSync(key) }),
      ...(maxVersion === undefined ? {} : { maxVersion, minVersion: maxVersion }),
    });
    const late = setTimeout(() => session.destroy(new Error(`no answer in ${patienceMs} ms`)), patienceMs);
    session.on('error', (error: NodeJS.ErrnoException) => (answer.error = error.code ?? error.message));
    session.on('goaway', (_code, _last, data?: Buffer) => {
      if (data !== undefined && data.length > 0) answer.fault = data.toString();
    });
    session.on('close', () => {
      clearTimeout(late);
      resolve(answer);
    });
    const stream = session.request({ ':method': 'POST', ':path': path });
    let text = '';
    stream.on('error', () => undefined); // the session's end says why
    stream.on('response', (headers) => (answer.status = headers[':status'] ?? 0));
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    stream.on('end', () => {
      if (text !== '') answer.body = JSON.parse(text) as Record<string, unknown>;
      // Without a status the connection is being refused: its last word is on its way.
      if (answer.status !== undefined) session.close();
    });
    stream.end(Buffer.from(body, 'base64'));
  });
}

process.stdout.write(JSON.stringify(await knock(JSON.parse(readFileSync(0, 'utf8')) as Knock)));
