/** Every error code of the project: stable, so that programs and runbooks may depend on them. */
export const errorCodes = {
  ERR_BAD_INPUT: 'an argument or a field has a value that can not be used',
  ERR_NOT_FOUND: 'the named thing does not exist',
  ERR_CONFLICT: 'the named thing exists already or belongs to somebody else',
  ERR_NO_PERMISSION: 'the process may not do this',
  ERR_UNSUPPORTED: 'the kernel or a tool lacks what is needed',
  ERR_NO_SPACE: 'the disk has no room left',
  ERR_TABLE_FULL: 'a table of the data plane has no room left',
  ERR_STATE_MISMATCH: 'pinned state was made by another version',
  ERR_BAD_OBJECT: 'a BPF object can not be read or loaded',
  ERR_NETNS_GONE: 'the network namespace does not exist any more',
  ERR_KERNEL: 'the kernel refused an operation',
  ERR_MOVER: 'the mover could not dump, carry or restore the workload',
  ERR_ADDON: 'the native addon can not be loaded',
  ERR_UNREACHABLE: 'another node can not be reached, or the connection to it broke',
  ERR_TIMEOUT: 'there was no answer in time',
  ERR_CERTIFICATE: 'a certificate was refused: unknown, expired, not yet valid or not for this use',
  ERR_WRONG_NODE: 'another node than the one that was meant answers at this address',
  ERR_BAD_ANSWER: 'another node answered with something that can not be used',
  ERR_LIMIT: 'something is larger or more than is allowed',
  ERR_CHECKSUM: 'what arrived is not what was sent',
} as const;

export type ErrorCode = keyof typeof errorCodes;

export interface ServalErrorOptions {
  /** what was asked for or touched: a device, a path, a pod, a field */
  subject: string;
  /** why it failed, in words */
  reason: string;
  /** what the reader can do about it */
  remedy: string;
  cause?: unknown;
  /** facts for programs: errno, operation, the verifier's last lines */
  details?: Readonly<Record<string, unknown>>;
}

/** The one error class that crosses a module's border: names the thing, the reason and the remedy. */
export class ServalError extends Error {
  override readonly name = 'ServalError';
  readonly code: ErrorCode;
  readonly subject: string;
  readonly reason: string;
  readonly remedy: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, options: ServalErrorOptions) {
    super(
      `${options.subject}: ${options.reason}. ${options.remedy}.`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.subject = options.subject;
    this.reason = options.reason;
    this.remedy = options.remedy;
    this.details = options.details ?? {};
  }
}
