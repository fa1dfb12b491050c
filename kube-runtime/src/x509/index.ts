/** Certificates made and asked for. Apart from the rest: the library for it is loaded by who does so, and by nobody else. */
export { certificatesIn, keyPem, newKeys, pemOf, readKeys, type Pair } from './keys.js';
export { commonName, issueCertificate, newAuthority, type Issue } from './issue.js';
export { makeRequest, readRequest, type NodeRequest, type RequestFacts } from './request.js';
