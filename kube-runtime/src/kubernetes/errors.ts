/** Pure: from what an API server answers to errors that name the thing, the reason and the remedy. */
import { ServalError, type ErrorCode } from '@serval/api';

/** `Status` of the API, of which this is used. */
interface Status {
  message?: string;
  reason?: string;
  details?: { retryAfterSeconds?: number; causes?: Array<{ field?: string; message?: string }> };
}

const kinds: ReadonlyArray<readonly [status: number, code: ErrorCode, remedy: string]> = [
  [400, 'ERR_BAD_INPUT', 'Change the object as the reason says'],
  [401, 'ERR_NO_PERMISSION', 'Give it valid credentials: a token or certificate that has not expired'],
  [403, 'ERR_NO_PERMISSION', 'Grant it by a Role or ClusterRole, or look which admission policy says no'],
  [404, 'ERR_NOT_FOUND', 'See whether the name is right, and whether the CRDs are installed'],
  [409, 'ERR_CONFLICT', 'Read it again, and repeat the change'],
  [410, 'ERR_CONFLICT', 'List anew: what was asked for is too old'],
  [413, 'ERR_LIMIT', 'Make the object smaller'],
  [422, 'ERR_BAD_INPUT', 'Change the object as the reason says'],
  [429, 'ERR_LIMIT', 'Ask less often'],
];

/** Server-side apply answers 500 where the object's fields don't fit the schema: to it they are not even comparable. */
const misfit = /^failed to create typed patch object/;

/** @param text body of the answer; the reason of a Status, where it is one */
export function answerError(subject: string, status: number, text: string): ServalError {
  const told = parsed(text);
  const meant = misfit.test(told.message ?? '') ? 422 : status;
  const [, code, remedy] = kinds.find(([known]) => known === meant) ?? [
    status,
    'ERR_BAD_ANSWER' as const,
    'Look at the log of the API server',
  ];
  const { retryAfterSeconds, causes } = told.details ?? {};
  return new ServalError(code, {
    subject,
    reason: told.message ?? `the API server answers ${status} ${text.slice(0, 200)}`.trim(),
    remedy,
    details: {
      status,
      ...(told.reason === undefined ? {} : { reason: told.reason }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      ...(causes === undefined ? {} : { causes }),
    },
  });
}

/** There was no whole answer. */
export function connectionError(subject: string, cause: unknown): ServalError {
  const isLate = (cause as Error).name === 'TimeoutError';
  return new ServalError(isLate ? 'ERR_TIMEOUT' : 'ERR_UNREACHABLE', {
    subject,
    reason: isLate ? 'the API server did not answer in time' : reasonOf(cause),
    remedy: 'See whether the API server runs and can be reached from here; it is tried again',
    cause,
  });
}

/** It could not even be asked. */
export function credentialsError(cause: unknown): ServalError {
  return new ServalError('ERR_NO_PERMISSION', {
    subject: 'credentials for the API server',
    reason: reasonOf(cause),
    remedy: 'See what the kubeconfig says of its server and user, or the token that was mounted',
    cause,
  });
}

/** Of an error of errors.ts: the HTTP status that it was made from. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof ServalError ? (error.details['status'] as number | undefined) : undefined;
}

/** fetch() says what it was only in the cause of its error. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as { cause?: unknown; message?: string };
  return cause instanceof Error && cause.message !== '' ? cause.message : (message ?? String(error));
}

function parsed(text: string): Status {
  try {
    const found = JSON.parse(text) as Status | null;
    return typeof found === 'object' && found !== null ? found : {};
  } catch {
    return {};
  }
}
