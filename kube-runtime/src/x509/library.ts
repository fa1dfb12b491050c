// The X.509 library needs this before itself.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

export { x509 };
