export { StreamClient, Traffic, type ClientOptions, type ClientResult, type Movable } from './traffic.js';
