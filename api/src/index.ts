export { ServalError, errorCodes, type ErrorCode, type ServalErrorOptions } from './errors.js';
