export { ServalError, errorCodes, type ErrorCode, type ServalErrorOptions } from './errors.js';
export * from './resources.js';
export type * from './local.js';
export * from './crds.generated.js';
