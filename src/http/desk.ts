/** What all routes of the dashboard stand on. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import type { WatchedStatus } from '../observe/watch.ts';
import type { Page } from './layout.ts';
import type { Entry } from './people.ts';
import type { Seals } from './session.ts';
import type { DashboardQueue, DashboardSource } from './source.ts';
import type { Visitor } from './visitor.ts';
import type { WrongTokens } from './wrong-tokens.ts';

export type DashboardOptions = {
  source: DashboardSource;
  /** null = there is none in the config */
  queue: DashboardQueue | null;
  /** as the config of this moment says */
  entry: () => Entry;
  /** may operators act at all, by the config of this moment */
  allowActions: () => boolean;
  clock: Clock;
  log: Log;
};

export type Desk = DashboardOptions & {
  seals: Seals;
  wrong: WrongTokens;
  /** the visitor; throws E_DENIED when there is none */
  visitor: (request: FastifyRequest) => Promise<Visitor>;
  cluster: (request: FastifyRequest) => WatchedStatus;
  show: (reply: FastifyReply, page: Page, visitor: Visitor | null, status?: number) => FastifyReply;
};
