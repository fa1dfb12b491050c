export { runInGuest, type GuestResult, type GuestRun } from './run.js';
