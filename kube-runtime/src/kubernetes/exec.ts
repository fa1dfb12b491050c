/** A command in a container of a pod, as `kubectl exec` does it: through the API server, by WebSocket. */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Exec, type KubeConfig } from '@kubernetes/client-node';
import { ServalError } from '@serval/api';

export interface ExecRequest {
  namespace: string;
  pod: string;
  container: string;
  command: readonly string[];
  /** given up after so long; default 20 s */
  timeoutMs?: number;
}

export interface ExecResult {
  code: number;
  out: string;
  error: string;
}

/** What the API server says at the end (meta/v1 Status), of which this is used. */
interface Status {
  status?: string;
  message?: string;
  details?: { causes?: Array<{ reason?: string; message?: string }> };
}

interface Socket {
  close(): void;
  onclose: (() => void) | null;
}

const patienceMs = 20_000;

/** What the command has said and how it ended. @throws ServalError where it could not be run, or its end is not known */
export async function execInPod(config: KubeConfig, request: ExecRequest): Promise<ExecResult> {
  const { namespace, pod, container, command, timeoutMs = patienceMs } = request;
  const [out, err] = [new PassThrough(), new PassThrough()];
  const words = Promise.all([text(out), text(err)]);
  let socket: Socket | undefined;
  let late: NodeJS.Timeout | undefined;
  // It may open when nobody waits any more.
  let isOver = false;
  try {
    const status = await new Promise<Status>((resolve, reject) => {
      late = setTimeout(() => reject(new Error(`no end after ${timeoutMs / 1000} s`)), timeoutMs);
      new Exec(config)
        .exec(namespace, pod, container, [...command], out, err, null, false, resolve)
        // The library's own type comes from a package that has none.
        .then((opened: Socket) => {
          if (isOver) return opened.close();
          socket = opened;
          socket.onclose = () => reject(new Error('the connection ended before the command did'));
        }, reject);
    });
    const [outText, errText] = await words;
    return { code: codeOf(status, request), out: outText, error: errText };
  } catch (cause) {
    out.end();
    err.end();
    throw cause instanceof ServalError ? cause : notRun(request, cause);
  } finally {
    isOver = true;
    clearTimeout(late);
    socket?.close();
  }
}

function codeOf(status: Status, request: ExecRequest): number {
  if (status.status === 'Success') return 0;
  const code = status.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  if (code !== undefined) return Number(code);
  throw notRun(request, new Error(status.message ?? 'the command could not be started'));
}

function notRun({ namespace, pod, command }: ExecRequest, cause: unknown): ServalError {
  // The WebSocket library's events are no errors, but have a message too.
  const reason = (cause as { message?: string }).message ?? String(cause);
  const isForbidden = reason.includes('403');
  return new ServalError(isForbidden ? 'ERR_NO_PERMISSION' : 'ERR_UNREACHABLE', {
    subject: `${command[0] ?? ''} in pod ${namespace}/${pod}`,
    reason: isForbidden ? 'the API server forbids it' : reason,
    remedy: isForbidden
      ? 'It takes the right to create and get pods/exec in this namespace'
      : `See whether the pod runs: kubectl -n ${namespace} get pod ${pod}`,
    cause,
  });
}
