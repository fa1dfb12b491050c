/** Attempts to do to agents what nobody may. */
export { flawedCertificates, type Flaw, type KeyPair } from './certificates.js';
export { Intruder } from './intruder.js';
export type { Answer } from './knock.js';
export { conversation, messagesWithin, type PeerSecrets, type Said, type TargetSecrets } from './messages.js';
export { counted, recordOf, rulesOf, standingOf, type MigrationRecord } from './standing.js';
